"""Processes that begin with everything imported: forks of one that has imported it.

    parent ──starts──▶ fork server ──forks──▶ a process between ──forks──▶ child
       ▲                                                                     │
       └─────────────────────────── its parent from now on ──────────────────┘

JAX, Launchpad and what they need take seconds of a core to import, in each process of a
program. The fork server imports them once, while its parent does the same, and each
child begins as a copy of it. It has no JAX backend and no thread but OpenBLAS's, which
ends it for a fork; all copies share its memory. The process between ends at once. Linux
then gives the child to the nearest process above that asks for orphans, which is the
parent. From then on that is as if it had started the child itself.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import NoReturn

from stac import children
from stac.config import RunError

_ANSWER_SECONDS = 120.0  # of the fork server, which may import from a slow disk
_LOOK_SECONDS = 0.01  # between two looks at a child that is to end
_ORPHANED_SECONDS = 0.001  # between two looks of a child for its new parent
_MOST_BYTES, _MOST_FILES = 65536, 64  # of a message
_PR_SET_CHILD_SUBREAPER = 36
# Not by -m, which puts the working directory before our modules.
_PROGRAM = """import sys; del sys.path[0]; from stac.launch import fork_server
fork_server.main(int(sys.argv[1]), *sys.argv[2:])"""


class ForkServer:
    """The parent's side. Use it in the thread that started it; then close it."""

    def __init__(self, *modules: str) -> None:
        """Starts the fork server, and does not wait for it.

        Args:
          modules: to import; none may start a thread or a JAX backend.
        """
        self._modules = modules
        self._begin()

    def _begin(self) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._known = {**os.environ, "PYTHONPATH": children.python_path()}
        self._line.settimeout(_ANSWER_SECONDS)
        words = (sys.executable, "-c", _PROGRAM, str(os.getpid()), *self._modules)
        with theirs, children.deaf():
            self._process = subprocess.Popen(
                words, env=self._known, stdin=theirs.fileno()
            )

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdin: int,
        stdout: int | None,
        stderr: int,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Starts a Python program; arguments as of subprocess.Popen.

        Args:
          command: an interpreter, which is not used, a file, and its arguments.
          env: the child's variables; those of its import that are not in it stay.
          stdin: a file descriptor.
          stdout: a file descriptor; None: of this process.
          stderr: a file descriptor.
          pass_fds: held open in the child.

        Raises:
          RunError: the fork server ended, and a second one as well.
        """
        changed = {k: v for k, v in env.items() if self._known.get(k) != v}
        message = json.dumps({"argv": list(command[1:]), "env": changed}).encode()
        files = (stdin, 1 if stdout is None else stdout, stderr, *pass_fds)
        with _adopting():
            for _ in range(2):
                with contextlib.suppress(ConnectionError, TimeoutError):
                    socket.send_fds(self._line, [message], files)
                    if answer := self._line.recv(_MOST_BYTES):
                        return Child(int(answer))
                self.close()
                self._begin()
        raise RunError("the process that starts the others has ended")

    def close(self) -> None:
        """Ends the fork server. Its children live on."""
        self._line.close()
        self._process.kill()
        self._process.wait()


class Child:
    """A child of this process that subprocess.Popen did not start: the same methods."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._looking = threading.Lock()

    def poll(self) -> int | None:
        with self._looking:
            if self.returncode is None:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def wait(self, timeout: float = threading.TIMEOUT_MAX) -> int:
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_LOOK_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        with self._looking:
            if self.returncode is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Makes this process the parent of orphans below it."""
    children.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        children.prctl(_PR_SET_CHILD_SUBREAPER, 0)


def main(parent: int, *modules: str) -> None:
    """The fork server's side: imports, and forks until the parent ends."""
    children.die_with_parent(parent)
    children.name("stac forks")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent's business
    line = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    for name in modules:
        importlib.import_module(name)
    while True:
        message, files, *_ = socket.recv_fds(line, _MOST_BYTES, _MOST_FILES)
        if not message:
            return
        pid = _fork(line, message, files)
        for file in files:
            os.close(file)
        line.send(pid)


def _fork(line: socket.socket, message: bytes, files: Sequence[int]) -> bytes:
    """The process id of a child that has its new parent; empty: none was forked."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        between = os.getpid()
        try:
            if (pid := os.fork()) == 0:
                while os.getppid() == between:  # whose end may take a while
                    time.sleep(_ORPHANED_SECONDS)
                for file in (line.detach(), reader, writer):
                    os.close(file)
                _live(message, files)
            os.write(writer, str(pid).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:
        pid_of_child = told.read()
    os.wait()  # at the end of its parent the child gets another
    return pid_of_child


def _live(message: bytes, files: Sequence[int]) -> NoReturn:
    """The child's side: runs the program, and ends."""
    status = 1
    try:
        request = json.loads(message)
        for number, file in enumerate(files[:3]):
            os.dup2(file, number)
            os.close(file)
        os.environ.update(request["env"])
        if (jax := sys.modules.get("jax")) and "JAX_PLATFORMS" in request["env"]:
            jax.config.update("jax_platforms", request["env"]["JAX_PLATFORMS"])
        if numpy := sys.modules.get("numpy"):
            numpy.random.seed()  # else all children draw the same; `random` does it
        sys.argv = request["argv"]
        runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else end.code is not None
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.flush()
        os._exit(int(status))
