"""How trajectories become items of a Reverb table, and back.

Without overlap (`Whole`) a trajectory is one step of the writer, a leaf a column.

With overlap (`Shared`) the steps of the writer are blocks of rows, and an item names
the blocks it spans, so that each row is compressed, sent and stored once. For one
environment, n = 6 and overlap 4, where a new trajectory begins every 2 rows:

    put 0   x_0 x_1 | x_2 x_3 | x_4 x_5               3 steps, and an item of 3
    put 1             x_2 x_3 | x_4 x_5 | x_6 x_7     1 step,  and an item of 3

- A block is gcd(n, period) rows, so that trajectories begin and end between blocks.
- A row travels with the transition into it: column t with row t + 1 (see `stac.types`).
  The transition into row 0 is in no trajectory; it is cut off by the reader.
- Environments take turns, block by block, in one writer, which keeps what one `put`
  hands in together and in order. An item's blocks are E steps apart in its history.
- What is an item's own goes beside its last block: the core state, and the report,
  whose rows are not shared (what an earlier trajectory reported is left out).
- All of a block's leaves are one cell of bytes: what Reverb takes for an item goes by
  its columns and chunks, more than by its bytes.
- A cell is a chunk of its own: chunks are read whole, so in a longer one an item would
  bring along the rows of its neighbours.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from stac.types import CoreState, Experience, Report, Trajectory

Leaf = Any  # np.ndarray or jax.ShapeDtypeStruct
_INTO_ROWS = ("action", "behaviour_log_prob", "reward", "discount")  # n - 1 of each
_WITH_ROWS = ("observation", "first", *_INTO_ROWS)


class Template(NamedTuple):
    """What a trajectory looks like, for both sides of the queue and the server."""

    experience: Experience  # jax.ShapeDtypeStructs without a batch axis
    overlap: int = 0  # rows shared with the trajectory before


class Step(NamedTuple):
    """What the writer appends at once, and the item that ends with it."""

    cells: list[np.ndarray | None]  # one a column; None: the column has no such step
    item: list[int | list[int]] | None  # for each column, places in its history; None:
    # no item ends here


class Packing(Protocol):
    """One side's way to make items and to read them."""

    def signature(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of an item's columns."""
        ...

    def kept(self, envs: int) -> list[int]:
        """For each column, how far back in its history an item may reach."""
        ...

    def steps(self, experience: Experience) -> Iterator[Step]:
        """For the writer, all that E trajectories add, leaves [E, ...]."""
        ...

    def join(self, items: Sequence[Sequence[np.ndarray]]) -> Experience:
        """What count items held, as fresh arrays [count, ...]."""
        ...


def packing(template: Template) -> Packing:
    """The one for trajectories that overlap so; of one side, and used by one thread."""
    return Shared(template) if template.overlap else Whole(template)


class Whole:
    """An item is a trajectory, a column a leaf of it."""

    def __init__(self, template: Template) -> None:
        self._leaves, self._structure = jax.tree.flatten(template.experience)

    def signature(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        return [(leaf.shape, leaf.dtype) for leaf in self._leaves]

    def kept(self, envs: int) -> list[int]:
        return [1] * len(self._leaves)

    def steps(self, experience: Experience) -> Iterator[Step]:
        leaves = jax.tree.leaves(experience)
        for env in range(len(leaves[0])):
            yield Step([leaf[env] for leaf in leaves], [-1] * len(leaves))

    def join(self, items: Sequence[Sequence[np.ndarray]]) -> Experience:
        leaves = [np.stack(column) for column in zip(*items, strict=True)]
        return jax.tree.unflatten(self._structure, leaves)


class Shared:
    """An item is blocks of rows, most of them in other items too, and what is its own.

    The writer's side takes it on trust that one actor made what its `steps` are given,
    in order: rows [:overlap] are rows [period:] of the time before, bit for bit.
    """

    def __init__(self, template: Template) -> None:
        like = template.experience
        self._like = like
        self._rows = like.trajectory.first.shape[0]
        self._period = self._rows - template.overlap
        self._block = math.gcd(self._rows, self._period)
        self._blocks = self._rows // self._block
        self._shared = [_with_rows(leaf, self._rows) for leaf in _of_rows(like)]
        self._own, self._own_structure = jax.tree.flatten(_own(like))
        self._envs: int | None = None  # E; None before the first trajectories

    def signature(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        shared, own = (sum(map(_size, leaves)) for leaves in (self._shared, self._own))
        byte = np.dtype(np.uint8)
        return [((self._blocks, shared // self._blocks), byte), ((own,), byte)]

    def kept(self, envs: int) -> list[int]:
        # So far back does the first item of a `put` reach when the last one is made.
        # Making it needs less; but what is dropped before it is sent is sent twice.
        return [self._blocks * envs, 1]

    def steps(self, experience: Experience) -> Iterator[Step]:
        """See Packing.

        Raises:
          ValueError: a leaf does not look like the template's, or E has changed.
        """
        envs = self._checked(experience)
        new = self._period if self._envs else self._rows
        self._envs = envs
        rows = [_last_rows(leaf, new) for leaf in _of_rows(experience)]
        blocks = _cells(rows, new // self._block)
        own = _cells(jax.tree.leaves(_own(experience)), 1)
        for number in range(blocks.shape[1] - 1):
            for env in range(envs):
                yield Step([blocks[env, number], None], None)
        places = list(range(-1 - (self._blocks - 1) * envs, 0, envs))
        for env in range(envs):
            yield Step([blocks[env, -1], own[env, 0]], [places, -1])

    def join(self, items: Sequence[Sequence[np.ndarray]]) -> Experience:
        blocks, own = zip(*items, strict=True)
        leaves = dict(zip(_WITH_ROWS, _leaves(blocks, self._shared), strict=True))
        for name in _INTO_ROWS:
            leaves[name] = leaves[name][:, 1:].copy()
        core_state, report = jax.tree.unflatten(
            self._own_structure, _leaves(own, self._own)
        )
        trajectory = Trajectory(**leaves, core_state=core_state)
        return Experience(trajectory, report)

    def _checked(self, experience: Experience) -> int:
        """E, of what looks as it should."""
        envs = len(experience.report.actor)
        if self._envs not in (None, envs):
            raise ValueError(f"{envs} trajectories came after {self._envs} at a time")
        jax.tree_util.tree_map_with_path(
            functools.partial(_check_leaf, envs), self._like, experience
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


def _of_rows(experience: Experience) -> list[Leaf]:
    """The leaves that trajectories share."""
    return [getattr(experience.trajectory, name) for name in _WITH_ROWS]


def _own(experience: Experience) -> tuple[CoreState, Report]:
    """What they do not."""
    return experience.trajectory.core_state, experience.report


def _with_rows(leaf: Leaf, rows: int) -> Leaf:
    return jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype)


def _last_rows(leaf: np.ndarray, rows: int) -> np.ndarray:
    """[E, n, ...] or [E, n-1, ...] -> [E, rows, ...]; into row 0 goes anything."""
    if rows > leaf.shape[1]:
        leaf = np.concatenate([leaf[:, :1], leaf], axis=1)
    return leaf[:, -rows:]


def _cells(leaves: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Leaves [E, ...] -> uint8 [E, count, bytes of all leaves]."""
    parts = [
        np.ascontiguousarray(leaf).reshape(len(leaf), count, -1).view(np.uint8)
        for leaf in leaves
    ]
    return np.concatenate(parts, axis=-1)


def _leaves(cells: Sequence[np.ndarray], like: Sequence[Leaf]) -> Iterator[np.ndarray]:
    """The inverse: uint8 [count, bytes], or [bytes], of each item -> [items, ...]."""
    count = cells[0].size // cells[0].shape[-1]
    stop = 0
    for leaf in like:
        start, stop = stop, stop + _size(leaf) // count
        data = np.stack([cell[..., start:stop] for cell in cells])
        flat = data.reshape(len(cells), -1).view(leaf.dtype)
        yield flat.reshape(len(cells), *leaf.shape)


def _size(leaf: Leaf) -> int:
    """In bytes."""
    return math.prod(leaf.shape) * leaf.dtype.itemsize
