"""Restarts: a failed actor begins again, until that is too often."""

from __future__ import annotations

import contextlib
import threading
import traceback

import pytest

from stac.config import ConfigError, RuntimeConfig
from stac.runtime.faults import heartbeat, lines, restarts
from stac.runtime.faults.restarts import Restarts, Supervised
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed
from tests.runtime import fakes
from tests.runtime.experiences import Doing

pytestmark = pytest.mark.faults


@pytest.fixture(name="quick")
def _quick(monkeypatch):
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(heartbeat, "TICK_SECONDS", 0.02)


def test_pauses_double_up_to_the_longest():
    counted = Restarts(100, 600)
    assert [counted.failed(1.0) for _ in range(8)] == [1, 2, 4, 8, 16, 30, 30, 30]


def test_one_more_than_the_limit_within_the_window_is_too_often():
    counted = Restarts(2, 600)
    assert counted.failed(0.0)
    assert counted.failed(599.0)
    assert str(counted) == "2 of 2 in 10 min"
    assert counted.failed(0.0) is None
    assert counted.total == 3


def test_failures_before_the_window_do_not_count():
    counted = Restarts(1, 600)
    assert [counted.failed(601.0) for _ in range(5)] == [1] * 5
    assert counted.total == 5


def hangs(beating, clock):
    beating.beat()
    clock.now += 601


def waits_in_vain(beating, clock):
    with beating.waiting():
        clock.now += 601


def waits_and_then_fails(beating, clock):
    waits_in_vain(beating, clock)
    beating.beat()


@pytest.mark.parametrize("fails", [hangs, waits_in_vain, waits_and_then_fails])
def test_a_failure_that_takes_longer_than_the_window_is_too_often_in_the_end(fails):
    counted, clock = Restarts(10, 600), fakes.Clock()
    pauses = []
    for _ in range(11):
        beating = heartbeat.Heartbeat(clock)
        fails(beating, clock)
        pauses.append(counted.failed(beating.worked_seconds))
    assert None not in pauses[:10]
    assert pauses[10] is None


def test_a_stream_that_takes_nothing_is_no_fault(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        lines.to_stderr("nobody hears this")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_a_limit_of_none_stops_at_the_first():
    assert Restarts(0, 600).failed(0.0) is None


def test_the_configuration_says_how_often_and_in_how_long():
    runtime = RuntimeConfig(actor_restarts=7, actor_restart_minutes=3)
    counted = Restarts.configured(runtime)
    counted.failed(0.0)
    assert str(counted) == "1 of 7 in 3 min"


def raised(error):
    with contextlib.suppress(type(error)):
        raise error
    return error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError("the game crashed"), "OSError: the game crashed"),
        (KeyError(), "KeyError"),
        (
            RuntimeError("it raised:\n\nTraceback\n  X: y\n"),
            "RuntimeError: it raised: … X: y",
        ),
    ],
)
def test_an_error_is_told_in_a_line_with_its_place(error, line):
    assert restarts.describe(error) == line
    with_place = restarts.describe(raised(error))
    place = traceback.extract_tb(error.__traceback__)[-1].lineno
    assert with_place == f"{line} (test_restarts.py:{place})"


class Lives:
    """An actor whose lives go as the test says; the last one waits for the end."""

    def __init__(self, stderr, *lives, limit=10, silence=0.0):
        stderr.listen()
        self.stderr = stderr
        self.begun, self.stop = [], Stop()
        self._lives = list(lives)
        self._ended = threading.Event()
        self.stop.wakes(self._ended.set)
        self.waits = threading.Event()
        runtime = RuntimeConfig(actor_restarts=limit, silence_seconds=silence)
        supervised = Supervised("actor/7", self._live, runtime, self.stop)
        self.running = Doing(supervised.run)

    def _live(self, restarted, beating):
        self.begun.append(restarted)
        beating.starting = False
        if self._lives:
            self._lives.pop(0)(beating)
        else:
            self.waits.set()
            with beating.waiting():
                self._ended.wait(20)
            raise Closed

    def end(self):
        """The lines that were said until the end of the run."""
        assert self.waits.wait(20), self.stderr.take()
        self.stop.set()
        self.running.result()
        return self.stderr.take().splitlines()


def fail(beating):
    raise OSError("the game crashed")


def mistake(beating):
    raise ConfigError("no such game")


@pytest.mark.usefixtures("quick")
def test_lives_follow_each_other_and_are_told_of(stderr):
    lives = Lives(stderr, fail, fail)
    first, second = lives.end()
    assert lives.begun == [0, 1, 2]
    assert first.startswith("actor/7 failed: OSError: the game crashed (test_rest")
    assert first.endswith("; starting it again in 0.01 s (1 of 10 in 10 min)")
    assert second.endswith("; starting it again in 0.02 s (2 of 10 in 10 min)")


@pytest.mark.usefixtures("quick")
def test_an_actor_that_fails_too_often_ends_with_its_error(stderr):
    lives = Lives(stderr, *[fail] * 3, limit=2)
    with pytest.raises(OSError, match="the game crashed") as raising:
        lives.running.result()
    assert raising.traceback[-1].name == "fail"
    assert stderr.take().endswith("too often (3 of 2 in 10 min): the run is stopped\n")


def test_a_users_mistake_is_no_fault(stderr):
    lives = Lives(stderr, mistake)
    with pytest.raises(ConfigError):
        lives.running.result()
    assert stderr.take() == ""


def test_the_end_of_the_run_ends_the_pause_before_a_life(monkeypatch, stderr):
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 60.0)
    lives = Lives(stderr, fail)
    while not stderr.take():
        assert lives.running.waits()
    lives.stop.set()
    lives.running.result()
    assert lives.begun == [0]


def test_an_actors_error_at_the_end_of_the_run_is_not_told(stderr):
    def fail_at_the_end(beating):
        lives.stop.set()
        fail(beating)

    ready = threading.Event()
    lives = Lives(stderr, lambda beating: (ready.wait(5), fail_at_the_end(beating)))
    ready.set()
    lives.running.result()
    assert stderr.take() == ""


class Hanging:
    """A life that hangs until the test lets it go, and then tries to go on."""

    def __init__(self):
        self.released, self.outcome = threading.Event(), []
        self.over = threading.Event()

    def __call__(self, beating):
        assert self.released.wait(20)
        try:
            beating.beat()
            self.outcome.append("went on")
        except Closed:
            self.outcome.append("turned away")
            raise
        finally:
            self.over.set()


@pytest.mark.usefixtures("quick")
def test_an_actor_that_hangs_is_replaced_and_turned_away_when_it_wakes(stderr):
    hanging = Hanging()
    lives = Lives(stderr, hanging, silence=0.1)
    assert lives.waits.wait(20)
    assert lives.begun == [0, 1]
    assert not hanging.outcome
    hanging.released.set()
    assert hanging.over.wait(20)
    assert hanging.outcome == ["turned away"]
    [line] = lives.end()
    assert line.startswith("actor/7 failed: no sign of life for 0 s in ")


def test_again_is_all_that_a_loop_of_its_own_needs(quick, stderr):
    stderr.listen()
    stop, counted = Stop(), Restarts(1, 600)
    error = raised(OSError("x"))
    restarts.again("actor/0", error, 0.0, counted, stop)
    with pytest.raises(OSError, match="x"):
        restarts.again("actor/0", error, 0.0, counted, stop)
    stop.set()
    with pytest.raises(Closed):
        restarts.again("actor/0", error, 0.0, counted, stop)
    with pytest.raises(KeyboardInterrupt):
        restarts.again("a", KeyboardInterrupt(), 0.0, counted, Stop())
    assert len(stderr.take().splitlines()) == 2
