"""Worker processes, each of which steps a share of the environments.

Each is a new Python that imports only what its environments need. A command goes to it
for every step, and its rows come back as the answer. It ends when it reads the end of
the connection, so no process outlives the one that started it.

They are used instead of gymnasium's AsyncVectorEnv, which starts a process per
environment: with 24 of cartpole.balance and two cores it stepped at a third of the
speed of two of these processes, and took 2.2 GB of memory instead of 0.4.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import sys
import traceback
from multiprocessing import connection
from typing import Any

from stac import config
from stac.children import die_with_parent, python_path

BUILD_SECONDS = 300.0  # for starting a worker and building its environments
STEP_SECONDS = 120.0  # for one reset, step or snapshot of a worker's environments
_END_SECONDS = 10.0  # for a worker to leave by itself
_START = "from stac.environments.vector import worker_processes as w; w.main()"


class WorkerError(RuntimeError):
    """A worker process raised, died or hangs; the message has its traceback."""


class Process:
    """One worker, seen from outside."""

    def __init__(self) -> None:
        """Starts it; it then waits for a function and arguments, which give a share."""
        ours, theirs = socket.socketpair()
        # A stopped worker does not read: a snapshot must not wait for it for ever.
        bound = struct.pack("ll", *divmod(int(1e6 * STEP_SECONDS), 1_000_000))
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": python_path()},
                # Ctrl-C is for the process that started us; it will hang up.
                start_new_session=True,
            )
        self._line = connection.Connection(ours.detach())

    def send(self, message: Any) -> None:
        """Sends (function, *arguments) for its share; later (method, *arguments)."""
        with contextlib.suppress(OSError):  # it is gone; `answer` says why
            self._line.send(message)

    def answer(self, seconds: float) -> Any:
        """Returns the spec of the environments that it built, or a method's result.

        Raises:
          ConfigError: building the environments raised one.
          WorkerError: there was no answer within that time, or an error.
        """
        name = f"process {self._process.pid}, which steps environments,"
        try:
            if not self._line.poll(seconds):
                raise WorkerError(f"{name} does not answer")
            result = self._line.recv()
        except (EOFError, OSError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_SECONDS)
            status = self._process.returncode
            raise WorkerError(f"{name} died: exit status {status}") from None
        if isinstance(result, WorkerError):
            raise WorkerError(f"{name} raised:\n{result}")
        if isinstance(result, config.ConfigError):
            raise result
        return result

    def hang_up(self) -> None:
        """Asks it to leave."""
        self._line.close()

    def end(self) -> None:
        """Waits until it has left; kills one that does not."""
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def main() -> None:
    """The worker: builds, then resets and steps until the other side hangs up."""
    line = connection.Connection(int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))  # though a simulator may never return
    answer: Exception
    try:
        build, *arguments = line.recv()
        with contextlib.closing(build(*arguments)) as share:
            line.send(share.spec)
            while True:
                method, *arguments = line.recv()
                line.send(getattr(share, method)(*arguments))
    except config.ConfigError as error:
        answer = error
    except BaseException:  # noqa: BLE001 - the other side raises it, or has hung up
        answer = WorkerError(traceback.format_exc())
    with contextlib.suppress(OSError):
        line.send(answer)
