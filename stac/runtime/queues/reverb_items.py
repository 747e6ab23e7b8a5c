"""Trajectories as items of a Reverb table: bytes in, trajectories out.

The writer appends blocks of rows, and an item refers to the blocks it spans. So where
trajectories overlap, each row is compressed, sent and stored once. For one environment,
n = 6 and overlap 4, where a trajectory begins every 2 rows:

    put 0   x_0 x_1 | x_2 x_3 | x_4 x_5               3 blocks, and an item of 3
    put 1             x_2 x_3 | x_4 x_5 | x_6 x_7     1 block,  and an item of 3

Without overlap an item is one block of n rows.

- A block is gcd(n, period) rows, so that trajectories begin and end between blocks.
- A row travels with the transition into it: column t with row t + 1 (see `stac.types`).
  The transition into row 0 is in no trajectory: the writer sends filler in its place,
  and the reader cuts it off.
- Environments take turns, block by block, in one writer, which keeps the trajectories
  of one `put` together and in order. An item's blocks are E steps apart in its history.
- The core state and the report are not shared (an episode is reported once). They
  travel in a second column, beside the item's last block.
- All fields of a block are one record of bytes: Reverb's time for an item depends on
  the number of columns and chunks more than on the number of bytes.
- Each block is a chunk of its own. Reverb reads whole chunks, so in a longer chunk an
  item would also carry the rows of its neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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

Leaf = Any  # np.ndarray or jax.ShapeDtypeStruct


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
    array: Any = jax.ShapeDtypeStruct
    number, column = array((), np.int32), array((columns,), np.float32)
    action = array((columns,), np.int32)
    if environment.continuous:
        action = array((columns, environment.num_actions), np.float32)
    trajectory = Trajectory(
        observation=array(
            (rows, *environment.observation_shape), environment.observation_dtype
        ),
        first=array((rows,), np.bool_),
        action=action,
        behaviour_log_prob=column,
        reward=column,
        discount=column,
        core_state=jax.tree.map(
            lambda leaf: array(leaf.shape[1:], leaf.dtype), core_state
        ),
    )
    report = Report(
        episode_return=array((rows,), np.float32),
        episode_length=array((rows,), np.int32),
        parameter_version=number,
        actor=number,
        diverged=number,
    )
    return Spec(Experience(trajectory, report), batch.overlap)


def batch(spec: Spec, size: int) -> Trajectory:
    """A batch of zeros in the shape of so many trajectories."""
    zeros: Trajectory = jax.tree.map(
        lambda leaf: np.zeros((size, *leaf.shape), leaf.dtype),
        spec.experience.trajectory,
    )
    return zeros


class Items:
    """Packs trajectories into the steps of a writer, and items into trajectories.

    An object belongs to one side of the queue, and to one thread. The writer's side
    relies on one actor for all trajectories, in order: rows [:overlap] are, bit for
    bit, rows [period:] of the same environment's last trajectory.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._rows = math.gcd(spec.rows, spec.period)  # in a block
        self._blocks = spec.rows // self._rows  # in an item
        self._block = _record(
            jax.ShapeDtypeStruct((self._rows, *leaf.shape[1:]), leaf.dtype)
            for leaf in _shared(spec.experience)
        )
        own, self._own_structure = jax.tree.flatten(_own(spec.experience))
        self._own = _record(own)
        self._begun = False  # with the first trajectories

    def places(self, envs: int) -> list[int]:
        """Places of an item's blocks in the writer's history when the item ends."""
        return list(range(-1 - (self._blocks - 1) * envs, 0, envs))

    def history(self, envs: int) -> int:
        """The number of blocks that the writer must keep."""
        if not self._spec.overlap:
            return 1
        # From the oldest block of the first item of a `put` to the end of the last
        # item. Making the items needs fewer, but Reverb sends again what it dropped
        # before it was sent.
        return self._blocks * envs

    def steps(
        self, experience: Experience
    ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yields all that E trajectories, leaves [E, ...], add to the writer.

        Yields:
          (a block, None), or (the last block of an item, the item's own): uint8.
        """
        new = self._spec.period if self._begun else self._spec.rows
        self._begun = True
        leaves = [_last_rows(leaf, new) for leaf in _shared(experience)]
        own = jax.tree.leaves(_own(experience))
        for end in range(self._rows, new + 1, self._rows):
            for env in range(len(experience.report.actor)):
                block = _packed(
                    self._block, [leaf[env, end - self._rows : end] for leaf in leaves]
                )
                if end < new:
                    yield block, None
                else:
                    yield block, _packed(self._own, [leaf[env] for leaf in own])

    def join(self, items: Sequence[Sequence[np.ndarray]]) -> Experience:
        """Returns the trajectories in `count` items, as fresh arrays [count, ...]."""
        blocks, own = zip(*items, strict=True)
        leaves = {
            name: leaf.reshape(len(items), self._spec.rows, *leaf.shape[4:])
            for name, leaf in zip(
                (*ROWS, *TRANSITIONS), _unpacked(self._block, blocks), strict=True
            )
        }
        for name in TRANSITIONS:
            leaves[name] = leaves[name][:, 1:].copy()
        core_state, report = jax.tree.unflatten(
            self._own_structure,
            [leaf[:, 0] for leaf in _unpacked(self._own, own)],
        )
        return Experience(Trajectory(**leaves, core_state=core_state), report)


def _shared(experience: Experience) -> list[Leaf]:
    """The leaves whose rows overlapping trajectories share."""
    return [getattr(experience.trajectory, name) for name in (*ROWS, *TRANSITIONS)]


def _own(experience: Experience) -> tuple[Any, Any]:
    """The core state and the report, which belong to one trajectory alone."""
    return experience.trajectory.core_state, experience.report


def _last_rows(leaf: np.ndarray, rows: int) -> np.ndarray:
    """[E, n, ...] or [E, n-1, ...] -> [E, rows, ...]; filler goes into row 0."""
    if rows > leaf.shape[1]:
        leaf = np.concatenate([leaf[:, :1], leaf], axis=1)
    return leaf[:, -rows:]


def _record(leaves: Iterable[Leaf]) -> np.dtype:
    """The layout of some leaves in bytes, one after the other."""
    return np.dtype([(f"{i}", leaf.dtype, leaf.shape) for i, leaf in enumerate(leaves)])


def _packed(record: np.dtype, leaves: Iterable[np.ndarray]) -> np.ndarray:
    """Leaves -> uint8 [bytes]."""
    packed = np.empty(1, record)
    for name, leaf in zip(record.names or (), leaves, strict=True):
        packed[name] = leaf
    return packed.view(np.uint8)


def _unpacked(record: np.dtype, items: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The inverse: uint8 [..., bytes] of each item -> leaves [items, ..., 1, ...]."""
    records = [item.view(record) for item in items]
    return [np.stack([each[name] for each in records]) for name in record.names or ()]
