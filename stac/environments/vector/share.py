"""Some dm_env environments of a batch, stepped one after the other into its rows.

A `Share` lives in the process that built it, for only there may a rendering context be
used. It does not import JAX, so that a worker process starts quickly.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import dm_env
import numpy as np

from stac import snapshots
from stac.environments import base, rendering
from stac.types import Timestep

Make = Callable[[int], dm_env.Environment]  # from a seed; must pickle
Rows = tuple[Timestep, np.ndarray]
_RESETS = 3  # that may diverge, one after the other
PIXELS = "pixels"  # a dictionary with this entry alone is an image


@dataclasses.dataclass
class Played:
    """One environment and the state of its episode, as a snapshot holds them."""

    environment: dm_env.Environment
    cut: int  # 0 once the first episode is over
    steps: int = 0  # of the episode
    over: bool = True
    begun: bool = False  # whether there was a first episode


class Share:
    """A few environments; rows mean what stac.environments.base says."""

    def __init__(self, make: Make, seeds: Sequence[int], cuts: Sequence[int]) -> None:
        """Builds the environments.

        Args:
          make: builds one environment from its seed.
          seeds: one each.
          cuts: the steps at which the first episodes are cut; 0: one is not.
        """
        environments = [make(seed) for seed in seeds]
        self._played = list(map(Played, environments, cuts))
        first = environments[0]
        self.spec = spec(first)._replace(staggered=any(cuts))
        self._names = list(first.observation_spec())
        self._action_dtype = first.action_spec().dtype
        shape = (len(seeds), *self.spec.observation_shape)
        self._rows = base.first_rows(np.zeros(shape, self.spec.observation_dtype))
        self._diverged = np.zeros(len(seeds), np.int32)

    def reset(self) -> Rows:
        """Starts an episode in each environment; only the first one may be cut."""
        for played in self._played:
            played.cut = 0 if played.begun else played.cut
            played.begun = played.over = True
        return self.step(np.zeros((len(self._played), self.spec.num_actions)))

    def step(self, actions: np.ndarray) -> Rows:
        """Takes actions [E, A] within the bounds.

        Returns:
          The rows, and [E] how many simulations of each environment have diverged;
          the next call writes into the same arrays.
        """
        for index, played in enumerate(self._played):
            timestep = self._play(index, actions[index])
            played.steps = 0 if timestep.first() else played.steps + 1
            played.over = timestep.last() or 0 < played.cut == played.steps
            played.cut = 0 if played.over else played.cut
            self._write(index, timestep)
        return self._rows, self._diverged

    def picture(self, camera: int, height: int, width: int) -> np.ndarray:
        """MuJoCo's picture of the first environment; `rendering` has OpenGL loaded."""
        physics = self._played[0].environment.physics  # type: ignore[attr-defined]
        picture: np.ndarray = physics.render(height, width, camera_id=camera)
        return picture

    def snapshot(self) -> list[bytes]:
        """One snapshot per environment, so that another share may have it next.

        Whole environments are pickled, models included, of which textures are most.
        """
        return [snapshots.compress(played) for played in self._played]

    def restore(self, states: Sequence[bytes]) -> str:
        """Replaces its environments with those of snapshots.

        Returns:
          The reason why that failed, and nothing is replaced; else the empty string.
        """
        try:
            loaded = [snapshots.load_compressed(state) for state in states]
        except ValueError as error:
            return str(error)
        self.close()
        self._played = loaded
        return ""

    def close(self) -> None:
        """Frees the simulators; may be called twice."""
        closing, self._played = self._played, []
        for played in closing:
            played.environment.close()

    def _play(
        self, index: int, action: np.ndarray, resets: int = _RESETS
    ) -> dm_env.TimeStep:
        """Steps an environment, or starts its next episode.

        A simulation that diverges ends its episode with reward 0 and discount 0: that
        is dm_control's own convention (`composer.Environment`). A cut would bootstrap
        from a state that is not finite. The row keeps the observation before the step,
        the last one that was sound; the other environments do not notice. A reset that
        diverges is tried again.
        """
        played = self._played[index]
        if not played.begun:
            raise RuntimeError("step before reset")
        try:
            if played.over:
                return played.environment.reset()
            # A copy: an environment may keep it.
            return played.environment.step(action.astype(self._action_dtype))
        except Exception as error:
            if not rendering.is_divergence(error) or (played.over and not resets):
                raise
        self._diverged[index] += 1
        if played.over:
            return self._play(index, action, resets - 1)
        return dm_env.termination(0.0, None)

    def _write(self, index: int, timestep: dm_env.TimeStep) -> None:
        first, rows = timestep.first(), self._rows
        rows.reward[index] = 0.0 if first else timestep.reward
        rows.discount[index] = 1.0 if first else timestep.discount
        rows.first[index] = first
        rows.last[index] = self._played[index].over
        entries, row = timestep.observation, rows.observation[index]
        if entries is None:
            return
        if row.ndim == 3:
            row[...] = np.moveaxis(entries[PIXELS], -1, 0)
        else:
            row[...] = np.concatenate([np.ravel(entries[name]) for name in self._names])


def spec(environment: dm_env.Environment) -> base.EnvironmentSpec:
    """Reads the specs: entries in their order, each flattened in C order.

    Raises:
      ValueError: observations that are no dictionary, or actions without bounds.
    """
    observed, acted = environment.observation_spec(), environment.action_spec()
    if not isinstance(observed, Mapping):
        raise ValueError(f"observations must be a dictionary, not {observed}")
    bounds = [np.broadcast_to(b, acted.shape) for b in (acted.minimum, acted.maximum)]
    minimum, maximum = (np.array(bound, np.float64) for bound in bounds)
    if len(acted.shape) != 1 or not np.isfinite([minimum, maximum]).all():
        raise ValueError(f"actions must be a vector with bounds, not {acted}")
    size = sum(math.prod(entry.shape) for entry in observed.values())
    shape: tuple[int, ...] = (size,)
    dtype: np.dtype = np.dtype(np.float32)
    if list(observed) == [PIXELS] and len(observed[PIXELS].shape) == 3:
        height, width, channels = observed[PIXELS].shape
        shape, dtype = (channels, height, width), np.dtype(np.uint8)
    return base.EnvironmentSpec(shape, dtype, len(minimum), True, 1, minimum, maximum)
