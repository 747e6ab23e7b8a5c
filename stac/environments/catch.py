"""Catch: a ball falls, a paddle catches it. The tiny game of the tests.

A ball starts in a random column of the top row of a 10x5 grid and falls one row a
step; the paddle in the bottom row moves left, stays, or moves right. After 9 steps the
ball is down: reward +1 if the paddle is there, else -1, and the episode truly ends. A
perfect player returns +1, one that never moves -0.6 on average.
"""

from __future__ import annotations

import numpy as np

from stac import config, snapshots
from stac.environments import actions, base
from stac.types import Timestep

ROWS, COLUMNS = 10, 5
ACTIONS = 3  # 0 moves the paddle left, 1 keeps it, 2 moves it right
CELL = 4  # pixels of a cell's side: 40x20 images are large enough for strided layers


# Features are float32 [E, 50], pixels uint8 [E, 1, 40, 20]. "cut" has features, and its
# episodes are truncated, with discount 1, before the ball is down.
TASKS = ("features", "cut", "pixels")
TIME_LIMIT = 5  # steps of an episode of "cut"


class Catch:
    """E games of catch; the rows mean what stac.environments.base says."""

    def __init__(self, task: str, seed: int, num_envs: int) -> None:
        """Sets up E games.

        Args:
          task: one of `TASKS`.
          seed: not negative; equal seeds and actions give equal rows.
          num_envs: E.

        Raises:
          ConfigError: an unknown task.
        """
        self._task = config.choose("catch task", task, TASKS)
        self._title = f"catch {self._task}, {num_envs} games"
        self.num_envs = num_envs
        pixels = self._task == "pixels"
        self.spec = base.EnvironmentSpec(
            (1, ROWS * CELL, COLUMNS * CELL) if pixels else (ROWS * COLUMNS,),
            np.dtype(np.uint8 if pixels else np.float32),
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
        """Moves paddles and balls, or starts the next episode after a `last` row."""
        action, first = actions.checked(action, self), self._last
        self._paddle = np.clip(self._paddle + action - 1, 0, COLUMNS - 1)
        self._ball_row = self._ball_row + 1
        self._restart(first)
        return self._timestep(first)

    def snapshot(self) -> bytes:
        """The games, and the generator of those to come."""
        games = (self._ball_row, self._ball_column, self._paddle, self._last)
        return snapshots.pack(self._title, (self._random, *games))

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base."""
        self._random, *games = snapshots.unpack(self._title, snapshot)
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
        cut = self._task == "cut" and self._ball_row == TIME_LIMIT
        self._last = down | cut
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
        if self._task != "pixels":
            return grid.reshape(self.num_envs, -1)
        image = grid.repeat(CELL, axis=1).repeat(CELL, axis=2)
        return (255 * image[:, np.newaxis]).astype(np.uint8)
