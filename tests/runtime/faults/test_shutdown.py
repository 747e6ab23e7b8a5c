"""Signals: the first lets a run save and leave, the second ends it, late ones too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from stac.runtime.faults import shutdown
from tests.conftest import ROOT
from tests.programs import python
from tests.runtime.experiences import WAIT, Doing

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("hang_ups_heard")]

# A run that waits in one way or another, says when it is ready and how it ended.
PROGRAM = """
import sys, threading, time
from stac.runtime.faults import shutdown
stop = shutdown.Stop()

def save():
    print("saved late", flush=True)
    return shutdown.Saved(True, "update 7 is saved")

stop.saves(save)
shutdown.ECHO_SECONDS = {echo}
with shutdown.on_signals(stop, grace_seconds={grace}):
    print("ready", flush=True)
    {body}
print("left the block", flush=True)
"""
POLITE = "stop.wait(20)"
STUCK = "time.sleep(20)"  # resumes after a signal, like a compiler that sees none


class Program:
    """One of these runs, as a process."""

    def __init__(self, body, grace=20.0, before="", echo=0.2):
        program = PROGRAM.format(body=body, grace=grace, echo=echo)
        self.process = subprocess.Popen(
            [sys.executable, "-c", before + program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout.readline() == "ready\n"

    def send(self, number, after=0.0):
        time.sleep(after)
        self.process.send_signal(number)

    def end(self):
        """(exit status, lines of stdout, lines of stderr)"""
        try:
            out, err = self.process.communicate(timeout=WAIT)
        finally:
            self.process.kill()
        return self.process.returncode, out.splitlines(), err.splitlines()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_the_first_signal_says_one_line_and_lets_the_run_return(name):
    program = Program(POLITE)
    program.send(signal.Signals[name])
    assert program.end() == (
        0,
        ["left the block"],
        [f"{name}: saving and leaving (a second signal leaves at once)"],
    )


@pytest.mark.parametrize("broken", ["stop.saves(lambda: 1 / 0)", "stop.wakes(None)"])
def test_a_run_that_cannot_be_saved_or_woken_is_left_all_the_same(broken):
    program = Program(f'{broken}; print("armed", flush=True); {STUCK}', grace=0.5)
    assert program.process.stdout.readline() == "armed\n"
    program.send(signal.SIGINT)
    status, out, err = program.end()
    assert "left the block" not in out
    assert status == (1 if "saves" in broken else 0)
    assert any(line.startswith("Traceback") for line in err)


BORROWED = """
from stac.runtime.faults import shutdown
owner = shutdown.borrowed()
owner.__enter__()
"""


def test_in_a_borrowed_process_ctrl_c_is_one_for_its_owner_too_after_the_run():
    program = Program("stop.wait(20); time.sleep(1)", grace=0.2, before=BORROWED)
    program.send(signal.SIGINT)
    _, out, err = program.end()
    assert out == []  # neither saved late nor gone on with
    assert err[-1] == "KeyboardInterrupt"


def test_a_second_signal_leaves_at_once():
    program = Program(STUCK)
    program.send(signal.SIGINT)
    assert "saving and leaving" in program.process.stderr.readline()
    program.send(signal.SIGINT, after=0.5)
    status, out, _ = program.end()
    assert (status, out) == (130, [])


@pytest.mark.parametrize("slow", ["saves", "wakes"])
def test_a_second_signal_leaves_at_once_whatever_the_first_one_began(slow):
    armed = f'stop.{slow}(lambda: time.sleep(15)); print("armed", flush=True)'
    program = Program(f"{armed}; {STUCK}", grace=0.2)
    assert program.process.stdout.readline() == "armed\n"
    program.send(signal.SIGTERM)
    program.send(signal.SIGTERM, after=1.0)
    began = time.monotonic()
    status, out, _ = program.end()
    assert (status, out) == (143, [])
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("second", "echo"), [("SIGTERM", 5), ("SIGUSR1", 0)])
def test_an_echo_of_the_first_signal_and_a_hint_are_no_second_one(second, echo):
    program = Program("stop.wait(20); time.sleep(0.5)", echo=echo)
    program.send(signal.SIGTERM)
    program.send(signal.Signals[second], after=0.05)
    status, out, _ = program.end()
    assert (status, out) == (0, ["left the block"])


def test_a_run_that_does_not_return_is_saved_and_left_with_status_0():
    program = Program(STUCK, grace=0.3)
    program.send(signal.SIGTERM)
    status, out, err = program.end()
    assert (status, out) == (0, ["saved late"])
    left = "left while a computation was still running; "
    assert err[-1] == f"{left}update 7 is saved"


@pytest.mark.parametrize(
    ("save", "status", "line"),
    [
        ("lambda: shutdown.Saved(False, 'update 3 is saved')", 1, "update 3 is saved"),
        ("None", 0, shutdown.NOTHING),
    ],
)
def test_a_run_that_could_not_save_is_left_and_says_so(save, status, line):
    program = Program(f"stop.saves({save}); {STUCK}", grace=0.3)
    program.send(signal.SIGTERM)
    ended, _, err = program.end()
    assert ended == status
    assert err[-1] == f"left while a computation was still running; {line}"


def test_a_run_that_is_left_shows_how_to_continue_before_its_last_words():
    save = "lambda: shutdown.Saved(True, 'saved', ['continue  python -m x'])"
    program = Program(f"stop.saves({save}); {STUCK}", grace=0.3)
    program.send(signal.SIGTERM)
    _, out, err = program.end()
    assert out[-1] == "continue  python -m x"
    assert err[-1].endswith("; saved")


def test_other_signals_are_none_of_its_business():
    body = "signal.signal(signal.SIGUSR2, lambda *_: None); print(stop.wait(1.0))"
    program = Program("import signal; " + body)
    program.send(signal.SIGUSR2, after=0.2)
    assert program.end() == (0, ["False", "left the block"], [])


def test_old_handlers_return_and_no_thread_stays():
    before = [signal.getsignal(number) for number in shutdown.SIGNALS]
    threads, files = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    with shutdown.on_signals(shutdown.Stop()):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in shutdown.SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert set(threading.enumerate()) <= threads
    assert len(os.listdir("/proc/self/fd")) == files


def test_outside_the_main_thread_it_does_nothing():
    def block():
        with shutdown.on_signals(shutdown.Stop()):
            return "fine"

    assert Doing(block).result() == "fine"


def test_a_stop_wakes_all_once_and_who_comes_late_at_once():
    stop, woken = shutdown.Stop(), []
    stop.wakes(lambda: woken.append("a"))
    stop.wakes(lambda: woken.append("b"))
    assert not stop.is_set()
    assert woken == []
    waiting = Doing(stop.wait, 20)
    stop.set()
    stop.set()
    assert waiting.result() is True
    assert woken == ["a", "b"]
    stop.wakes(lambda: woken.append("c"))
    assert woken == ["a", "b", "c"]


def test_one_close_that_fails_does_not_keep_the_others_from_waking():
    stop, woken = shutdown.Stop(), []

    def broken():
        raise OSError("no")

    stop.wakes(broken)
    stop.wakes(lambda: woken.append("b"))
    with pytest.raises(OSError, match="no"):
        stop.set()
    assert woken == ["b"]


UNHEARD = {
    "closed": "os.close(2); sys.stderr = None",
    "a full disk": "os.dup2(os.open('/dev/full', os.O_WRONLY), 2)",
    # `2>&1 | tee log`: Ctrl-C ends tee too.
    "a pipe that nobody reads": """
reader, writer = os.pipe()
os.set_blocking(writer, False)
try:
    while os.write(writer, b"x" * 1024): pass
except BlockingIOError:
    pass
os.set_blocking(writer, True)
os.dup2(writer, 2)
""",
}


@pytest.mark.parametrize("stderr", UNHEARD)
@pytest.mark.parametrize(
    ("body", "grace", "words"),
    [(POLITE, 20.0, "left the block"), (STUCK, 0.2, "saved late")],
)
def test_a_stderr_that_takes_nothing_keeps_nobody_from_leaving(
    body, grace, words, stderr
):
    program = Program(body, grace, before=f"import os, sys\n{UNHEARD[stderr]}\n")
    program.send(signal.SIGTERM)
    status, lines, _ = program.end()
    # Where Python itself flushes stderr at its end, it may not like the full disk.
    assert status == 0 or (status == 120 and stderr == "a full disk")
    assert lines == [words]


LIGHT = """
import sys
from stac.runtime.faults import shutdown
heavy = {"jax", "numpy", "absl", "launchpad", "tensorflow"} & set(sys.modules)
raise SystemExit(", ".join(heavy) or 0)
"""


def test_nothing_heavy_is_imported_before_signals_are_handled():
    ended = python("-c", LIGHT)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_hang_up_that_was_ignored_before_stays_ignored():
    """As nohup has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with shutdown.on_signals(shutdown.Stop()):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
