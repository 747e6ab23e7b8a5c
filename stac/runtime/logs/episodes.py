"""Returns and lengths of the episodes that an actor's environments play.

Environments that start together end their short episodes first. Reported as they end,
the first 32 episodes of 32 environments would have 0.4 to 0.8 of the mean length. So
after a start, a continuation or a restart of the actor, the first episodes of all its
environments are reported together, in the row where the last of them ends, or after
`LONGEST_WAIT` rows. Later episodes that end before that row are left out. Episodes that
end after it are reported as they end: by then the environments are at different points
of their episodes.
"""

from __future__ import annotations

import numpy as np

from stac.types import Timestep

LONGEST_WAIT = 3_000  # rows, so that one endless episode does not hold back the others


class Episodes:
    """Adds up raw rewards and steps of the episode each environment is in.

    Where first episodes are cut short (`staggered`), they are left out instead, and
    each environment's later ones are reported as they end.
    """

    def __init__(self, num_envs: int, staggered: bool) -> None:
        self._staggered = staggered
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int32)
        self._first_ended = np.zeros(num_envs, bool)
        self._first_returns = np.full(num_envs, np.nan)
        self._first_lengths = np.zeros(num_envs, np.int32)
        self._rows_to_wait = LONGEST_WAIT

    def add(self, timestep: Timestep) -> tuple[np.ndarray, np.ndarray]:
        """[E] returns and lengths of the episodes to report; NaN and 0 elsewhere."""
        self._returns = np.where(timestep.first, 0.0, self._returns + timestep.reward)
        self._lengths = np.where(timestep.first, 0, self._lengths + 1)
        before, now = self._first_ended, timestep.last & ~self._first_ended
        self._first_ended = before | now
        self._first_returns[now] = self._returns[now]
        self._first_lengths[now] = self._lengths[now]
        report = timestep.last
        if self._staggered:
            report = timestep.last & before
        elif self._rows_to_wait:
            self._rows_to_wait -= 1
            if self._first_ended.all() or not self._rows_to_wait:
                self._rows_to_wait = 0
                return self._first_returns.copy(), self._first_lengths.copy()
            report = np.zeros_like(timestep.last)
        returns = np.where(report, self._returns, np.nan)
        return returns, np.where(report, self._lengths, 0)
