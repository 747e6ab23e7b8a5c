"""The scripts that measure: what they refuse before they begin, and how they add up."""

from __future__ import annotations

import argparse
import pathlib
import runpy
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

import benchmarks
from benchmarks import (
    asking,
    control_environments,
    faults,
    flops,
    soak,
    throughput,
    trivial_policies,
)
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


FILES = pathlib.Path(benchmarks.__path__[0]).glob("*.py")
SCRIPTS = [path for path in FILES if "__main__" in path.read_text()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_ctrl_c_ends_a_script_without_a_traceback(
    script: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", interrupted)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 130


def test_what_a_command_lists_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "control:list:features"])
    with pytest.raises(SystemExit) as ended:
        throughput.main()
    assert ended.value.code == 0
    assert "walker.walk" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (faults, ["--only=nonsense"], "--only=nonsense: no fault and runtime has"),
        (flops, ["--networks=deap"], "deap"),
        (
            trivial_policies,
            ["walker.walk:esay"],
            "challenge 'esay': did you mean easy?",
        ),
        (control_environments, ["--tasks=walker.wolk"], "did you mean walker.walk?"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    script: types.ModuleType,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in refusals.of(script.main, arguments, monkeypatch, capsys)


def test_a_soak_that_is_interrupted_ends_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = []

    def interrupted(process: subprocess.Popen, minutes: list[float]) -> None:
        watched.append(process)
        raise KeyboardInterrupt

    # Not Python: one that is interrupted as it begins may end in another way.
    monkeypatch.setattr(soak, "COMMAND", ("sh", "-c", "exec sleep 60"))
    monkeypatch.setattr(soak, "watch", interrupted)
    monkeypatch.setattr(sys, "argv", ["x"])
    assert asking.run(soak.main) == 130
    assert watched[0].poll() == -signal.SIGINT


def test_a_soak_of_a_command_that_ends_at_once_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soak, "COMMAND", (sys.executable, "-c", "raise SystemExit(2)"))
    monkeypatch.setattr(sys, "argv", ["x", "--minutes=0.1"])
    with pytest.raises(SystemExit, match="no update was made: the command ended 2;"):
        soak.main()


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
