"""Heartbeats: which silence counts, and how an actor is turned away."""

from __future__ import annotations

import pytest

from stac.runtime.faults import heartbeat
from stac.runtime.faults.heartbeat import Heartbeat, Watch
from stac.runtime.queues.base import Closed
from tests.runtime import fakes

pytestmark = pytest.mark.faults


@pytest.fixture(name="clock")
def _clock():
    return fakes.Clock()


@pytest.fixture(name="beating")
def _beating(clock):
    """The heartbeat of an actor that has made its first unroll."""
    beating = Heartbeat(clock)
    beating.starting = False
    return beating


def look_for(seconds, watch, clock):
    """Looks every second; the silence at the end."""
    silent = 0.0
    for _ in range(seconds):
        clock.now += 1
        silent = watch.look()
    return silent


def test_silence_is_the_time_since_the_last_beat_where_that_is_too_long(beating, clock):
    watch = Watch(beating, 3.0, clock)
    assert look_for(2, watch, clock) == 0
    assert look_for(3, watch, clock) == 5
    beating.beat()
    assert look_for(1, watch, clock) == 0
    assert look_for(3, watch, clock) == 3


def test_an_actor_that_waits_is_alive_and_silent_only_afterwards(beating, clock):
    watch = Watch(beating, 2.0, clock)
    with beating.waiting():
        assert look_for(1000, watch, clock) == 0
    assert look_for(1, watch, clock) == 0
    assert look_for(2, watch, clock) == 2


def test_an_actor_that_starts_or_is_not_watched_may_be_silent(beating, clock):
    assert look_for(1000, Watch(beating, 0.0, clock), clock) == 0
    beating.starting = True
    watch = Watch(beating, 2.0, clock)
    assert look_for(599, watch, clock) == 0
    assert look_for(1, watch, clock) == heartbeat.STARTING_SECONDS


def test_time_in_which_the_watch_was_stopped_too_is_no_silence(beating, clock):
    watch = Watch(beating, 10.0, clock)
    clock.now += 3600
    assert watch.look() == 0
    assert look_for(7, watch, clock) == 0


def test_work_is_the_time_up_to_the_last_beat_without_waits(beating, clock):
    clock.now += 5
    with beating.waiting():
        clock.now += 600
    clock.now += 2
    beating.beat()
    clock.now += 180  # it hangs
    assert beating.worked_seconds == 7


def test_an_actor_that_was_given_up_is_turned_away_at_its_next_beat(beating, clock):
    watch = Watch(beating, 1.0, clock)
    assert look_for(1, watch, clock)
    assert watch.close()
    with pytest.raises(Closed):
        beating.beat()
    with pytest.raises(Closed), beating.waiting():
        raise AssertionError("it came in")


def test_an_actor_that_beats_or_waits_after_all_is_not_given_up(beating, clock):
    watch = Watch(beating, 1.0, clock)
    assert look_for(1, watch, clock)
    with beating.waiting():
        assert not watch.close()
    assert not watch.close()
    beating.beat()


def test_a_closed_heartbeat_lets_a_wait_end_and_nothing_more(beating):
    with beating.waiting():
        beating.close()
    with pytest.raises(Closed):
        beating.beat()


def test_rest_between_unrolls_in_one_thread_is_no_work(beating, clock):
    for _ in range(5):
        beating.resume()
        clock.now += 1  # a step
        beating.beat()
        clock.now += 60  # updates, saves, other actors
    assert beating.worked_seconds == 5
