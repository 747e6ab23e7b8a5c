"""Processes of a program, seen by their parent; `child.py` is the other side.

Launchpad's own way to run commands in the current terminal pipes each through `sed`.
That loses exit statuses, so a dead node goes unnoticed, and where the output is a file
it holds lines back for minutes.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from typing import IO, Any, NamedTuple, Protocol

from stac.launch.launchpad import child

_FLAGS = (  # absl's, after Launchpad's
    "--verbosity=-2",  # errors only, no news of what is bound where
    "--nopdb_post_mortem",  # nobody could talk to the debugger
)
_LAST_WORDS_SECONDS = 1.0  # between the end of a process and that of what it said
_KEPT_LINES = 40  # of a process's stderr
_LAST_SECONDS = 1.0  # for those who end last, and have nothing to finish
_TERMINALS = {signal.SIGINT, signal.SIGHUP}  # reach all of its processes at once
_CHATTER = b"[reverb/cc/"  # Reverb reports its doings to stderr and knows no level


class Command(Protocol):
    """What Launchpad calls a process that it wants."""

    command_as_list: list[str]
    env_overrides: Mapping[str, str]
    title: str  # "actor/0"


class Words(NamedTuple):
    """Of a process about its end."""

    why: str  # one line
    trace: str


class Process:
    """One child."""

    def __init__(
        self,
        command: Command,
        ended: queue.SimpleQueue[Process | None],
        environment: Mapping[str, str] | None = None,  # besides the command's
        files: Sequence[int] = (),  # open ones that it shall have, too
    ) -> None:
        self.command = command
        self.title = command.title
        self.beats = 0  # signs of life
        self.failures = 0  # that it lived through
        self.words: Words | None = None
        self.stderr: collections.deque[bytes] = collections.deque(maxlen=_KEPT_LINES)
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*command.command_as_list, *_FLAGS],
                env={**os.environ, **command.env_overrides, **(environment or {})},
                stdin=theirs.fileno(),
                pass_fds=files,
                stderr=subprocess.PIPE,
            )
        self._readers = [
            threading.Thread(target=read, daemon=True)
            for read in (self._pass_on_stderr, self._listen)
        ]
        self._waiter = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        for thread in (*self._readers, self._waiter):
            thread.start()

    @property
    def role(self) -> str:
        """`actor`, of `actor/0`."""
        return self.title.split("/")[0]

    @property
    def status(self) -> int | None:
        """The exit status, -9 for a SIGKILL; None while it runs."""
        return self._process.returncode

    def ask(self) -> None:
        """Asks it to end, also where somebody stopped it; may be called twice."""
        with contextlib.suppress(OSError):  # it is gone
            self._line.send(child.ASK)
        self._process.terminate()
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()

    def join(self, seconds: float) -> None:
        """Waits for its end and the last of its words; kills it after so long."""
        self._waiter.join(max(0.0, seconds))
        if self._waiter.is_alive():
            self._process.kill()
            self._waiter.join()

    def _wait(self, ended: queue.SimpleQueue[Process | None]) -> None:
        self._process.wait()
        for thread in self._readers:
            thread.join(_LAST_WORDS_SECONDS)
        self._line.close()
        ended.put(self)

    def _pass_on_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as said:
            relay(said, sys.stderr.buffer, self.stderr)

    def _listen(self) -> None:
        # ValueError: one that was killed in the middle of a line.
        with (
            contextlib.suppress(OSError, ValueError),
            self._line.makefile("rb") as lines,
        ):
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, said: Mapping[str, Any]) -> None:
        self.beats += 1
        self.failures += "failed" in said
        if "words" in said:
            self.words = Words(*said["words"])


class Processes:
    """All children of a program. Those of `last_roles` serve the others to the end."""

    def __init__(
        self,
        commands: Sequence[Command],
        last_roles: Sequence[str],
        files: Sequence[int] = (),  # open ones that all shall have
    ) -> None:
        self._files = files
        self._ended: queue.SimpleQueue[Process | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self.asked = False
        with blocked():  # the children inherit that
            everyone = [Process(one, self._ended, files=files) for one in commands]
        self._last = [process for process in everyone if process.role in last_roles]
        self._first = [process for process in everyone if process not in self._last]

    @property
    def everyone(self) -> list[Process]:
        return self._first + self._last

    def wait(self, seconds: float | None = None) -> Process | None:
        """Waits for the next child to end; None where asked, or after so long."""
        try:
            ended = self._ended.get(timeout=seconds)
        except queue.Empty:
            return None
        return None if self.asked else ended

    def start_again(self, ended: Process, environment: Mapping[str, str]) -> None:
        """Runs its command once more, with these variables, unless asked to end.

        `ended` is not one of `last_roles`.
        """
        with self._changing:
            if not self.asked:
                with blocked():
                    new = Process(ended.command, self._ended, environment, self._files)
                self._first[self._first.index(ended)] = new

    def ask(self) -> None:
        """Asks all to end but the last; from any thread."""
        with self._changing:
            self.asked = True
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
        return self.everyone


def relay(
    source: IO[bytes],
    target: IO[bytes],
    kept: MutableSequence[bytes] | None = None,
) -> None:
    """Passes lines on to the end of `source`, without Reverb's chatter."""
    for line in source:
        if not line.startswith(_CHATTER):
            if kept is not None:
                kept.append(line)
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                target.write(line)
                target.flush()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Relays what C++ says on this process's own stderr, for nodes that are threads.

    Python's own lines go straight to where they went before: who leaves at once has
    said what it said.
    """
    sys.stderr.flush()
    reader, writer = os.pipe()
    target, direct = os.fdopen(os.dup(2), "wb"), os.fdopen(os.dup(2), "w", buffering=1)
    source = os.fdopen(reader, "rb")
    os.dup2(writer, 2)
    os.close(writer)
    thread = threading.Thread(target=relay, args=(source, target), daemon=True)
    thread.start()
    try:
        with contextlib.redirect_stderr(direct):
            yield
    finally:
        os.dup2(target.fileno(), 2)
        # The pipe ends with the last process that has it; one may be left behind.
        thread.join(_LAST_WORDS_SECONDS)
        direct.close()
        if not thread.is_alive():
            source.close()
            target.close()


@contextlib.contextmanager
def blocked(signals: Iterable[signal.Signals] = _TERMINALS) -> Iterator[None]:
    """Holds signals back from this thread, and from what it starts for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
