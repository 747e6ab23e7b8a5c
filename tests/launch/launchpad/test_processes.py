"""How children of a program end: asked, late, orphaned, or still importing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import NamedTuple

import pytest

from stac.launch.launchpad import processes
from tests import conftest

pytestmark = pytest.mark.faults

SOON = 20.0  # seconds: Python starts slowly on a machine that has other work

LIVES = """
    import os, signal, sys, time
    from stac.launch.launchpad import hosts
    from stac.runtime.faults.shutdown import Saved, Stop
    def work(stop):
        print("at work", file=sys.stderr, flush=True)
        {does}
    hosts.OwnProcess().run(work, grace_seconds={grace})
"""
OBEYS = LIVES.format(grace=60, does="stop.wait(60)")
HANGS = LIVES.format(grace=60, does="time.sleep(60)")
SAVES = "stop.saves(lambda: Saved(True, 'update 7 is saved')); time.sleep(60)"
HANGS_WITH_GRACE = LIVES.format(grace=0.2, does=SAVES)
IMPORTS = "import time; time.sleep(60)"
ENDS = "raise SystemExit(3)"


class Command(NamedTuple):
    title: str
    program: str

    @property
    def command_as_list(self) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(self.program)]

    @property
    def env_overrides(self) -> dict[str, str]:
        return {"PYTHONPATH": str(conftest.ROOT)}


def wait_for_work(running: processes.Processes) -> None:
    """Waits until all children are at work. (capfd loses what is said as it reads.)"""
    deadline = time.monotonic() + SOON
    while not all(process.begun for process in running.everyone):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(session: int) -> bool:
    """Whether a process of the session is left."""
    listing = subprocess.run(["pgrep", "-s", str(session)], capture_output=True)
    return listing.returncode == 0


def test_children_that_are_asked_end_well():
    running = processes.Processes([Command("a/0", OBEYS), Command("a/1", OBEYS)], [])
    wait_for_work(running)
    running.ask()
    assert running.wait(SOON) is None
    assert [process.status for process in running.finish(SOON)] == [0, 0]


def test_the_first_to_end_is_named():
    running = processes.Processes([Command("a/0", IMPORTS), Command("b/1", ENDS)], [])
    first = running.wait(SOON)
    assert (first.title, first.role, first.status) == ("b/1", "b", 3)
    running.finish(SOON)


def test_no_end_matters_any_more_once_all_were_asked():
    running = processes.Processes([Command("a/0", ENDS)], [])
    [only] = running.everyone
    only.join(SOON)
    running.ask()
    assert running.wait(SOON) is None


def test_a_command_runs_once_more_with_more_variables_unless_all_are_to_end():
    program = "import os; raise SystemExit(int(os.environ.get('MORE', 3)))"
    running = processes.Processes([Command("a/0", program)], [])
    first = running.wait(SOON)
    running.start_again(first, {"MORE": "7"})
    second = running.wait(SOON)
    assert (second.title, second.status) == ("a/0", 7)
    running.ask()
    running.start_again(second, {})
    assert running.everyone == [second]
    running.finish(SOON)


def test_a_child_that_still_imports_ends_at_once():
    running = processes.Processes([Command("a/0", IMPORTS)], [])
    began = time.monotonic()
    assert [process.status for process in running.finish(SOON)] == [-signal.SIGUSR2]
    assert time.monotonic() - began < SOON / 2


def test_a_child_that_does_not_end_in_time_is_killed():
    running = processes.Processes([Command("a/0", HANGS)], [])
    wait_for_work(running)
    assert [process.status for process in running.finish(0.5)] == [-signal.SIGKILL]


def test_a_child_that_hangs_saves_and_leaves_when_its_grace_is_over(capfd):
    running = processes.Processes([Command("a/0", HANGS_WITH_GRACE)], [])
    wait_for_work(running)
    assert [process.status for process in running.finish(SOON)] == [0]
    assert "update 7 is saved" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_a_schedulers_signals_to_every_process_are_the_parents_business(number):
    running = processes.Processes([Command("a/0", OBEYS)], [])
    wait_for_work(running)
    [only] = running.everyone
    only._process.send_signal(number)
    assert running.wait(1.5) is None
    assert [process.status for process in running.finish(SOON)] == [0]


def test_the_queue_is_asked_when_the_others_are_gone():
    commands = [Command("queue/0", OBEYS), Command("actor/0", OBEYS)]
    running = processes.Processes(commands, ["queue"])
    wait_for_work(running)
    running.ask()
    actor, queue = running.finish(SOON)
    assert (actor.role, actor.status, queue.role, queue.status) == (
        "actor",
        0,
        "queue",
        0,
    )


@pytest.mark.parametrize("asked", [False, True])
def test_children_do_not_outlive_their_parent(asked):
    program = OBEYS if not asked else HANGS
    parent = f"""
import time
from stac.launch.launchpad import processes
from tests.launch.launchpad.test_processes import *
running = processes.Processes([Command("a/0", {program!r})], [])
{"wait_for_work(running); running.ask()" if asked else ""}
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", parent],
        cwd=conftest.ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as session:
        assert session.stderr.readline() == "at work\n"
        time.sleep(4 if asked else 0)
        session.kill()
    deadline = time.monotonic() + SOON
    while alive(session.pid):
        assert time.monotonic() < deadline, "an orphan is left"
        time.sleep(0.05)


def test_reverbs_chatter_is_left_out_and_all_else_passed_on():
    lines = (
        b"[reverb/cc/server.cc:71] Started\nTraceback\n  File [reverb/cc/\nno newline"
    )
    heard = io.BytesIO()
    processes.relay(io.BytesIO(lines), heard)
    assert heard.getvalue() == b"Traceback\n  File [reverb/cc/\nno newline"


def test_the_last_words_of_python_are_not_lost_in_the_relay():
    program = """
import os, sys
from stac.launch.launchpad import processes
with processes.quiet_stderr():
    print("last words", file=sys.stderr)
    os._exit(1)
"""
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-c", program],
            stderr=subprocess.PIPE,
            cwd=conftest.ROOT,
            timeout=60,
        )
        assert ended.stderr == b"last words\n"


def test_a_process_can_relay_its_own_stderr(capfd):
    with processes.quiet_stderr():
        os.write(2, b"[reverb/cc/x.cc:1] Started\nTraceback\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "Traceback\nafter\n"
