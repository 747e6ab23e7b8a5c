"""The shape of a trajectory and its report, for queues between processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from stac.config import BatchConfig
from stac.environments.base import EnvironmentSpec
from stac.types import CoreState, Experience, Report, Trajectory

# Fields of a trajectory: n of each, one for every row,
ROWS = ("observation", "first")
# and n - 1 of each: column t is the transition from row t to row t + 1 (stac.types).
TRANSITIONS = ("action", "behaviour_log_prob", "reward", "discount")


class Spec(NamedTuple):
    """The shape of one trajectory and its report."""

    experience: Experience  # jax.ShapeDtypeStructs without the batch axis
    overlap: int = 0  # rows shared with the trajectory before

    @property
    def rows(self) -> int:
        """n, the observations of a trajectory."""
        return self.experience.trajectory.first.shape[0]

    @property
    def period(self) -> int:
        """Rows between the starts of two trajectories."""
        return self.rows - self.overlap


def spec(
    environment: EnvironmentSpec, batch: BatchConfig, core_state: CoreState
) -> Spec:
    """The shape of the trajectories that an actor makes.

    Args:
      environment: shapes of observations and actions.
      batch: for n and the overlap.
      core_state: of the agent for any number of environments: leaves [E, ...].
    """
    rows, columns = batch.unroll_length, batch.unroll_length - 1
    action = (environment.num_actions,) if environment.continuous else ()
    array: Any = jax.ShapeDtypeStruct
    trajectory = Trajectory(
        observation=array(
            (rows, *environment.observation_shape), environment.observation_dtype
        ),
        first=array((rows,), np.bool_),
        action=array(
            (columns, *action), np.float32 if environment.continuous else np.int32
        ),
        behaviour_log_prob=array((columns,), np.float32),
        reward=array((columns,), np.float32),
        discount=array((columns,), np.float32),
        core_state=jax.tree.map(
            lambda leaf: array(leaf.shape[1:], leaf.dtype), core_state
        ),
    )
    report = Report(
        episode_return=array((rows,), np.float32),
        episode_length=array((rows,), np.int32),
        parameter_version=array((), np.int32),
        actor=array((), np.int32),
        diverged=array((), np.int32),
    )
    return Spec(Experience(trajectory, report), batch.overlap)
