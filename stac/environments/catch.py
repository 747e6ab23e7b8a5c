"""Catch: a ball falls, a paddle catches it. The tiny game of the tests.

A ball starts in a random column of the top row of a 10x5 grid and falls one row a
step; the paddle in the bottom row moves left, stays, or moves right. After 9 steps the
ball is down: reward +1 if the paddle is there, else -1, and the episode truly ends. A
perfect player returns +1, one that never moves -0.6 on average.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stac import config, snapshots
from stac.environments import base
from stac.types import Timestep

ROWS, COLUMNS = 10, 5
ACTIONS = 3  # 0 moves the paddle left, 1 keeps it, 2 moves it right
CELL = 4  # pixels of a cell's side: 40x20 images are large enough for strided layers


class Task(NamedTuple):
    """The kind of observations, and a time limit."""

    pixels: bool  # uint8 [E, 1, 40, 20], else float32 [E, 50]
    time_limit: int = 0  # steps after which an episode is cut, discount 1; 0: never


TASKS = {
    "features": Task(pixels=False),
    "pixels": Task(pixels=True),
    "cut": Task(pixels=False, time_limit=5),  # always cut before the ball is down
}


class Catch:
    """E games of catch; the rows mean what stac.environments.base says."""

    def __init__(self, task: str, seed: int, num_envs: int) -> None:
        """Sets up E games.

        Args:
          task: a row of `TASKS`, also as `catch.<row>`.
          seed: not negative; equal seeds and actions give equal rows.
          num_envs: E.

        Raises:
          ConfigError: an unknown task.
        """
        name = config.choose("catch task", task.removeprefix("catch."), TASKS)
        self._task = TASKS[name]
        self._name = f"catch {name}, {num_envs} games"
        self.num_envs = num_envs
        self.spec = base.EnvironmentSpec(
            observation_shape=(
                (1, ROWS * CELL, COLUMNS * CELL)
                if self._task.pixels
                else (ROWS * COLUMNS,)
            ),
            observation_dtype=np.dtype(np.uint8 if self._task.pixels else np.float32),
            num_actions=ACTIONS,
            continuous=False,
            frames_per_step=1,
        )
        self._random = np.random.default_rng(seed)
        self._ball_row = np.zeros(num_envs, int)  # also the steps since the start
        self._ball_column = np.zeros(num_envs, int)
        self._paddle = np.zeros(num_envs, int)
        self._last = np.zeros(num_envs, bool)

    def reset(self) -> Timestep:
        """Starts E episodes."""
        first = np.ones(self.num_envs, bool)
        self._restart(first)
        return self._timestep(first)

    def step(self, action: np.ndarray) -> Timestep:
        """Moves every paddle and ball, or starts the next episode after a `last` row.

        Args:
          action: [E] integers in {0, 1, 2}; ignored after a `last` row.

        Raises:
          ValueError: another shape or range.
        """
        action = np.asarray(action)
        if action.shape != (self.num_envs,) or not np.isin(action, range(3)).all():
            raise ValueError(f"actions {action}: must be {self.num_envs} of 0, 1 or 2")
        first = self._last
        self._paddle = np.clip(self._paddle + action - 1, 0, COLUMNS - 1)
        self._ball_row = self._ball_row + 1
        self._restart(first)
        return self._timestep(first)

    def snapshot(self) -> bytes:
        """The games, and the generator of those to come."""
        games = (self._ball_row, self._ball_column, self._paddle, self._last)
        return snapshots.pack(self._name, (self._random, *games))

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base."""
        self._random, *games = snapshots.unpack(self._name, snapshot)
        self._ball_row, self._ball_column, self._paddle, self._last = games

    def close(self) -> None:
        """Holds nothing that must be freed."""

    def _restart(self, where: np.ndarray) -> None:
        """Puts the ball up and the paddle in the middle in the games of a [E] mask."""
        self._ball_row[where] = 0
        self._ball_column[where] = self._random.integers(COLUMNS, size=where.sum())
        self._paddle[where] = COLUMNS // 2

    def _timestep(self, first: np.ndarray) -> Timestep:
        down = self._ball_row == ROWS - 1
        caught = self._ball_column == self._paddle
        limit = self._task.time_limit
        self._last = down | (self._ball_row == limit) if limit else down
        return Timestep(
            observation=self._observation(),
            reward=np.where(down, np.where(caught, 1.0, -1.0), 0.0).astype(np.float32),
            discount=1.0 - down.astype(np.float32),
            first=first,
            last=self._last,
        )

    def _observation(self) -> np.ndarray:
        games = np.arange(self.num_envs)
        grid = np.zeros((self.num_envs, ROWS, COLUMNS), np.float32)
        grid[games, self._ball_row, self._ball_column] = 1.0
        grid[games, ROWS - 1, self._paddle] = 1.0
        if not self._task.pixels:
            return grid.reshape(self.num_envs, -1)
        image = grid.repeat(CELL, axis=1).repeat(CELL, axis=2)
        return (255 * image[:, np.newaxis]).astype(np.uint8)
