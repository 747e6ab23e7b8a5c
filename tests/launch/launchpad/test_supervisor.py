"""The parent's watch: what starts again, what ends the run, and what is said of it."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from stac.config import RuntimeConfig
from stac.launch.launchpad import hosts, processes, supervisor
from stac.runtime.faults import restarts
from tests.launch.launchpad.test_processes import IMPORTS, LIVES, OBEYS, SOON, Command

pytestmark = pytest.mark.faults

TELLS_ITS_RESTARTS = LIVES.format(
    grace=60,
    does="print('restarts', os.environ.get('STAC_RESTARTS'), file=sys.stderr);"
    " stop.wait(60)",
)
DIES = """
    import os, signal, sys
    print("its last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGABRT)
"""
FAILS = LIVES.format(grace=60, does="raise OSError('x')")
REFUSES = LIVES.format(
    grace=60, does="from stac.config import ConfigError; raise ConfigError('no')"
)
ACTS = """
    import time
    from stac.config import RuntimeConfig
    from stac.launch.launchpad import hosts
    host, runtime = hosts.OwnProcess(), RuntimeConfig(silence_seconds=2.0)
    def live(restarts, heartbeat):
        heartbeat.starting = False
        {does}
    host.run(lambda stop: host.act("actor/0", live, runtime, stop), 60)
"""
HANGS = ACTS.format(does="time.sleep(60)")
# It works for an hour, as far as its clock says, and then fails.
WORKS = ACTS.format(
    does="heartbeat._since -= 3600; heartbeat.beat(); time.sleep(1.2); 1 / 0"
)


class Watched:
    """A supervisor of such children, at work in a thread."""

    def __init__(self, limit=10, silence=0.0, **programs):
        commands = [Command(f"{role}/0", text) for role, text in programs.items()]
        self.running = processes.Processes(commands, ["queue"])
        runtime = RuntimeConfig(actor_restarts=limit, silence_seconds=silence)
        self.supervisor = supervisor.Supervisor(self.running, runtime, "actor")
        self._outcome = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        self._outcome.append(self.supervisor.watch())

    def ended(self):
        """The process that ended the run."""
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the watch goes on"
        return self._outcome[0]

    def pid(self, role):
        [process] = [each for each in self.running.everyone if each.role == role]
        return process._process.pid

    def finish(self):
        self.running.finish(SOON)
        self._thread.join(SOON)


@pytest.fixture(name="watch")
def _watch(monkeypatch, stderr):
    """Starts a Watched, heard, whose children are gone when the test is over."""
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(supervisor, "TICK_SECONDS", 0.05)
    started = []

    def start(**arguments):
        stderr.listen()
        started.append(Watched(**arguments))
        return started[-1]

    yield start
    for each in started:
        for process in each.running.everyone:
            process.kill()
        each.finish()


def heard(stderr, words, seen=""):
    """All of stderr, up to some words that must come."""
    deadline = time.monotonic() + SOON
    while words not in seen:
        assert time.monotonic() < deadline, seen
        time.sleep(0.02)
        seen += stderr.take()
    return seen


def test_an_actor_that_is_killed_starts_again_and_is_told_how_often(watch, stderr):
    watched = watch(actor=TELLS_ITS_RESTARTS)
    heard(stderr, "restarts None\n")
    before = watched.pid("actor")
    os.kill(before, signal.SIGKILL)
    seen = heard(stderr, "restarts 1\n")
    assert (
        "actor/0 was killed by SIGKILL; starting it again in 0.05 s (1 of 10 in" in seen
    )
    assert watched.pid("actor") != before
    watched.finish()
    assert watched.ended() is None


def test_an_actor_that_dies_too_often_ends_the_run_with_its_last_words(watch, stderr):
    watched = watch(limit=0, actor=DIES, learner=OBEYS)
    ended = watched.ended()
    assert ended.title == "actor/0"
    assert watched.supervisor.report(ended) == hosts.FAILED
    assert stderr.take() == (
        "its last words\n"
        "actor/0 was killed by SIGABRT; that is too often (1 of 0 in 10 min): the run"
        " is stopped\nactor/0 was killed by SIGABRT: the run is stopped\n"
    )


def test_an_actor_that_fails_too_often_ends_the_run_with_its_traceback(watch, stderr):
    watched = watch(limit=1, actor=FAILS)
    watched.supervisor.report(watched.ended())
    seen = heard(stderr, "OSError: x\n")
    assert "actor/0 failed: OSError: x (<string>:" in seen
    assert "starting it again in 0.05 s (1 of 1 in 10 min)\n" in seen
    assert "that is too often (2 of 1 in 10 min): the run is stopped\n" in seen
    assert seen.count("Traceback") == 1


def test_failures_between_which_an_actor_works_for_long_are_never_too_often(
    watch, stderr
):
    watch(limit=1, actor=WORKS)
    once = "division by zero (<string>:"
    for _ in range(2):
        assert "too often" not in heard(stderr, once)
    assert "(1 of 1 in 10 min)" in heard(stderr, "\n")


def test_an_actor_whose_environment_hangs_is_named_and_starts_again(watch, stderr):
    watched = watch(limit=1, actor=HANGS)
    watched.ended()
    seen = heard(stderr, "too often")
    assert "actor/0 gives no sign of life for 2 s in live (<string>:" in seen
    assert "; starting it again in 0.05 s (1 of 1 in" in seen


def test_an_actor_that_is_stopped_is_killed_and_starts_again(watch, stderr):
    watched = watch(actor=OBEYS, learner=OBEYS, silence=3.0)
    heard(stderr, "at work\nat work")
    before = watched.pid("actor")
    os.kill(before, signal.SIGSTOP)
    seen = heard(stderr, "at work")
    assert "actor/0 gave no sign of life for 3 s; starting it again" in seen
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_learner_that_is_stopped_is_woken_to_save_and_the_run_has_failed(
    watch, stderr
):
    watched = watch(actor=OBEYS, learner=OBEYS, silence=3.0)
    heard(stderr, "at work\nat work")
    os.kill(watched.pid("learner"), signal.SIGSTOP)
    ended = watched.ended()
    watched.finish()
    assert (ended.role, ended.status) == ("learner", 0)
    assert watched.supervisor.report(ended) == hosts.FAILED
    assert heard(stderr, "stopped").endswith(
        "learner/0 gave no sign of life for 3 s: the run is stopped\n"
    )


@pytest.mark.parametrize("role", ["learner", "queue"])
def test_the_end_of_any_other_is_the_end_of_the_run(role, watch, stderr):
    watched = watch(actor=OBEYS, **{role: OBEYS})
    heard(stderr, "at work\nat work")
    os.kill(watched.pid(role), signal.SIGKILL)
    assert watched.supervisor.report(watched.ended()) == hosts.FAILED
    line = f"{role}/0 was killed by SIGKILL: the run is stopped\n"
    assert heard(stderr, "stopped").endswith(line)


def test_a_users_mistake_ends_the_run_and_is_told_once(watch, stderr):
    watched = watch(actor=REFUSES)
    assert watched.supervisor.report(watched.ended()) == hosts.USER_ERROR
    assert "stopped" not in stderr.take()


def test_a_process_that_still_imports_may_be_silent_for_longer(watch, stderr):
    watched = watch(actor=IMPORTS, silence=1.0)
    time.sleep(3)
    watched.running.ask()
    assert watched.ended() is None
    assert "no sign of life" not in stderr.take()
