"""MinAtar's rows against those of the package's own environment."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

import numpy as np
import pytest

from stac import config
from stac.environments import base, minatar
from tests.environments import snapshotting

STEPS = 1500


def package_environment(game: str, seed: int, sticky: float, ramping: bool) -> Any:
    """The package's `Environment`, without the plotting libraries that it looks for."""
    for name in ("matplotlib", "seaborn"):
        stub = types.ModuleType(name)
        stub.pyplot = stub.colors = None
        sys.modules.setdefault(name, stub)
    package = importlib.import_module("minatar")
    environment = package.Environment(game, sticky, ramping)
    environment.seed(seed)
    environment.reset()
    return environment


@pytest.fixture(autouse=True)
def no_stubs_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))


@pytest.mark.parametrize("game", minatar.GAMES)
@pytest.mark.parametrize(
    ("sticky", "ramping", "minimal"),
    [(0.0, False, False), (0.1, True, True)],
)
def test_rows_are_those_of_the_package(
    game: str, sticky: float, ramping: bool, minimal: bool
) -> None:
    num_envs, seed = 2, 3
    ours = minatar.MinAtar(game, seed, num_envs, sticky, ramping, minimal)
    theirs = [
        package_environment(game, own, sticky, ramping)
        for own in base.seeds(seed, num_envs)
    ]
    actions = theirs[0].minimal_action_set() if minimal else range(minatar.ACTIONS)
    assert ours.spec.num_actions == len(actions)
    row, random = ours.reset(), np.random.default_rng(0)
    ended, rewards = 0, 0.0
    for _ in range(STEPS):
        expected = np.stack([each.state().transpose(2, 0, 1) for each in theirs])
        np.testing.assert_array_equal(row.observation, 255 * expected.astype(np.uint8))
        action = random.integers(len(actions), size=num_envs)
        last, row = row.last, ours.step(action)
        for env, played in enumerate(theirs):
            if last[env]:
                played.reset()
                reward, terminal = 0, False
                assert row.first[env]
            else:
                reward, terminal = played.act(actions[action[env]])
            assert row.reward[env] == reward
            assert row.last[env] == terminal
            assert row.discount[env] == 1 - terminal
        ended, rewards = ended + row.last.sum(), rewards + row.reward.sum()
    assert ended >= (game != "freeway")
    assert rewards > 0 or game == "freeway"


def test_space_invaders_is_the_packages_from_any_state() -> None:
    """Random play from the start never clears a wave or lets aliens land."""
    random = np.random.default_rng(0)
    ours = minatar._kind("space_invaders")(ramping=True)
    theirs = package_environment("space_invaders", 0, 0.0, True)
    waves = landings = 0
    for _ in range(300):
        ours.reset()
        theirs.reset()
        share, lowest = random.choice([0.01, 0.05, 0.3]), random.integers(2, 10)
        aliens = (random.random((10, 10)) < share) & (np.arange(10) < lowest)[:, None]
        aliens[0, 5] = True
        theirs.env.alien_map = aliens.astype(float)
        ours.aliens = sum(1 << int(cell) for cell in np.flatnonzero(aliens))
        for _ in range(40):
            action = random.choice([0, 1, 3, 5, 5, 5])
            before = theirs.state()[..., 1]
            reward, terminal = theirs.act(action)
            assert ours.act(action) == (reward, terminal)
            after = theirs.state()
            np.testing.assert_array_equal(ours.state(), after)
            waves += after[..., 1].sum() > before.sum()
            landings += terminal and before[9].any() and after[0, :, 1].any()
            if terminal:
                break
    assert waves > 20
    assert landings > 0


@pytest.mark.parametrize("game", minatar.GAMES)
def test_a_snapshot_continues_exactly(game: str) -> None:
    snapshotting.assert_exact(
        lambda: minatar.MinAtar(game, seed=1, num_envs=3), 200, at=(0, 1, 77)
    )


def test_an_episode_without_end_is_cut_and_not_ended(monkeypatch) -> None:
    monkeypatch.setattr(minatar, "MOST_STEPS", 7)
    environment = minatar.MinAtar("freeway", 0, 2)
    environment.reset()
    rows = [environment.step(np.zeros(2, int)) for _ in range(16)]
    last = np.array([row.last[0] for row in rows])
    np.testing.assert_array_equal(np.flatnonzero(last), [6, 14])
    assert all((row.discount == 1).all() for row in rows)
    assert rows[7].first.all()


def test_games_are_named_in_any_spelling_and_others_refused() -> None:
    for name in ("SpaceInvaders", "space-invaders", "MinAtar/SpaceInvaders-v1"):
        assert minatar.task(name) == "space_invaders"
    with pytest.raises(config.ConfigError, match="did you mean breakout"):
        minatar.task("brakout")
    environment = minatar.MinAtar("breakout", 0, 2)
    environment.reset()
    with pytest.raises(ValueError, match=r"\[0, 6\)"):
        environment.step(np.array([0, 6]))
