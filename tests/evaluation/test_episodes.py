"""Every environment plays its quota, whatever the lengths of the episodes."""

from __future__ import annotations

import numpy as np
import pytest

from stac.config import ConfigError
from stac.environments.base import EnvironmentSpec
from stac.evaluation import episodes
from stac.types import Timestep

LENGTHS = ((1, 2), (7, 3), (2, 50))  # of each environment's episodes, in turns


class Scripted:
    """An episode's return is the actions taken in it, and 100 times its number."""

    def __init__(self) -> None:
        self.num_envs = len(LENGTHS)
        self.spec = EnvironmentSpec((1,), np.dtype(np.float32), 2, False, 1)

    def reset(self) -> Timestep:
        self._number = np.zeros(self.num_envs, int)  # of the episode
        self._steps = np.zeros(self.num_envs, int)
        return self._row(np.ones(self.num_envs, bool), np.zeros(self.num_envs))

    def step(self, action: np.ndarray) -> Timestep:
        first = self._last
        self._number = self._number + first
        self._steps = np.where(first, 0, self._steps + 1)
        bonus = np.where(self._steps == 1, 100 * self._number, 0)
        return self._row(first, np.where(first, 0, action + bonus))

    def _row(self, first: np.ndarray, reward: np.ndarray) -> Timestep:
        lengths = [LENGTHS[e][n % 2] for e, n in enumerate(self._number)]
        self._last = self._steps == np.array(lengths)
        shown = np.zeros((self.num_envs, 1), np.float32)
        # A lost life, after the first step, ends no episode.
        discount = np.where(self._last | (self._steps == 1), 0.0, 1.0)
        return Timestep(shown, np.float32(reward), discount, first, self._last)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (None, [1, 7, 2]),  # ones: an episode's return is its length
        (3, [1, 7, 2]),
        (5, [1, 102, 7, 103, 2]),
        (9, [1, 102, 201, 7, 103, 207, 2, 150, 202]),
        (2, [1, 7]),
    ],
)
def test_a_scripted_agent_earns_what_is_known_of_it(
    count: int | None, expected: list[int]
) -> None:
    told: list[int] = []
    played = episodes.returns(
        Scripted(),
        lambda timestep, step: np.ones(len(LENGTHS)),
        count,
        lambda ended, steps: told.append(ended),
    )
    assert played.tolist() == expected
    assert told == sorted(told)
    assert told[-1] == len(expected)


def test_the_mean_is_not_that_of_the_episodes_that_end_first() -> None:
    """After as many ends, most are of the first environment, which plays short ones."""
    played = episodes.returns(Scripted(), lambda *_: np.zeros(3), 6)
    assert episodes.Returns.of(played).mean == 50
    assert (episodes.quotas(7, 3) == [3, 2, 2]).all()


def test_an_episode_that_does_not_end_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(episodes, "MOST_STEPS", 50)
    assert len(episodes.returns(Scripted(), lambda *_: np.zeros(3), 6)) == 6
    monkeypatch.setattr(episodes, "MOST_STEPS", 49)
    with pytest.raises(ConfigError, match="not ended after 49 steps: give the envir"):
        episodes.returns(Scripted(), lambda *_: np.zeros(3), 6)


def test_a_standard_error_is_that_of_the_mean() -> None:
    assert episodes.Returns.of(np.array([1.0, 2.0, 3.0])) == (2.0, 1 / np.sqrt(3))
    assert str(episodes.Returns(123.456, 2.0)) == "123.5 ± 2.0"
