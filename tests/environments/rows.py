"""Assertions on rows, for the tests of several environments."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from stac.environments import base
from stac.types import Timestep
from tests.environments import snapshotting


def stacked(
    environment: base.BatchedEnvironment, actions: Iterable[np.ndarray]
) -> Timestep:
    """Rows [E, T + 1, ...] of a reset and these actions; it is closed at last."""
    rows = snapshotting.rows(environment, actions)
    return Timestep(*(np.stack(field, axis=1) for field in zip(*rows, strict=True)))


def assert_laid_out(rows: Timestep, episode: np.ndarray, step: np.ndarray) -> None:
    """Eleven rows of episodes that end truly after 3 steps, and by a limit after 5.

    The reward of a step is its number. `episode` and `step` are what rows show: [E, T].
    """
    for env in range(len(step)):
        np.testing.assert_array_equal(episode[env], [0] * 4 + [1] * 6 + [2])
        np.testing.assert_array_equal(step[env], [*range(4), *range(6), 0])
        np.testing.assert_array_equal(rows.reward[env], [*range(4), *range(6), 0])
        np.testing.assert_array_equal(np.nonzero(rows.first[env])[0], [0, 4, 10])
        np.testing.assert_array_equal(np.nonzero(rows.last[env])[0], [3, 9])
        # 0 at the true end alone: not at the time limit, not where an episode begins.
        np.testing.assert_array_equal(np.nonzero(rows.discount[env] != 1)[0], [3])
        assert rows.discount[env, 3] == 0
    dtypes = [np.asarray(field).dtype for field in rows]
    assert dtypes == [np.float32, np.float32, np.float32, bool, bool]


def assert_rows_stay(
    environment: base.BatchedEnvironment, actions: Iterable[np.ndarray]
) -> None:
    """Later steps and a reset write into no earlier row; closes the environment."""
    seen = [environment.reset()]
    copies = [[np.array(field) for field in seen[0]]]
    for action in actions:
        seen.append(environment.step(action))
        copies.append([np.array(field) for field in seen[-1]])
    environment.reset()
    environment.close()
    for row, copy in zip(seen, copies, strict=True):
        for field, old in zip(row, copy, strict=True):
            np.testing.assert_array_equal(field, old)
