"""Processes of a program: how they end, which of them start again, and which end it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from stac.config import FAILED, USER_ERROR, RunError, RuntimeConfig
from stac.launch import processes
from stac.runtime.faults import restarts
from tests.launch.watched import ROOT, SOON, Command, Watched
from tests.waiting import until

pytestmark = pytest.mark.faults

LIVES = """
    import os, signal, sys, time
    from stac.launch import child
    from stac.runtime.faults.shutdown import Saved, Stop
    def work(stop, heartbeat):
        print("at work", file=sys.stderr, flush=True)
        {does}
    child.run(work, grace_seconds={grace}, silence_seconds=2.0)
"""
OBEYS = LIVES.format(grace=60, does="stop.wait(60)")
HANGS = LIVES.format(grace=60, does="time.sleep(60)")
SAVES = "stop.saves(lambda: Saved(True, {line!r})); time.sleep(60)"
LEAVES_SAVING = LIVES.format(grace=0.2, does=SAVES.format(line="update 7 is saved"))
LEAVES_SILENT = LIVES.format(grace=0.2, does=SAVES.format(line=""))
TELLS_ITS_RESTARTS = LIVES.format(
    grace=60,
    does="print('restarts', os.environ['STAC_RESTARTS'], file=sys.stderr);"
    " stop.wait(60)",
)
FAILS = LIVES.format(grace=60, does="raise OSError('x')")
REFUSES = LIVES.format(
    grace=60, does="from stac.config import ConfigError; raise ConfigError('no')"
)
# Its environment hangs.
STARTED = "heartbeat.starting = False; "
FALLS_SILENT = LIVES.format(grace=60, does=f"{STARTED}time.sleep(60)")
# It works for an hour, as far as its clock says, and then fails.
WORKS = LIVES.format(
    grace=60,
    does="heartbeat._since -= 3600; heartbeat.beat(); time.sleep(1.2); 1 / 0",
)
ACTS = LIVES.format(
    grace=60, does=f"{STARTED}\n        with heartbeat.waiting(): stop.wait(60)"
)
IMPORTS = "import time; time.sleep(60)"
ENDS = "raise SystemExit(3)"
DIES = """
    import os, signal, sys
    print("[reverb/cc/server.cc:71] Started", file=sys.stderr)
    print("its last words", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGABRT)
"""


@pytest.fixture(name="watch")
def _watch(monkeypatch, stderr):
    """Starts a Watched, heard, whose children are gone when the test is over."""
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.05)
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


def test_children_that_are_asked_end_well(watch):
    watched = watch(actor=OBEYS, learner=OBEYS)
    watched.begun()
    watched.running.ask()
    assert watched.ended() is None
    assert watched.finish() == [0, 0]


def test_an_actor_acts_from_its_first_trajectories_to_its_end(watch):
    watched = watch(actor=ACTS, queue=OBEYS)
    watched.begun()
    actor, other = watched.running.everyone
    until(lambda: actor.acts, SOON)
    assert not other.acts
    watched.finish()
    assert not actor.acts


def test_no_end_matters_any_more_once_all_were_asked():
    running = processes.Processes([Command("learner/0", ENDS)], RuntimeConfig())
    [only] = running.everyone
    only.join(SOON)
    running.ask()
    assert running.watch() is None


def test_a_child_that_still_imports_ends_at_once(watch):
    began = time.monotonic()
    assert watch(actor=IMPORTS).finish() == [-signal.SIGUSR2]
    assert time.monotonic() - began < SOON / 2


def test_a_child_that_does_not_end_in_time_is_killed(watch):
    watched = watch(actor=HANGS)
    watched.begun()
    assert watched.finish(0.5) == [-signal.SIGKILL]


@pytest.mark.parametrize(
    ("program", "line"),
    [
        (
            LEAVES_SAVING,
            "left while a computation was still running; update 7 is saved\n",
        ),
        (LEAVES_SILENT, ""),
    ],
)
def test_a_child_that_hangs_leaves_after_its_grace_and_says_what_it_saved(
    program, line, watch, stderr
):
    watched = watch(learner=program)
    watched.begun()
    assert watched.finish() == [0]
    assert stderr.take() == f"at work\n{line}"


def test_a_schedulers_signals_to_every_process_are_the_parents_business(watch):
    watched = watch(learner=OBEYS)
    watched.begun()
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        os.kill(watched.pid("learner"), number)
        time.sleep(0.5)
    time.sleep(1.0)
    assert watched.running.everyone[0].status is None
    assert watched.finish() == [0]


def test_the_queue_is_asked_when_the_others_are_gone(watch):
    watched = watch(queue=OBEYS, actor=OBEYS)
    watched.begun()
    watched.running.ask()
    queue, actor = watched.running.everyone
    actor.join(SOON)
    assert (actor.status, queue.status) == (0, None)
    assert watched.finish() == [0, 0]


@pytest.mark.parametrize("asked", [False, True])
def test_children_do_not_outlive_their_parent(asked):
    program = OBEYS if not asked else HANGS
    parent = f"""
import time
from tests.launch.watched import Watched
watched = Watched(actor={program!r})
{"watched.begun(); watched.running.ask()" if asked else ""}
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as session:
        assert session.stderr.readline() == "at work\n"
        time.sleep(4 if asked else 0)
        session.kill()
    orphans = ["pgrep", "-s", str(session.pid)]
    until(
        lambda: subprocess.run(orphans, stdout=subprocess.DEVNULL).returncode,
        SOON,
        lambda: "an orphan is left",
    )


def test_an_actor_that_is_killed_starts_again_and_is_told_how_often(watch, stderr):
    watched = watch(actor=TELLS_ITS_RESTARTS)
    heard(stderr, "restarts 0\n")
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
    assert ended.report() == FAILED
    assert stderr.take() == (
        "its last words\n"
        "actor/0 was killed by SIGABRT; that is too often (1 of 0 in 10 min): the run"
        " is stopped\nactor/0 was killed by SIGABRT: the run is stopped\n"
    )


def test_an_actor_that_fails_too_often_ends_the_run_with_its_traceback(watch, stderr):
    watched = watch(limit=1, actor=FAILS)
    watched.ended().report()
    seen = heard(stderr, "OSError: x\n")
    assert "actor/0 failed: OSError: x (<string>:" in seen
    assert "starting it again in 0.05 s (1 of 1 in 10 min)\n" in seen
    assert "that is too often (2 of 1 in 10 min): the run is stopped\n" in seen
    assert seen.count("Traceback") == 1


def test_an_actor_that_cannot_be_started_again_has_failed_again(watch, stderr):
    begun = []

    def begin(*arguments, **others):
        begun.append(arguments)
        if len(begun) == 2:
            raise RunError("out of processes")
        return subprocess.Popen(*arguments, **others)

    watch(limit=2, actor=FAILS, begin=begin).ended()
    seen = heard(stderr, "too often")
    assert "actor/0 cannot start: out of processes; starting it again" in seen
    assert len(begun) == 3


def test_a_process_that_cannot_start_leaves_none_behind():
    begun = []

    def begin(*arguments, **others):
        if begun:
            raise RunError("out of processes")
        begun.append(subprocess.Popen(*arguments, **others))
        return begun[0]

    with pytest.raises(RunError, match="out of processes"):
        Watched(learner=HANGS, actor=HANGS, begin=begin)
    assert begun[0].returncode is not None


def test_failures_between_which_an_actor_works_for_long_are_never_too_often(
    watch, stderr
):
    watch(limit=1, actor=WORKS)
    for _ in range(2):
        seen = heard(stderr, "(1 of 1 in 10 min)\n")
        assert "division by zero (<string>:" in seen
        assert "too often" not in seen


def test_an_actor_whose_environment_hangs_is_named_and_starts_again(watch, stderr):
    watch(limit=1, actor=FALLS_SILENT).ended()
    seen = heard(stderr, "too often")
    assert "actor/0 gives no sign of life for 2 s in work (<string>:" in seen
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
    watched.begun()
    os.kill(watched.pid("learner"), signal.SIGSTOP)
    ended = watched.ended()
    watched.finish()
    assert (ended.role, ended.status) == ("learner", 0)
    assert ended.report() == FAILED
    assert heard(stderr, "stopped").endswith(
        "learner/0 gave no sign of life for 3 s: the run is stopped\n"
    )


@pytest.mark.parametrize("role", ["learner", "queue"])
def test_the_end_of_any_other_is_the_end_of_the_run(role, watch, stderr):
    watched = watch(actor=OBEYS, **{role: OBEYS})
    watched.begun()
    os.kill(watched.pid(role), signal.SIGKILL)
    assert watched.ended().report() == FAILED
    line = f"{role}/0 was killed by SIGKILL: the run is stopped\n"
    assert heard(stderr, "stopped").endswith(line)


def test_a_users_mistake_ends_the_run_and_is_told_once(watch, stderr):
    watched = watch(actor=REFUSES)
    assert watched.ended().report() == USER_ERROR
    assert "stopped" not in stderr.take()


def test_a_process_that_still_imports_may_be_silent_for_longer(watch, stderr):
    watched = watch(actor=IMPORTS, silence=1.0)
    time.sleep(3)
    watched.running.ask()
    assert watched.ended() is None
    assert "no sign of life" not in stderr.take()
