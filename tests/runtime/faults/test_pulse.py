"""Signs of life: what counts as silence, and how who was given up is turned away."""

from __future__ import annotations

import pytest

from stac.runtime.faults import pulse
from stac.runtime.queues import local

pytestmark = pytest.mark.faults


class Clock:
    now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture(name="clock")
def _clock():
    return Clock()


def look_for(seconds, watch, clock):
    """Looks every second; the silence at the end."""
    silent = 0.0
    for _ in range(seconds):
        clock.now += 1
        silent = watch.look()
    return silent


def test_silence_is_the_time_since_the_last_sign(clock):
    living = pulse.Pulse()
    watch = pulse.Watch(living.signs, clock)
    assert look_for(5, watch, clock) == 5
    living.beat()
    assert look_for(1, watch, clock) == 0
    assert look_for(3, watch, clock) == 3


def test_who_waits_is_alive_however_long_and_silent_only_afterwards(clock):
    living = pulse.Pulse()
    watch = pulse.Watch(living.signs, clock)
    with living.waiting():
        assert look_for(1000, watch, clock) == 0
    assert look_for(1, watch, clock) == 0
    assert look_for(2, watch, clock) == 2


def test_time_in_which_the_watcher_was_stopped_too_is_no_silence(clock):
    watch = pulse.Watch(pulse.Pulse().signs, clock)
    clock.now += 3600
    assert watch.look() <= 2 * pulse.TICK_SECONDS


def test_who_was_abandoned_is_turned_away_at_its_next_sign():
    living = pulse.Pulse()
    living.beat()
    assert living.abandon(living.signs())
    with pytest.raises(local.Closed):
        living.beat()
    with pytest.raises(local.Closed), living.waiting():
        raise AssertionError("it came in")


def test_who_gave_a_sign_in_time_is_not_abandoned():
    living = pulse.Pulse()
    seen = living.signs()
    living.beat()
    assert not living.abandon(seen)
    with living.waiting():
        assert not living.abandon(living.signs())
    living.beat()


def test_a_pulse_that_is_closed_lets_a_wait_end_and_nothing_more():
    living = pulse.Pulse()
    with living.waiting():
        living.close()
    with pytest.raises(local.Closed):
        living.beat()
