"""Worker processes: how they end, and what is said when one ends too early."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from stac import snapshots
from stac.config import ConfigError
from stac.environments.vector import batched, worker_processes
from tests.conftest import ROOT
from tests.environments.vector import scripted
from tests.launch import runs
from tests.waiting import until


def alive(pid: int) -> bool:
    """Whether a process runs (one that nobody waited for is over, too)."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def running() -> set[int]:
    """Processes that this one has started and that still run."""
    pids = set()
    for thread in pathlib.Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # the thread has ended since
            pids |= {int(pid) for pid in (thread / "children").read_text().split()}
    return {pid for pid in pids if alive(pid)}


EARLIER: set[int] = set()  # left by another test file, such as a resource tracker


def children() -> set[int]:
    """Processes that the test has started and that still run."""
    return running() - EARLIER


@pytest.fixture(autouse=True)
def nothing_stays_behind() -> Iterator[None]:
    """No process, thread or file is left by any test here."""
    EARLIER.clear()
    EARLIER.update(running())
    threads = set(threading.enumerate())
    files = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()  # exceptions that were caught hold what they passed through
    assert not children()
    assert set(threading.enumerate()) <= threads  # some of earlier tests may have ended
    assert len(os.listdir("/proc/self/fd")) <= files


def built(make: object, num_envs: int = 4, way: str = "processes") -> batched.Batched:
    return batched.Batched(
        make, range(num_envs), workers=way, cores=2, stagger_steps=0, seed=0
    )


def stepped(environment: batched.Batched, steps: int) -> None:
    environment.reset()
    for _ in range(steps):
        environment.step(np.zeros((environment.num_envs, 3)))


def test_each_has_its_share_and_none_has_jax_or_a_port():
    environment = built(scripted.tell_where)
    told = environment.reset().observation[:, 0].astype(int)
    assert told[0] == told[1] != told[2] == told[3]
    assert set(told) == children()  # positive, so without JAX
    with socket.create_server(("127.0.0.1", 0)) as own:
        assert runs.ports([os.getpid()]) >= {own.getsockname()[1]}, "this is how"
    assert runs.ports(children()) == set()
    environment.close()
    environment.close()


def test_one_that_raises_says_where_and_ends_all():
    environment = built(functools.partial(scripted.make_faulty, "raises"))
    stepped(environment, 2)
    with pytest.raises(worker_processes.WorkerError) as raised:
        environment.step(np.zeros((4, 3)))
    assert "ZeroDivisionError: the physics is broken" in str(raised.value)
    assert "scripted.py" in str(raised.value)
    assert not children()
    with pytest.raises(RuntimeError, match="closed"):  # never with another step's rows
        environment.step(np.zeros((4, 3)))


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "status"), [("dies", -9), ("leaves", 3)])
def test_one_that_dies_makes_the_step_raise_at_once(fault, status):
    environment = built(functools.partial(scripted.make_faulty, fault))
    stepped(environment, 2)
    start = time.monotonic()
    with pytest.raises(
        worker_processes.WorkerError, match=f"died: exit status {status}"
    ):
        environment.step(np.zeros((4, 3)))
    assert time.monotonic() - start < 5
    assert not children()


@pytest.mark.faults
def test_one_that_hangs_makes_the_step_raise_in_time(monkeypatch):
    environment = built(functools.partial(scripted.make_faulty, "hangs"))
    stepped(environment, 2)
    monkeypatch.setattr(worker_processes, "STEP_SECONDS", 0.5)
    monkeypatch.setattr(worker_processes, "_END_SECONDS", 0.5)
    start = time.monotonic()
    with pytest.raises(worker_processes.WorkerError, match="does not answer"):
        environment.step(np.zeros((4, 3)))
    assert time.monotonic() - start < 5
    assert not children()


@pytest.mark.faults
@pytest.mark.parametrize("what", ["snapshot", "restore"])
def test_one_that_is_stopped_makes_snapshots_raise_in_time(monkeypatch, what):
    monkeypatch.setattr(worker_processes, "STEP_SECONDS", 2.0)
    monkeypatch.setattr(worker_processes, "_END_SECONDS", 0.5)
    environment = built(functools.partial(scripted.make, (10,)))
    environment.reset()
    large = 4 * [bytes(3_000_000)]  # more than a socket takes in
    given = {
        "snapshot": [],
        "restore": [snapshots.pack(environment._title(), large)],
    }
    for pid in children():
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(worker_processes.WorkerError, match="does not answer"):
        getattr(environment, what)(*given[what])
    assert time.monotonic() - start < 20
    assert not children()


@pytest.mark.parametrize("way", ["serial", "processes"])
def test_what_is_wrong_with_the_task_reaches_the_user_as_it_is(way):
    with pytest.raises(ConfigError, match=r"^no such task; did you mean [02]\?$"):
        built(scripted.refuse, way=way)


def test_one_that_cannot_be_built_ends_all():
    with pytest.raises(worker_processes.WorkerError, match="the physics is broken"):
        built(scripted.break_at_once)
    assert not children()


def test_in_the_own_thread_the_environments_error_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError):
        built(scripted.break_at_once, way="serial")
    make = functools.partial(scripted.make_faulty, "raises")
    environment = built(make, way="serial")
    stepped(environment, 2)
    with pytest.raises(ZeroDivisionError):
        environment.step(np.zeros((4, 3)))
    with pytest.raises(RuntimeError, match="closed"):
        environment.step(np.zeros((4, 3)))


def test_what_does_not_pickle_is_refused_and_nothing_stays():
    with pytest.raises((AttributeError, TypeError), match="pickle"):
        built(lambda seed: scripted.make((10,), seed))
    assert not children()


_PARENT = """
import signal, time
import numpy as np
from stac.environments.vector import batched
from tests.environments.vector import scripted

signals = []
signal.signal(signal.SIGINT, lambda *_: signals.append(1))
environment = batched.Batched(
    scripted.{make}, range(2), workers="processes", cores=2
)
print(*environment.reset().observation[:, 0].astype(int), flush=True)
if "hang" in "{make}":
    environment.step(np.zeros((2, 3)))
while not signals:
    time.sleep(0.01)
time.sleep(0.5)
environment.step(np.zeros((2, 3)))
environment.close()
print("has stepped", flush=True)
"""


def signalled(make: str, number: int) -> tuple[list[int], str, str]:
    """What a parent and its workers did when all they in its group got a signal.

    Returns:
      The workers' process ids, and what the parent printed then, on stdout and stderr.
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(make=make)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with parent:
        try:
            pids = [abs(int(pid)) for pid in parent.stdout.readline().split()]
            assert len(pids) == 2
            assert all(alive(pid) for pid in pids)
            time.sleep(0.5)
            os.killpg(parent.pid, number)
            return pids, *parent.communicate(timeout=20)
        finally:
            parent.kill()


@pytest.mark.faults
@pytest.mark.parametrize("make", ["tell_where", "tell_where_and_hang"])
def test_none_outlives_its_parent(make):
    pids, _, said = signalled(make, signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in pids))
    assert said == ""


@pytest.mark.faults
def test_ctrl_c_is_for_the_parent_alone():
    pids, printed, said = signalled("tell_where", signal.SIGINT)
    assert (printed, said) == ("has stepped\n", "")
    assert not any(alive(pid) for pid in pids)
