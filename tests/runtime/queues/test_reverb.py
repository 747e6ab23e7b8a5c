"""The queue between processes: order, bounds, every bit, and who is woken when."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from stac.config import BatchConfig
from stac.runtime.queues import reverb, reverb_items
from stac.runtime.queues.base import Closed
from stac.types import Experience
from tests.launch.hosts.ports import free_pair
from tests.runtime import experiences, fakes
from tests.waiting import until

pytestmark = [
    pytest.mark.launchpad,
    # Reverb's protocol buffers are older than Python's idea of how to spell them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
CAPACITY = 4


@pytest.fixture
def address() -> Iterator[str]:
    with reverb.serve(CAPACITY) as address:
        yield address


def side(address: str) -> reverb.ReverbQueue:
    return reverb.ReverbQueue(address, experiences.like(experiences.numbered(range(1))))


def random_bits(like_this: Experience, count: int, seed: int) -> Experience:
    """Leaves [count, ...] of any bits at all, NaNs of every kind among the floats."""
    random = np.random.default_rng(seed)

    def leaf(item: jax.ShapeDtypeStruct) -> np.ndarray:
        shape = (count, *item.shape)
        if item.dtype == np.bool_:
            return random.random(shape) < 0.5
        bits = random.integers(0, 256, (*shape, item.dtype.itemsize), np.uint8)
        return np.ascontiguousarray(bits).view(item.dtype)[..., 0]

    return jax.tree.map(leaf, like_this)


def rows(tree: Experience, start: int, stop: int) -> Experience:
    return jax.tree.map(lambda leaf: leaf[start:stop], tree)


@pytest.mark.parametrize(
    "core_state",
    [(), (np.zeros((1, 5), np.float32), np.zeros((1, 2, 3), np.float16))],
    ids=["feed-forward", "recurrent"],
)
@pytest.mark.parametrize("continuous", [False, True])
def test_trajectories_come_out_bit_for_bit_and_in_order(core_state, continuous):
    spec = fakes.Counting(1).spec._replace(
        observation_shape=(4, 6, 6),
        observation_dtype=np.dtype(np.uint8),
        continuous=continuous,
    )
    batch = BatchConfig(batch_size=1, unroll_length=5)
    shape = reverb_items.spec(spec, batch, core_state)
    sent = random_bits(shape.experience, 12, seed=1)
    with reverb.serve(capacity=12) as address:
        reader = reverb.ReverbQueue(address, shape)
        with contextlib.closing(reverb.ReverbQueue(address, shape)) as writer:
            for start, stop in ((0, 3), (3, 4), (4, 12)):
                writer.put(rows(sent, start, stop))
        for start, stop in ((0, 1), (1, 8), (8, 12)):
            got = reader.get(stop - start)
            assert jax.tree.structure(got) == jax.tree.structure(shape.experience)
            assert experiences.bits(got) == experiences.bits(rows(sent, start, stop))


def test_the_size_counts_the_trajectories_that_wait(address):
    writer, reader = side(address), side(address)
    assert reader.size() == 0
    writer.put(experiences.numbered(range(3)))
    assert writer.size() == reader.size() == 3
    reader.get(2)
    assert reader.size() == 1


def test_trajectories_taken_for_a_batch_that_is_not_full_count_as_waiting(address):
    writer, reader = side(address), side(address)
    writer.put(experiences.numbered(range(2)))
    batch = experiences.Doing(reader.get, 3)
    until(lambda: (writer.size(), reader.size()) == (0, 2))
    assert batch.waits()
    assert (writer.size(), reader.size()) == (0, 2)
    writer.put(experiences.numbered(range(2, 3)))
    assert batch.result().report.actor.tolist() == [0, 1, 2]
    assert reader.size() == 0
    writer.close()
    reader.close()


def test_a_batch_may_be_more_than_the_table_holds(address):
    writer, reader = side(address), side(address)
    getting = experiences.Doing(reader.get, 2 * CAPACITY)
    writer.put(experiences.numbered(range(2 * CAPACITY)))
    assert list(getting.result().report.actor) == list(range(2 * CAPACITY))


@pytest.mark.faults
@pytest.mark.parametrize("waiter", ["a writer", "a reader"])
def test_close_wakes_a_waiting_side_within_a_second(address, waiter):
    queue = side(address)
    if waiter == "a writer":
        waiting = experiences.Doing(queue.put, experiences.numbered(range(9)))
    else:
        waiting = experiences.Doing(queue.get, 1)
    assert waiting.waits()
    began = time.monotonic()
    queue.close()
    queue.close()
    with pytest.raises(Closed):
        waiting.result()
    assert time.monotonic() - began < 1.0


@pytest.mark.faults
def test_a_closed_side_takes_and_gives_nothing(address):
    queue = side(address)
    queue.put(experiences.numbered(range(1)))
    queue.close()
    with pytest.raises(Closed):
        queue.put(experiences.numbered(range(1)))
    with pytest.raises(Closed):
        queue.get(1)


@pytest.mark.faults
def test_a_server_may_come_up_later():
    port = free_pair()
    early = side(f"localhost:{port}")
    putting = experiences.Doing(early.put, experiences.numbered(range(1)))
    assert putting.waits()
    with reverb.serve(1, port) as address:
        assert list(side(address).get(1).report.actor) == [0]
        putting.result()
        early.close()


@pytest.mark.faults
@pytest.mark.parametrize("waiter", ["a writer", "a reader"])
def test_a_side_that_waits_for_a_server_can_be_closed(waiter):
    queue = side("localhost:1")
    if waiter == "a writer":
        waiting = experiences.Doing(queue.put, experiences.numbered(range(1)))
    else:
        waiting = experiences.Doing(queue.get, 1)
    assert waiting.waits()
    queue.close()
    with pytest.raises(Closed):
        waiting.result()
