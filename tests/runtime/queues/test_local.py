"""The local queue: order, bounds and waking."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from stac.runtime.queues import base, local
from tests.runtime.experiences import Doing, numbered
from tests.waiting import until


def numbers(experience):
    """Of the trajectories, checked to be the same in every field that has them."""
    got = experience.report.actor
    trajectory = experience.trajectory
    np.testing.assert_array_equal(trajectory.observation[:, 1, 0], got)
    np.testing.assert_array_equal(trajectory.core_state["count"], got)
    return got.tolist()


def test_trajectories_come_out_in_the_order_they_went_in():
    queue = local.LocalQueue(capacity=12)
    for put in (range(3), range(3, 8), range(8, 12)):
        queue.put(numbered(put))
    taken = [numbers(queue.get(count)) for count in (2, 5, 1, 4)]
    assert taken == [[0, 1], [2, 3, 4, 5, 6], [7], [8, 9, 10, 11]]
    assert queue.size() == 0


def test_a_full_queue_makes_the_actor_wait():
    queue = local.LocalQueue(capacity=4)
    queue.put(numbered(range(4)))
    putting = Doing(queue.put, numbered(range(4, 6)))
    assert putting.waits()
    assert queue.size() == 4
    assert numbers(queue.get(2)) == [0, 1]
    putting.result()
    assert numbers(queue.get(4)) == [2, 3, 4, 5]


def test_an_empty_queue_makes_the_learner_wait():
    queue = local.LocalQueue(capacity=4)
    queue.put(numbered(range(2)))
    getting = Doing(queue.get, 3)
    assert getting.waits()
    assert queue.size() == 2
    queue.put(numbered(range(2, 3)))
    assert numbers(getting.result()) == [0, 1, 2]


def test_more_trajectories_than_the_queue_holds_go_in_piece_by_piece():
    queue = local.LocalQueue(capacity=3)
    putting = Doing(queue.put, numbered(range(8)))
    until(lambda: queue.size() == 3)
    assert putting.waits()
    assert queue.size() == 3
    taken = [numbers(queue.get(2)) for _ in range(4)]
    putting.result()
    assert taken == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_actors_that_put_at_once_lose_nothing_and_keep_their_own_order():
    queue = local.LocalQueue(capacity=5)

    def act(index):
        for start in range(100 * index, 100 * index + 60, 3):
            queue.put(numbered(range(start, start + 3)))

    actors = [Doing(act, index) for index in range(3)]
    taken = [number for _ in range(45) for number in numbers(queue.get(4))]
    for actor in actors:
        actor.result()
    for i in range(3):
        own = [number for number in taken if number // 100 == i]
        assert own == list(range(100 * i, 100 * i + 60))


@pytest.mark.parametrize("side", ["put", "get"])
def test_close_wakes_a_waiting_side(side):
    queue = local.LocalQueue(capacity=2)
    if side == "put":
        queue.put(numbered(range(2)))
        waiting = Doing(queue.put, numbered(range(1)))
    else:
        waiting = Doing(queue.get, 2)
    assert waiting.waits()
    queue.close()
    with pytest.raises(base.Closed):
        waiting.result()


def test_a_closed_queue_takes_and_gives_nothing():
    queue = local.LocalQueue(capacity=4)
    queue.put(numbered(range(2)))
    queue.close()
    queue.close()
    with pytest.raises(base.Closed):
        queue.put(numbered(range(1)))
    with pytest.raises(base.Closed):
        queue.get(1)


def test_a_batch_is_contiguous():
    queue = local.LocalQueue(capacity=8)
    queue.put(numbered(range(8)))
    queue.get(1)
    for leaf in jax.tree.leaves(queue.get(6)):
        assert leaf.flags["C_CONTIGUOUS"]
        assert len(leaf) == 6


def test_a_batch_larger_than_the_queue_is_refused_for_it_would_wait_for_ever():
    with pytest.raises(ValueError, match="cannot take 5 from a queue of 4"):
        local.LocalQueue(capacity=4).get(5)


def test_parameters_are_copied_to_a_device_once_a_version():
    """As arrays that all actors of the device share, and that stay where they are."""
    store, (learner, other) = local.ParameterStore(), jax.devices()[:2]
    near, far = local.OnDevice(store, learner), local.OnDevice(store, other)
    for version in (0, 7):
        published = {"w": jax.device_put(np.full(3, version, np.float32), learner)}
        store.publish(version, published)
        assert near.latest()[1]["w"].unsafe_buffer_pointer() == (
            published["w"].unsafe_buffer_pointer()
        )
        number, first = far.latest()
        assert number == version
        assert first["w"].devices() == {other}
        assert far.latest()[1]["w"] is first["w"]
        np.testing.assert_array_equal(first["w"], published["w"])


def test_an_actor_waits_before_it_acts_what_would_only_grow_old():
    queue = local.LocalQueue(capacity=4)

    def act(start):
        with queue.room(2):
            queue.put(numbered(range(start, start + 2)))

    act(0)
    with queue.room(2):
        third = Doing(act, 2)
        assert third.waits()  # two are waiting, and two are being acted
    third.result()
    fourth = Doing(act, 4)
    assert fourth.waits()
    assert numbers(queue.get(3)) == [0, 1, 2]
    fourth.result()
    assert numbers(queue.get(3)) == [3, 4, 5]


def test_there_is_room_for_all_while_the_learner_waits():
    queue = local.LocalQueue(capacity=2)
    getting = Doing(queue.get, 2)
    assert getting.waits()
    with queue.room(5), queue.room(2):  # the first of them hangs
        queue.put(numbered(range(2)))
        assert numbers(getting.result()) == [0, 1]
        waiting = Doing(queue.room(1).__enter__)
        assert waiting.waits()
    waiting.result()


def test_whoever_waits_for_room_is_woken_by_the_end():
    queue = local.LocalQueue(capacity=2)
    queue.put(numbered(range(2)))
    waiting = Doing(queue.room(1).__enter__)
    assert waiting.waits()
    queue.close()
    with pytest.raises(base.Closed):
        waiting.result()
