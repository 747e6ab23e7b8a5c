"""A command's whole life: signals before, between and after, and threads that hang."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from stac.runtime.faults import shutdown
from tests import conftest
from tests.programs import python

pytestmark = [pytest.mark.faults, pytest.mark.usefixtures("hang_ups_heard")]

# A command: what its main does before, in and after a run.
COMMAND = """
import atexit, gc, signal, sys, threading, time
from concurrent import futures
from stac.runtime.faults import shutdown

def main():
    {body}
    return {status}

shutdown._GOODBYE_SECONDS = 0.5
shutdown.as_program(main)
"""
WAITS = 'print("ready", flush=True), time.sleep(30)'


def command(body, status=0, until="ready"):
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(body=body, status=status)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=conftest.ROOT,
    )
    assert process.stdout.readline() == f"{until}\n"
    return process


def ending(process):
    """(exit status, what it said after the first line)"""
    hurry = threading.Timer(20, process.kill)
    hurry.start()
    with process:  # not `communicate`: the first line may have come with others
        output = process.stdout.read()
    hurry.cancel()
    return process.returncode, output


@pytest.mark.parametrize("number", shutdown.SIGNALS)
def test_before_there_is_anything_to_save_a_signal_ends_it_at_once(number):
    """In a callback, as imports run them, an exception would be lost."""
    process = command(f"gc.callbacks.append(lambda *_: ({WAITS})); gc.collect()")
    process.send_signal(number)
    assert ending(process) == (0, f"{number.name}: {shutdown.NOTHING}\n")


# A Ctrl-C that comes when a run is in the middle of importing JAX.
IMPORTING = """
import os, signal, sys

class Interrupt:
    def find_spec(name, path=None, target=None):
        if name == "jax.numpy":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt)
"""


def test_ctrl_c_while_a_run_imports_its_libraries_ends_it_in_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(IMPORTING)
    words = ("-m", "launch.catch", "--runtime=threads", f"--workdir={tmp_path / 'run'}")
    done = python(*words, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert done.stdout == f"writing to {tmp_path / 'run'}\n"
    assert done.stderr == f"SIGINT: {shutdown.NOTHING}\n"


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)],
)
def test_a_signal_is_no_success_of_a_command_that_trains_nothing(number, status):
    body = f"from stac.launch import cli; return cli.run(lambda: ({WAITS}), 'x')"
    process = command(body)
    process.send_signal(number)
    assert ending(process) == (status, "")


@pytest.mark.parametrize(
    ("number", "status"), [*zip(shutdown.SIGNALS, (0, 1, 0, 1), strict=True)]
)
def test_between_a_run_and_the_end_of_its_process_signals_change_nothing(
    number, status
):
    late = "atexit.register(lambda: (print('ready', flush=True), time.sleep(0.4)))"
    run = f"with shutdown.on_signals(shutdown.Stop()): {late}"
    process = command(run, status)
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.05)
    assert ending(process) == (status, "")


def test_after_a_run_and_before_main_returns_they_change_nothing_either():
    run = "with shutdown.on_signals(shutdown.Stop()): pass\n    "
    process = command(run + 'print("ready", flush=True); time.sleep(0.5)', 1)
    process.send_signal(signal.SIGTERM)
    assert ending(process) == (1, "")


def test_where_there_was_no_run_late_signals_change_nothing_either():
    process = command(f"atexit.register(lambda: ({WAITS}))", 2)
    process.send_signal(signal.SIGINT)
    assert ending(process) == (2, "")


def test_a_thread_that_hangs_keeps_no_process_from_ending():
    """Of an executor, which Python would wait for."""
    hangs = "futures.ThreadPoolExecutor(1).submit(time.sleep, 60)"
    process = command(f'{hangs}; print("ready", flush=True)', 1)
    began = time.monotonic()
    assert ending(process) == (1, "")
    assert time.monotonic() - began < 15


def test_a_library_that_hangs_at_its_end_keeps_no_process_from_ending():
    """In C, where no thread of Python's runs any more."""
    hangs = "libc = ctypes.CDLL(None); libc.__cxa_atexit(libc.pause, None, None)"
    process = command(f'import ctypes; {hangs}; print("ready", flush=True)', 1)
    assert ending(process) == (1, "")


def test_what_is_registered_for_pythons_end_is_done():
    late = "atexit.register(print, 'the end')"
    assert ending(command(f'{late}; print("ready", flush=True)')) == (0, "the end\n")


def test_what_main_raises_is_shown_and_is_status_1():
    status, output = ending(command('print("ready", flush=True); 1 / 0'))
    assert status == 1
    assert output.splitlines()[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("given", "status"), [("0", 0), ("2", 2), ("", 0), ("'why'", 1)]
)
def test_an_exit_within_main_has_its_status_and_no_traceback(given, status):
    """As a parser of command lines ends after --help, or at a wrong flag."""
    process = command(f'print("ready", flush=True); sys.exit({given})', 3)
    assert ending(process) == (status, "")
