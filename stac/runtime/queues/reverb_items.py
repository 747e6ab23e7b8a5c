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
- All fields of a block are joined to one array of bytes: Reverb's time for an item
  depends on the number of columns and chunks more than on the number of bytes.
- Each block is a chunk of its own. Reverb reads whole chunks, so in a longer chunk an
  item would also carry the rows of its neighbours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from stac.runtime.experience import ROWS, TRANSITIONS, Spec
from stac.types import CoreState, Experience, Report, Trajectory

Leaf = Any  # np.ndarray or jax.ShapeDtypeStruct


class Items:
    """Packs trajectories into the steps of a writer, and items into trajectories.

    An object belongs to one side of the queue, and to one thread. The writer's side
    relies on one actor for all trajectories, in order: rows [:overlap] are, bit for
    bit, rows [period:] of the same environment's last trajectory.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._block = math.gcd(spec.rows, spec.period)  # rows
        self._blocks = spec.rows // self._block  # in an item
        self._shared = [_of_rows(leaf, spec.rows) for leaf in _shared(spec.experience)]
        self._own, self._own_structure = jax.tree.flatten(_own(spec.experience))
        self._envs: int | None = None  # E; None before the first trajectories

    def signature(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of an item's two columns: blocks, and the item's own."""
        shared, own = (sum(map(_size, leaves)) for leaves in (self._shared, self._own))
        byte = np.dtype(np.uint8)
        return [((self._blocks, shared // self._blocks), byte), ((own,), byte)]

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

        Raises:
          ValueError: a leaf does not look like the spec's; or trajectories overlap, and
            E has changed.
        """
        envs = self._checked(experience)
        new = self._spec.period if self._envs else self._spec.rows
        self._envs = envs
        rows = [_last_rows(leaf, new) for leaf in _shared(experience)]
        count = new // self._block
        blocks = _bytes(rows, count)
        own = _bytes(jax.tree.leaves(_own(experience)), 1)
        for number in range(count):
            for env in range(envs):
                block = _joined(blocks, env, number)
                yield block, _joined(own, env, 0) if number == count - 1 else None

    def join(self, items: Sequence[Sequence[np.ndarray]]) -> Experience:
        """Returns the trajectories in `count` items, as fresh arrays [count, ...]."""
        blocks, own = zip(*items, strict=True)
        names = (*ROWS, *TRANSITIONS)
        leaves = dict(zip(names, _leaves(blocks, self._shared), strict=True))
        for name in TRANSITIONS:
            leaves[name] = leaves[name][:, 1:].copy()
        core_state, report = jax.tree.unflatten(
            self._own_structure, _leaves(own, self._own)
        )
        return Experience(Trajectory(**leaves, core_state=core_state), report)

    def _checked(self, experience: Experience) -> int:
        """Returns E, if the experience looks as it should."""
        envs = len(experience.report.actor)
        if self._spec.overlap and self._envs not in (None, envs):
            raise ValueError(f"{envs} trajectories came after {self._envs} at a time")
        jax.tree_util.tree_map_with_path(
            functools.partial(_check_leaf, envs), self._spec.experience, experience
        )
        return envs


def _check_leaf(envs: int, path: Any, like: Leaf, leaf: np.ndarray) -> None:
    shape = (envs, *like.shape)
    if (leaf.shape, leaf.dtype) != (shape, like.dtype):
        name = jax.tree_util.keystr(path)
        raise ValueError(
            f"{name} is {leaf.dtype} {leaf.shape}, but by the table's signature it must"
            f" be {like.dtype} {shape}"
        )


def _shared(experience: Experience) -> list[Leaf]:
    """The leaves whose rows overlapping trajectories share."""
    return [getattr(experience.trajectory, name) for name in (*ROWS, *TRANSITIONS)]


def _own(experience: Experience) -> tuple[CoreState, Report]:
    """The leaves that belong to one trajectory alone."""
    return experience.trajectory.core_state, experience.report


def _of_rows(leaf: Leaf, rows: int) -> Leaf:
    return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype)


def _last_rows(leaf: np.ndarray, rows: int) -> np.ndarray:
    """[E, n, ...] or [E, n-1, ...] -> [E, rows, ...]; filler goes into row 0."""
    if rows > leaf.shape[1]:
        leaf = np.concatenate([leaf[:, :1], leaf], axis=1)
    return leaf[:, -rows:]


def _bytes(leaves: Sequence[np.ndarray], count: int) -> list[np.ndarray]:
    """Leaves [E, ...] -> uint8 [E, count, bytes] of each."""
    return [
        np.ascontiguousarray(leaf).reshape(len(leaf), count, -1).view(np.uint8)
        for leaf in leaves
    ]


def _joined(leaves: Sequence[np.ndarray], env: int, number: int) -> np.ndarray:
    """The bytes of all leaves, one block at a time: 18 MB at once are slower."""
    return np.concatenate([leaf[env, number] for leaf in leaves])


def _leaves(items: Sequence[np.ndarray], like: Sequence[Leaf]) -> Iterator[np.ndarray]:
    """The inverse: uint8 [count, bytes], or [bytes], of each item -> [items, ...]."""
    count = items[0].size // items[0].shape[-1]
    stop = 0
    for leaf in like:
        start, stop = stop, stop + _size(leaf) // count
        data = np.stack([item[..., start:stop] for item in items])
        flat = data.reshape(len(items), -1).view(leaf.dtype)
        yield flat.reshape(len(items), *leaf.shape)


def _size(leaf: Leaf) -> int:
    """In bytes."""
    return math.prod(leaf.shape) * leaf.dtype.itemsize
