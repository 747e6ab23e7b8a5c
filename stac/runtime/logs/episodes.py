"""Returns and lengths of the episodes that an actor's environments play."""

from __future__ import annotations

import numpy as np

from stac.types import Timestep


class Episodes:
    """Adds up raw rewards and steps of the episode each environment is in.

    Where the environments are `staggered`, the first episode of each is left out.
    """

    def __init__(self, num_envs: int, staggered: bool) -> None:
        self._returns = np.zeros(num_envs, np.float64)
        self._lengths = np.zeros(num_envs, np.int32)
        self._counts = np.full(num_envs, not staggered)

    def add(self, timestep: Timestep) -> tuple[np.ndarray, np.ndarray]:
        """[E] returns and lengths of episodes that end here; NaN and 0 elsewhere."""
        self._returns = np.where(timestep.first, 0.0, self._returns + timestep.reward)
        self._lengths = np.where(timestep.first, 0, self._lengths + 1)
        over = timestep.last & self._counts
        self._counts |= timestep.last
        return np.where(over, self._returns, np.nan), np.where(over, self._lengths, 0)
