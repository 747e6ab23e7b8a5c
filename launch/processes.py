"""Processes of a program and how they end; the parent's side and the child's.

A child at work obeys one thing, the pipe that is its standard input:

    b"s"                  the program ends: finish what is to be finished and leave
    the end of the pipe   the parent died: the same; after b"s": leave at once

So a program leaves no process behind, however its parent ends. Signals are the
parent's: Ctrl-C in a terminal reaches every process of the foreground, but the children
never see it. SIGTERM ends a child that is still importing, and not one at work.

Launchpad's own way to run commands in the current terminal pipes each through `sed`.
That loses exit statuses, so a dead node goes unnoticed, and where the output is a file
it holds lines back for minutes.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, NoReturn, Protocol

from stac.runtime.shutdown import Stop

_ASK = b"s"
_FLAGS = (  # absl's, after Launchpad's
    "--verbosity=-2",  # errors only, no news of what is bound where
    "--nopdb_post_mortem",  # nobody could talk to the debugger
)
_LAST_WORDS_SECONDS = 1.0  # between the end of a process and that of its stderr
_LAST_SECONDS = 1.0  # for those who end last, and have nothing to finish
_CHATTER = b"[reverb/cc/"  # Reverb reports its doings to stderr and knows no level


class Command(Protocol):
    """What Launchpad calls a process that it wants."""

    command_as_list: list[str]
    env_overrides: Mapping[str, str]
    title: str  # "actor/0"


class Process:
    """One child."""

    def __init__(
        self, command: Command, ended: queue.SimpleQueue[Process | None]
    ) -> None:
        self.title = command.title
        self._process = subprocess.Popen(
            [*command.command_as_list, *_FLAGS],
            env={**os.environ, **command.env_overrides},
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._relay = threading.Thread(target=self._pass_on_stderr, daemon=True)
        self._relay.start()
        self._waiter = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        self._waiter.start()

    @property
    def role(self) -> str:
        """`actor`, of `actor/0`."""
        return self.title.split("/")[0]

    @property
    def status(self) -> int | None:
        """The exit status, -9 for a SIGKILL; None while it runs."""
        return self._process.returncode

    def ask(self) -> None:
        """Asks it to end; may be called twice."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it is gone
            self._process.stdin.write(_ASK)
            self._process.stdin.flush()
        self._process.terminate()

    def join(self, seconds: float) -> None:
        """Waits for its end and the last of its words; kills it after so long."""
        self._waiter.join(max(0.0, seconds))
        if self._waiter.is_alive():
            self._process.kill()
            self._waiter.join()

    def _wait(self, ended: queue.SimpleQueue[Process | None]) -> None:
        self._process.wait()
        self._relay.join(_LAST_WORDS_SECONDS)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # what it was asked and did not read
            self._process.stdin.close()
        ended.put(self)

    def _pass_on_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            relay(said, sys.stderr.buffer)


class Processes:
    """All children of a program. Those of `last_roles` serve the others to the end."""

    def __init__(self, commands: Sequence[Command], last_roles: Sequence[str]) -> None:
        self._ended: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        with _interrupts_blocked():  # the children inherit that
            everyone = [Process(command, self._ended) for command in commands]
        self._last = [process for process in everyone if process.role in last_roles]
        self._first = [process for process in everyone if process not in self._last]

    def wait(self) -> Process | None:
        """Waits for the first child to end, or for `ask`, which makes it None."""
        return self._ended.get()

    def ask(self) -> None:
        """Asks all to end but the last; from any thread."""
        for process in self._first:
            process.ask()
        self._ended.put(None)

    def finish(self, seconds: float) -> list[Process]:
        """Asks all to end, kills who has not after `seconds`, and returns them all."""
        self.ask()
        deadline = time.monotonic() + seconds
        for process in self._first:
            process.join(deadline - time.monotonic())
        for process in self._last:
            process.ask()
            process.join(_LAST_SECONDS)
        return self._first + self._last


def live(stop: Stop, grace_seconds: float) -> None:
    """Lets standard input set `stop`, in a child's main thread, from now on.

    Args:
      stop: of this process.
      grace_seconds: after which the process saves what `stop` says and ends, whatever
        its main thread is in.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_obey, args=(stop, grace_seconds), daemon=True).start()


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are in."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def relay(source: IO[bytes], target: IO[bytes]) -> None:
    """Passes lines on to the end of `source`, without Reverb's chatter."""
    for line in source:
        if not line.startswith(_CHATTER):
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                target.write(line)
                target.flush()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Relays this process's own stderr, for nodes that are threads."""
    sys.stderr.flush()
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as source, os.fdopen(os.dup(2), "wb") as target:
        os.dup2(writer, 2)
        os.close(writer)
        thread = threading.Thread(target=relay, args=(source, target), daemon=True)
        thread.start()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(target.fileno(), 2)  # that was the pipe's only way in
            thread.join()


def _obey(stop: Stop, grace_seconds: float) -> None:
    pipe = sys.stdin.fileno()
    asked = os.read(pipe, 1) == _ASK
    stop.set()
    timer = threading.Timer(grace_seconds, _save_and_leave, (stop,))
    timer.daemon = True
    timer.start()
    if asked:
        while os.read(pipe, 1):
            pass
        os._exit(1)


def _save_and_leave(stop: Stop) -> None:
    status = 1
    try:
        status = 0 if stop.save() else 1
    finally:
        leave(status)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
