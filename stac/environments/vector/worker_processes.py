"""Worker processes that step environments and write their rows into shared memory.

Each is a new Python that imports only what its environments need. A command goes to it
for every step, and an answer comes back when its rows are written. Either side ends
when it reads the end of the connection, so no process outlives the one that started it.

They stay in the place of gymnasium's AsyncVectorEnv, which starts a process per
environment: with 24 of cartpole.balance and two cores it stepped at a third of the
speed of two of these processes, and took 2.2 GB of memory instead of 0.4.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from multiprocessing import connection, reduction
from typing import Any

from stac import config
from stac.children import die_with_parent
from stac.environments.vector import share

BUILD_SECONDS = 300.0  # for starting a worker and building its environments
STEP_SECONDS = 120.0  # for one reset, step or snapshot of a worker's environments
_END_SECONDS = 10.0  # for a worker to leave by itself
_MEMORY = "/dev/shm"  # a folder that is memory, where there is one
_START = "from stac.environments.vector import worker_processes as w; w.main()"


class WorkerError(RuntimeError):
    """A worker process raised, died or hangs; the message has its traceback."""

    silent_seconds = 0.0  # how long this process waited for one that hangs


class Processes:
    """Several shares, each in a process of its own; the methods are those of `Share`.

    Every method but `close` raises WorkerError where a process raised, died, or did not
    answer in `STEP_SECONDS`.
    """

    def __init__(self, job: share.Job, workers: int) -> None:
        """Starts the processes; all build their environments at the same time.

        Raises:
          ConfigError: building the environments raised one, or no folder has room for
            the shared memory.
          WorkerError: anything else that went wrong in a process.
        """
        self._places = share.split(len(job.seeds), workers)
        self._processes: list[_Process] = []
        try:
            for _ in self._places:
                self._processes.append(_Process())
            self._build(job)
        except BaseException:
            self.close()
            raise

    def _build(self, job: share.Job) -> None:
        for process, place in zip(self._processes, self._places, strict=True):
            process.send(job.part(place))
        layouts = [process.answer(BUILD_SECONDS) for process in self._processes]
        self.layout: share.Layout = layouts[0]
        num_envs = len(job.seeds)
        file = _reserve(share.size(self.layout, num_envs))
        try:
            memory = mmap.mmap(file, 0)
            self.rows = share.rows(self.layout, num_envs, memory)
            for process, place in zip(self._processes, self._places, strict=True):
                process.send((self.layout, num_envs, place))
                process.send_file(file)
            for process in self._processes:
                process.answer(STEP_SECONDS)
        finally:
            os.close(file)

    def reset(self) -> None:
        self._each("reset")

    def step(self) -> None:
        self._each("step")

    def snapshot(self) -> list[bytes]:
        return [state for states in self._each("snapshot") for state in states]

    def load(self, states: Sequence[bytes]) -> str:
        return max(self._each("load", [(states[place],) for place in self._places]))

    def adopt(self) -> None:
        self._each("adopt")

    def close(self) -> None:
        for process in self._processes:
            process.hang_up()
        for process in self._processes:
            process.end()

    def _each(self, method: str, arguments: Sequence[tuple[Any, ...]] = ()) -> list:
        """Calls a method of every share, all at the same time; returns the results."""
        arguments = arguments or [()] * len(self._processes)
        for process, values in zip(self._processes, arguments, strict=True):
            process.send((method, *values))
        deadline = time.monotonic() + STEP_SECONDS
        return [
            process.answer(deadline - time.monotonic()) for process in self._processes
        ]


class _Process:
    """One worker, seen from outside."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # A stopped worker does not read: a snapshot must not wait for it for ever.
        bound = struct.pack("ll", *divmod(int(1e6 * STEP_SECONDS), 1_000_000))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,  # nothing is written: it ends when we do
                env={**os.environ, "PYTHONPATH": os.pathsep.join(_path())},
                # Ctrl-C is for the process that started us; it will hang up.
                start_new_session=True,
            )
        self._line = connection.Connection(ours.detach())

    def send(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # it is gone; `answer` says why
            self._line.send(message)

    def send_file(self, file: int) -> None:
        """Sends an open file; the worker gets a descriptor of its own."""
        with contextlib.suppress(OSError):
            reduction.send_handle(self._line, file, self._process.pid)

    def answer(self, seconds: float) -> Any:
        """Returns the answer.

        Raises:
          ConfigError: building the environments raised one.
          WorkerError: there was no answer within that time, or an error.
        """
        try:
            if not self._line.poll(max(0.0, seconds)):
                error = WorkerError(f"{self} does not answer")
                error.silent_seconds = seconds
                raise error
            kind, result = self._line.recv()
        except (EOFError, OSError):
            raise WorkerError(f"{self} died: exit status {self._status()}") from None
        if kind == "refused":
            raise config.ConfigError(result)
        if kind == "raised":
            raise WorkerError(f"{self} raised:\n{result}")
        return result

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
    # A simulator may hold the interpreter, and then `_follow` cannot end this process.
    die_with_parent(int(sys.argv[2]))
    threading.Thread(target=_follow, daemon=True).start()
    try:
        _serve(line)
    except config.ConfigError as error:
        _last_words(line, "refused", str(error))
    except BaseException:  # noqa: BLE001 - the other side raises it, or has hung up
        _last_words(line, "raised", traceback.format_exc())


def _serve(line: connection.Connection) -> None:
    built = share.Share(line.recv())
    try:
        line.send(("done", built.layout))
        layout, num_envs, place = line.recv()
        file = reduction.recv_handle(line)
        memory = mmap.mmap(file, 0)
        os.close(file)
        built.rows = share.rows(layout, num_envs, memory).part(place)
        line.send(("done", None))
        while True:
            method, *arguments = line.recv()
            line.send(("done", getattr(built, method)(*arguments)))
    finally:
        built.close()


def _follow() -> None:
    """Ends this process with its parent, though a simulator may never return."""
    os.read(0, 1)
    os._exit(0)


def _last_words(line: connection.Connection, kind: str, text: str) -> None:
    with contextlib.suppress(OSError):
        line.send((kind, text))


def _reserve(size: int) -> int:
    """Opens a file of this size, in memory if there is room, else in the temporary one.

    Its space is taken at once: a process that writes into a mapped file on a full disk
    is killed. The file has no name, so nothing can be left behind in a folder.

    Raises:
      ConfigError: neither folder has room.
    """
    memory = [_MEMORY] if os.path.isdir(_MEMORY) else []
    folders = [*memory, tempfile.gettempdir()]
    for folder in folders:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
            _take_space(file.fileno(), size)
            return os.dup(file.fileno())
    raise config.ConfigError(
        f"no room for {size:,} bytes in {' or '.join(folders)}: make room, or set"
        " --config.environment.workers=serial"
    )


def _take_space(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        os.write(file, bytes(size))


def _path() -> list[str]:
    """Where this process finds modules: the other one finds the same there."""
    return [entry or os.getcwd() for entry in sys.path]
