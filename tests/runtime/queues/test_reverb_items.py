"""How overlapping trajectories share steps: every bit of them, each row once."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

from stac.config import BatchConfig
from stac.runtime import actor
from stac.runtime.queues import reverb_items
from stac.types import Experience
from tests.runtime import experiences, fakes

# (n, overlap): blocks of 2, 1, 1, 2, 3 rows; 1, 1, 2, 3, 3 new ones a trajectory
OVERLAPS = [(8, 6), (5, 4), (5, 3), (8, 2), (12, 3)]


class FakeWriter:
    """Keeps of every column what a writer would, and makes items of it."""

    def __init__(self, packing: reverb_items.Packing, envs: int) -> None:
        self._packing = packing
        self._kept = packing.kept(envs)
        self.history: list[list[np.ndarray]] = [[] for _ in self._kept]
        self.items: list[list[np.ndarray]] = []
        self.cells: list[int] = [0 for _ in self._kept]

    def put(self, experience: Experience) -> None:
        for step in self._packing.steps(experience):
            for column, cell in enumerate(step.cells):
                if cell is not None:
                    self.history[column].append(cell.copy())
                    self.cells[column] += 1
            kept = zip(self.history, self._kept, strict=True)
            self.history = [column[-length:] for column, length in kept]
            if step.item is not None:
                columns = zip(self.history, step.item, strict=True)
                self.items.append([_at(column, places) for column, places in columns])


def _at(column: list[np.ndarray], places: int | list[int]) -> np.ndarray:
    if isinstance(places, int):
        return column[places]
    return np.stack([column[place] for place in places])


def joined(puts: list[Experience]) -> Experience:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *puts)


@pytest.mark.parametrize(("rows", "overlap"), [*OVERLAPS, (5, 0)])
def test_trajectories_come_out_of_their_items_bit_for_bit_and_in_order(rows, overlap):
    puts = experiences.overlapping(5, rows, overlap)
    template = experiences.like(puts[0], overlap)
    writer = FakeWriter(reverb_items.packing(template), envs=3)
    for put in puts:
        writer.put(put)
    signature = reverb_items.packing(template).signature()
    for item in writer.items:
        assert [(cell.shape, cell.dtype) for cell in item] == signature
    got = reverb_items.packing(template).join(writer.items)
    assert jax.tree.structure(got) == jax.tree.structure(puts[0])
    assert experiences.bits(got) == experiences.bits(joined(puts))
    assert all(leaf.flags.c_contiguous for leaf in jax.tree.leaves(got))


@pytest.mark.parametrize(("rows", "overlap"), OVERLAPS)
def test_every_row_is_handed_to_the_writer_once(rows, overlap):
    puts = experiences.overlapping(5, rows, overlap)
    packing = reverb_items.packing(experiences.like(puts[0], overlap))
    writer = FakeWriter(packing, envs=3)
    for put in puts:
        writer.put(put)
    (blocks, _), _ = packing.signature()[0]
    made = rows + 4 * (rows - overlap)
    assert writer.cells == [3 * made * blocks // rows, 3 * 5]


@pytest.mark.parametrize(("rows", "overlap"), OVERLAPS)
def test_a_writer_keeps_all_that_a_put_is_made_of_until_its_end(rows, overlap):
    """Else it may send again what an item shares with those before it."""
    puts = experiences.overlapping(3, rows, overlap)
    packing = reverb_items.packing(experiences.like(puts[0], overlap))
    writer = FakeWriter(packing, envs=3)
    for put in puts:
        writer.put(put)
        kept = [cell.tobytes() for cell in writer.history[0]]
        assert all(block.tobytes() in kept for block in writer.items[-3][0])


@pytest.mark.parametrize("overlap", [1, 3, 4])
def test_an_actors_trajectories_overlap_as_sharing_takes_for_granted(overlap):
    batch = BatchConfig(batch_size=1, unroll_length=5, overlap=overlap)
    acting = actor.Actor(
        fakes.following_agent(), fakes.Counting(3), batch, seed=1, index=0
    )
    puts = [acting.unroll(0, {"b": np.float32(0)}).trajectory for _ in range(5)]
    for before, after in itertools.pairwise(puts):
        for name, rows in before._replace(core_state=())._asdict().items():
            if name != "core_state":
                shared = rows[:, batch.period :]
                kept = getattr(after, name)[:, : shared.shape[1]]
                assert experiences.bits(kept) == experiences.bits(shared), name


def test_a_leaf_that_is_not_the_tables_is_refused_by_name():
    put = experiences.overlapping(1, 5, 3)[0]
    packing = reverb_items.packing(experiences.like(put, 3))
    wrong = put.trajectory._replace(reward=put.trajectory.reward.astype(np.float64))
    with pytest.raises(ValueError, match=r"reward is float64 .* must be float32"):
        list(packing.steps(put._replace(trajectory=wrong)))


def test_another_number_of_environments_is_refused():
    put, after = experiences.overlapping(2, 5, 3)
    packing = reverb_items.packing(experiences.like(put, 3))
    list(packing.steps(put))
    fewer = jax.tree.map(lambda leaf: leaf[:2], after)
    with pytest.raises(ValueError, match="2 trajectories came after 3"):
        list(packing.steps(fewer))
