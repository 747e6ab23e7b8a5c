"""The suites' rules of evaluation, on the environments themselves."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from stac.configs import atari, catch, control
from stac.environments import atari as games
from stac.environments import make
from stac.evaluation import protocols


def test_a_game_goes_on_after_lost_lives_and_its_rewards_are_raw() -> None:
    config = protocols.evaluated(atari.config("breakout", "impala", "shallow"))
    with contextlib.closing(make.factory(config)(0, 3)) as environment:
        assert type(environment) is games.Atari  # with no record for snapshots
        assert (games.MAX_NOOPS, games.MAX_FRAMES) == (30, 108_000)
        random = np.random.default_rng(0)
        environment.reset()
        lost = ended = 0
        for _ in range(400):
            row = environment.step(random.integers(4, size=3))
            lost += int(((row.discount == 0) & ~row.last).sum())
            ended += int(row.last.sum())
        assert lost > 2 * ended > 0


def test_no_first_episode_of_control_is_cut() -> None:
    config = control.config("cartpole.balance", "impala")
    with contextlib.closing(make.factory(config)(0, 1)) as environment:
        assert environment.spec.staggered
    config = protocols.evaluated(config)
    with contextlib.closing(make.factory(config)(0, 1)) as environment:
        assert not environment.spec.staggered
        environment.reset()
        steps, zeros = 1, np.zeros((1, 1))
        while not environment.step(zeros).last[0]:
            steps += 1
    assert steps == 1000


@pytest.mark.parametrize("beside", [False, True])
def test_only_environments_and_how_they_are_spread_differ(beside: bool) -> None:
    config = catch.config(agent="stacx")
    changed = protocols.evaluated(config, beside)
    for section in ("agent", "network", "optimizer", "batch", "seed"):
        assert getattr(changed, section) == getattr(config, section)
    assert changed.environment.threads == (1 if beside else 0)
