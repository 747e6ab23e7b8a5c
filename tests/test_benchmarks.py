"""The scripts that measure: what they refuse before they begin, and how they add up."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import throughput, trivial_policies
from stac.environments.base import EnvironmentSpec
from stac.types import Timestep
from tests import refusals

FEATURES = "control:cartpole.swingup:features"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [FEATURES, "--agents=impala,stax", "--runtimes=threads"],
            "unknown agent 'stax': did you mean stacx",
        ),
        (
            [FEATURES, "--runtimes=thread"],
            "unknown runtime 'thread': did you mean threads",
        ),
        (
            [FEATURES, "--runtimes=threads", "--sed=1"],
            "unknown flag --sed: did you mean --seed?",
        ),
        (["control:cartpole.balance"], "write <command>:<task>:<variant>"),
        ([FEATURES, "control:cartpole.balans:features"], "did you mean cartpole.bala"),
    ],
)
def test_what_commands_would_refuse_is_told_before_anything_is_measured(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(*arguments: object) -> None:
        pytest.fail("something is measured")

    monkeypatch.setattr(throughput, "alone", measured)
    monkeypatch.setattr(throughput, "runtime", measured)
    assert said in refusals.of(throughput.main, arguments, monkeypatch, capsys)


class Counting:
    """Three environments, which pay once, twice and three times their actions."""

    num_envs = 3
    spec = EnvironmentSpec((1,), np.dtype(np.float32), 1, True, 1)

    def __init__(self) -> None:
        self._steps = 0

    def reset(self) -> Timestep:
        return self._row(np.zeros(3), first=True)

    def step(self, action: np.ndarray) -> Timestep:
        self._steps += 1
        return self._row(np.arange(1, 4) * action[:, 0], first=False)

    def _row(self, reward: np.ndarray, first: bool) -> Timestep:
        last = np.full(3, self._steps == trivial_policies.STEPS)
        observation = np.zeros((3, 1), np.float32)
        return Timestep(observation, reward, np.ones(3), np.full(3, first), last)


def test_a_policys_returns_are_one_episodes_each() -> None:
    environment = Counting()
    policy = trivial_policies.constant(environment, 0.5)
    returns = trivial_policies.returns(environment, policy)
    np.testing.assert_allclose(returns, [500, 1000, 1500])
    mean, error = trivial_policies.Returns.of(returns)
    assert (mean, error) == pytest.approx((1000, 500 / np.sqrt(3)))
