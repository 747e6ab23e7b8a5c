"""How overlapping trajectories share steps: every bit of them, each row once."""

from __future__ import annotations

import itertools
import math

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


ENVS = 3


class FakeWriter:
    """Keeps as many blocks as a real writer would, and makes items of them."""

    def __init__(self, packing: reverb_items.Items) -> None:
        self._packing = packing
        self.history: list[np.ndarray] = []
        self.blocks = 0  # appended so far
        self.items: list[list[np.ndarray]] = []

    def put(self, experience: Experience) -> None:
        for block, own in self._packing.steps(experience):
            self.blocks += 1
            self.history.append(block.copy())
            self.history = self.history[-self._packing.history(ENVS) :]
            if own is not None:
                places = self._packing.places(ENVS)
                blocks = np.stack([self.history[place] for place in places])
                self.items.append([blocks, own.copy()])


def joined(puts: list[Experience]) -> Experience:
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *puts)


@pytest.mark.parametrize(("rows", "overlap"), [*OVERLAPS, (5, 0)])
def test_trajectories_come_out_of_their_items_bit_for_bit_and_in_order(rows, overlap):
    """And every row is handed to the writer once."""
    puts = experiences.overlapping(5, rows, overlap)
    spec = experiences.like(puts[0], overlap)
    writer = FakeWriter(reverb_items.Items(spec))
    for put in puts:
        writer.put(put)
    got = reverb_items.Items(spec).join(writer.items)
    assert jax.tree.structure(got) == jax.tree.structure(puts[0])
    assert experiences.bits(got) == experiences.bits(joined(puts))
    assert all(leaf.flags.c_contiguous for leaf in jax.tree.leaves(got))
    all_rows = rows + 4 * (rows - overlap)
    assert writer.blocks == ENVS * all_rows // math.gcd(rows, rows - overlap)
    assert len(writer.items) == ENVS * 5


@pytest.mark.parametrize(("rows", "overlap"), OVERLAPS)
def test_a_writer_keeps_the_blocks_of_a_put_until_its_end(rows, overlap):
    """Else it may send again the blocks that an item shares with those before it."""
    puts = experiences.overlapping(3, rows, overlap)
    writer = FakeWriter(reverb_items.Items(experiences.like(puts[0], overlap)))
    for put in puts:
        writer.put(put)
        kept = [block.tobytes() for block in writer.history]
        assert all(block.tobytes() in kept for block in writer.items[-ENVS][0])


@pytest.mark.parametrize("overlap", [1, 3, 4])
def test_an_actors_trajectories_overlap_as_the_writer_relies_on(overlap):
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
