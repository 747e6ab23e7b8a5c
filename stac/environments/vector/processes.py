"""Worker processes that step environments; their rows are in memory that all share.

Each is a new Python that imports only what its environments need. A word goes to it for
every step, a word comes back when its rows are written; whichever side ends, the other
reads the end of the connection, so no process outlives the one that started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing import connection
from typing import IO, Any

from stac import config
from stac.environments.vector import share

BUILD_SECONDS = 300.0  # for starting a worker and building its environments
STEP_SECONDS = 120.0  # for one reset, step or snapshot of a worker's environments
_END_SECONDS = 10.0  # for a worker to leave by itself
_PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
_START = "from stac.environments import processes; processes.main()"


class WorkerError(RuntimeError):
    """A worker process raised, died or hangs; the message has its traceback."""

    silent_seconds = 0.0  # that one which hangs was waited for


class Processes(share.Shares):
    """Environments in processes; see `stac.environments.vector.workers.Workers`."""

    def __init__(self, jobs: Sequence[share.Job], places: Sequence[slice]) -> None:
        """Starts one process a job; all build their environments at the same time.

        Raises:
          ConfigError: what building the environments raised, if it was one.
          WorkerError: anything else that went wrong in a process.
        """
        self._processes: list[_Process] = []
        try:
            # Without a name: nothing can be left behind in the file system.
            with tempfile.TemporaryFile(dir=_memory()) as file:
                for _ in jobs:
                    self._processes.append(_Process(file.fileno()))
                self._build(jobs, places, file)
        except BaseException:
            self.close()
            raise

    def _build(
        self, jobs: Sequence[share.Job], places: Sequence[slice], file: IO[bytes]
    ) -> None:
        for one, job in zip(self._processes, jobs, strict=True):
            one.tell(job)
        layouts = [one.answer(BUILD_SECONDS) for one in self._processes]
        self.layout: share.Layout = layouts[0]
        num_envs = places[-1].stop
        self._places = places
        file.truncate(share.size(self.layout, num_envs))
        memory = mmap.mmap(file.fileno(), 0)
        self.rows = share.rows(self.layout, num_envs, memory)
        for one, place in zip(self._processes, places, strict=True):
            one.tell((self.layout, num_envs, place))
        for one in self._processes:
            one.answer(STEP_SECONDS)

    def _each(self, what: str, given: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        """See Shares.

        Raises:
          WorkerError: a process raised, died, or did not answer in `STEP_SECONDS`.
        """
        given = given or [()] * len(self._processes)
        for one, arguments in zip(self._processes, given, strict=True):
            one.tell((what, *arguments))
        deadline = time.monotonic() + STEP_SECONDS
        return [one.answer(deadline - time.monotonic()) for one in self._processes]

    def close(self) -> None:
        for one in self._processes:
            one.hang_up()
        for one in self._processes:
            one.end()


class _Process:
    """One worker, seen from outside."""

    def __init__(self, file: int) -> None:
        ours, theirs = socket.socketpair()
        # One that is stopped does not read: no snapshot may wait for it for ever.
        bound = struct.pack("ll", *divmod(int(1e6 * STEP_SECONDS), 1_000_000))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), str(file)],
                pass_fds=(theirs.fileno(), file),
                stdin=subprocess.PIPE,  # nothing is written: it ends when we do
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
                # Ctrl-C is for the process that started us; it will hang up.
                start_new_session=True,
            )
        self._line = connection.Connection(ours.detach())

    def tell(self, what: Any) -> None:
        with contextlib.suppress(OSError):  # it is gone; `answer` says why
            self._line.send(what)

    def answer(self, seconds: float) -> Any:
        """What it answers within that time, or why it does not."""
        try:
            if not self._line.poll(max(0.0, seconds)):
                error = WorkerError(f"{self} does not answer")
                error.silent_seconds = seconds
                raise error
            kind, what = self._line.recv()
        except (EOFError, OSError):
            raise WorkerError(f"{self} died: exit status {self._status()}") from None
        if kind == "refused":
            raise config.ConfigError(what)
        if kind == "raised":
            raise WorkerError(f"{self} raised:\n{what}")
        return what

    def hang_up(self) -> None:
        self._line.close()

    def end(self) -> None:
        """Waits until it has left; kills one that does not."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _status(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        return self._process.returncode

    def __str__(self) -> str:
        return f"process {self._process.pid}, which steps environments,"


def main() -> None:
    """The worker: builds, then resets and steps until the other side hangs up."""
    line = connection.Connection(int(sys.argv[1]))
    _die_with_parent()
    threading.Thread(target=_follow, daemon=True).start()
    try:
        _serve(line, int(sys.argv[2]))
    except config.ConfigError as error:
        _last_words(line, "refused", str(error))
    except BaseException:  # noqa: BLE001 - the other side raises it, or has hung up
        _last_words(line, "raised", traceback.format_exc())


def _serve(line: connection.Connection, file: int) -> None:
    built = share.Share(line.recv())
    try:
        line.send(("done", built.layout))
        made, num_envs, place = line.recv()
        built.rows = share.rows(made, num_envs, mmap.mmap(file, 0)).part(place)
        line.send(("done", None))
        while True:
            what, *arguments = line.recv()
            line.send(("done", getattr(built, what)(*arguments)))
    finally:
        built.close()


def _die_with_parent() -> None:
    """Lets Linux kill this process with the thread that started it.

    Also where it is stopped or a simulator holds the interpreter, and cannot `_follow`.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _follow() -> None:
    """Ends this process with its parent, though a simulator may never return."""
    os.read(0, 1)
    os._exit(0)


def _last_words(line: connection.Connection, kind: str, text: str) -> None:
    with contextlib.suppress(OSError):
        line.send((kind, text))


def _memory() -> str | None:
    """A folder that is memory, where there is one; else that of temporary files."""
    return "/dev/shm" if os.path.isdir("/dev/shm") else None


def _path() -> list[str]:
    """Where this process finds modules: the other one finds the same there."""
    return [entry or os.getcwd() for entry in sys.path]
