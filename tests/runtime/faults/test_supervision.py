"""Who fails is told of and begins again, until that is too often."""

from __future__ import annotations

import contextlib
import threading
import traceback

import pytest

from stac.config import ConfigError, RuntimeConfig
from stac.runtime.faults import supervision
from stac.runtime.faults.shutdown import Stop
from stac.runtime.faults.supervision import Restarts, Silent, Supervised
from stac.runtime.queues import local
from tests.runtime.experiences import Doing

pytestmark = pytest.mark.faults


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture(name="clock")
def _clock():
    return Clock()


@pytest.fixture(name="quick")
def _quick(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(supervision, "TICK_SECONDS", 0.02)


def test_pauses_double_up_to_the_longest(clock):
    restarts = Restarts(100, 600, clock=clock)
    pauses = []
    for _ in range(8):
        pauses.append(restarts.failed())
        clock.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]


def test_after_a_quiet_minute_the_pause_is_the_first_again(clock):
    restarts = Restarts(100, 600, clock=clock)
    assert [restarts.failed(), restarts.failed()] == [1, 2]
    clock.now += 2 + 59
    assert restarts.failed() == 4
    clock.now += 4 + 61
    assert restarts.failed() == 1


def test_one_more_than_the_limit_within_the_window_is_too_often(clock):
    restarts = Restarts(2, 600, clock=clock)
    assert restarts.failed()
    clock.now += 599
    assert restarts.failed()
    assert str(restarts) == "2 of 2 in 10 min"
    assert restarts.failed() is None
    assert restarts.total == 3


def test_what_was_before_the_window_does_not_count(clock):
    restarts = Restarts(1, 600, clock=clock)
    for _ in range(5):
        assert restarts.failed() == 1
        clock.now += 601
    assert restarts.total == 5


def test_what_hangs_each_time_for_longer_than_the_window_is_too_often_in_the_end(clock):
    restarts = supervision.Restarts(2, 10.0, clock=clock)
    for _ in range(2):
        clock.now += 180.0
        assert restarts.failed(silent_seconds=180.0) is not None
    clock.now += 180.0
    assert restarts.failed(silent_seconds=180.0) is None


def test_who_cannot_be_told_is_no_fault(monkeypatch):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stderr", full)
        supervision.say("nobody hears this")
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            full.close()


def test_a_limit_of_none_stops_at_the_first(clock):
    assert Restarts(0, 600, clock=clock).failed() is None


def test_another_process_counts_on_from_the_past(clock):
    before, later = Restarts(3, 600, clock=clock), Clock()
    assert [before.failed(), before.failed()] == [1, 2]
    clock.now += 590
    later.now = -5.0  # another process's clock may begin anywhere
    after = Restarts(3, 600, before.past(), later)
    assert after.total == 2
    later.now += 5
    assert [after.failed(), after.failed()] == [1, None]


def test_the_configuration_says_how_often_and_in_how_long():
    runtime = RuntimeConfig(actor_restarts=7, actor_restart_minutes=3)
    restarts = Restarts.configured(runtime)
    restarts.failed()
    assert str(restarts) == "1 of 7 in 3 min"


def raised(error):
    with contextlib.suppress(type(error)):
        raise error
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError("the game crashed"), "OSError: the game crashed"),
        (KeyError(), "KeyError"),
        (
            RuntimeError("it raised:\n\nTraceback\n  X: y\n"),
            "RuntimeError: it raised: … X: y",
        ),
    ],
)
def test_an_error_is_told_in_a_line_with_its_place(error, said):
    assert supervision.describe(error) == said
    told = supervision.describe(raised(error))
    place = traceback.extract_tb(error.__traceback__)[-1].lineno
    assert told == f"{said} (test_supervision.py:{place})"


class Lives:
    """An actor whose lives go as the test says; the last one waits for the end."""

    def __init__(self, *lives, limit=10, silence=0.0, **more):
        self.begun, self.told, self.stop = [], [], Stop()
        self._lives = list(lives)
        self._ended = threading.Event()
        self.stop.wakes(self._ended.set)
        self.waits = threading.Event()
        restarts = Restarts(limit, 600)
        self.supervised = Supervised(
            "actor/7",
            self._live,
            restarts,
            self.stop,
            silence,
            self.told.append,
            **more,
        )
        self.running = Doing(self.supervised.run)

    def _live(self, restarts, living):
        self.begun.append(restarts)
        if self._lives:
            self._lives.pop(0)(living)
        else:
            self.waits.set()
            with living.waiting():
                self._ended.wait(20)
            raise local.Closed

    def end(self):
        assert self.waits.wait(20), self.told
        self.stop.set()
        self.running.result()


def fail(living):
    raise OSError("the game crashed")


def mistake(living):
    raise ConfigError("no such game")


@pytest.mark.usefixtures("quick")
def test_lives_follow_each_other_and_are_told_of():
    lives = Lives(fail, fail)
    lives.end()
    assert lives.begun == [0, 1, 2]
    first, second = lives.told
    assert first.startswith("actor/7 failed: OSError: the game crashed (test_super")
    assert first.endswith("; starting it again in 0.01 s (1 of 10 in 10 min)")
    assert second.endswith("; starting it again in 0.02 s (2 of 10 in 10 min)")


@pytest.mark.usefixtures("quick")
def test_who_fails_too_often_ends_with_what_it_raised():
    lives = Lives(*[fail] * 3, limit=2)
    with pytest.raises(OSError, match="the game crashed") as raising:
        lives.running.result()
    assert raising.traceback[-1].name == "fail"
    assert lives.told[-1].endswith("too often (3 of 2 in 10 min): the run is stopped")


def test_a_users_mistake_is_no_fault():
    lives = Lives(mistake)
    with pytest.raises(ConfigError):
        lives.running.result()
    assert lives.told == []


def test_the_end_of_the_run_ends_the_pause_before_a_life(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_PAUSE", 60.0)
    lives = Lives(fail)
    while not lives.told:
        assert lives.running.waits()
    lives.stop.set()
    lives.running.result()
    assert lives.begun == [0]


def test_what_an_actor_raises_when_the_run_ends_is_not_told():
    def fail_at_the_end(living):
        lives.stop.set()
        fail(living)

    ready = threading.Event()
    lives = Lives(lambda living: (ready.wait(5), fail_at_the_end(living)))
    ready.set()
    lives.running.result()
    assert lives.told == []


class Hanging:
    """A life that hangs until the test lets it go, and then tries to go on."""

    def __init__(self, starting=False):
        self.starting = starting
        self.released, self.outcome = threading.Event(), []
        self.over = threading.Event()

    def __call__(self, living):
        living.starting = self.starting
        self.hang_here()
        try:
            living.beat()
            self.outcome.append("went on")
        except local.Closed:
            self.outcome.append("turned away")
            raise
        finally:
            self.over.set()

    def hang_here(self):
        assert self.released.wait(20)


@pytest.mark.usefixtures("quick")
def test_who_hangs_is_replaced_and_turned_away_when_it_wakes():
    hanging = Hanging()
    lives = Lives(hanging, silence=0.1)
    assert lives.waits.wait(20)
    assert lives.begun == [0, 1]
    [line] = lives.told
    assert line.startswith("actor/7 failed: no sign of life for 0 s in ")
    assert not hanging.outcome
    hanging.released.set()
    assert hanging.over.wait(20)
    assert hanging.outcome == ["turned away"]
    lives.end()
    assert len(lives.told) == 1


@pytest.mark.usefixtures("quick")
def test_where_a_process_is_better_the_hanging_one_is_named_with_its_stack():
    hanging = Hanging()
    lives = Lives(hanging, silence=0.1, replaces_hung=False)
    with pytest.raises(Silent) as raising:
        lives.running.result()
    hanging.released.set()
    assert "hang_here" in raising.value.stack
    assert (lives.told, lives.supervised.restarts.total) == ([], 0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("starting", [True, False])
def test_who_is_still_starting_or_is_not_watched_may_be_silent(starting):
    hanging = Hanging(starting)
    lives = Lives(hanging, silence=0.02 if starting else 0.0)
    assert lives.running.waits()
    hanging.released.set()
    assert hanging.over.wait(20)
    assert hanging.outcome == ["went on"]
    lives.running.result()


def test_again_is_all_that_a_loop_of_ones_own_needs(quick):
    told, stop, restarts = [], Stop(), Restarts(1, 600)
    error = raised(OSError("x"))
    supervision.again("actor/0", error, restarts, stop, told.append)
    with pytest.raises(OSError, match="x"):
        supervision.again("actor/0", error, restarts, stop, told.append)
    stop.set()
    with pytest.raises(local.Closed):
        supervision.again("actor/0", error, restarts, stop, told.append)
    with pytest.raises(KeyboardInterrupt):
        supervision.again("a", KeyboardInterrupt(), restarts, Stop(), told.append)
    assert len(told) == 2
