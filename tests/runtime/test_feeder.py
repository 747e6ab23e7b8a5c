"""The feeder: order, how far it runs ahead, errors, and closing."""

from __future__ import annotations

import threading

import pytest

from stac.runtime import learner
from stac.runtime.queues import base, local
from tests.runtime.experiences import SOON, Doing, numbered
from tests.waiting import until


class Endless:
    """A queue that gives batch after batch and counts them."""

    def __init__(self, limit: int | None = None) -> None:
        self.given = 0
        self._limit = limit
        self.closed = threading.Event()

    def get(self, count):
        if self.given == self._limit:
            raise OSError("the queue broke")
        self.given += 1
        return numbered(range(self.given * count, (self.given + 1) * count))

    def size(self):
        return 5

    def close(self):
        self.closed.set()


def pause():
    """Leaves a thread the time to go too far."""
    threading.Event().wait(SOON)


def test_batches_come_in_the_order_of_the_queue():
    queue = local.LocalQueue(capacity=8)
    feed = learner.Feeder(queue, batch_size=2)
    queue.put(numbered(range(6)))
    got = [feed.next().report.actor.tolist() for _ in range(3)]
    assert got == [[0, 1], [2, 3], [4, 5]]
    feed.close()


def test_it_holds_one_batch_ready_and_takes_no_more():
    queue = Endless()
    feed = learner.Feeder(queue, batch_size=4)
    until(feed.ready)
    pause()
    assert queue.given == 1
    assert feed.size() == 5 + 4
    feed.next()
    until(lambda: queue.given == 2)
    feed.close()


def test_where_cores_are_shared_it_takes_a_batch_when_it_is_asked_for():
    queue = Endless(limit=2)
    feed = learner.Feeder(queue, batch_size=4, ahead=False)
    for given in (0, 1, 2):
        pause()
        assert not feed.ready(), "so the learner publishes before it asks"
        assert (queue.given, feed.size()) == (given, 5)
        if given < 2:
            feed.next()
    with pytest.raises(OSError, match="broke"):
        feed.next()
    feed.close()
    with pytest.raises(base.Closed):
        feed.next()


def test_it_is_not_ready_while_the_queue_is_short():
    queue = local.LocalQueue(capacity=8)
    feed = learner.Feeder(queue, batch_size=2)
    queue.put(numbered(range(1)))
    pause()
    assert not feed.ready()
    queue.put(numbered(range(1)))
    until(feed.ready)
    feed.close()


def test_an_error_of_the_queue_is_raised_to_the_learner():
    feed = learner.Feeder(Endless(limit=0), batch_size=2)
    for _ in range(2):
        with pytest.raises(OSError, match="the queue broke"):
            feed.next()
    feed.close()


def test_close_wakes_the_learner_closes_the_queue_and_ends_the_thread():
    queue = local.LocalQueue(capacity=8)
    before = set(threading.enumerate())
    feed = learner.Feeder(queue, batch_size=2)
    waiting = Doing(feed.next)
    assert waiting.waits()
    feed.close()
    with pytest.raises(base.Closed):
        waiting.result()
    with pytest.raises(base.Closed):
        queue.put(numbered(range(1)))
    assert set(threading.enumerate()) <= before


def test_close_ends_a_feeder_that_holds_a_batch_nobody_takes():
    queue = Endless()
    before = set(threading.enumerate())
    feed = learner.Feeder(queue, batch_size=2)
    until(feed.ready)
    feed.close()
    assert queue.closed.is_set()
    assert set(threading.enumerate()) <= before
