"""The processes of a program, seen by their parent; `hosts.py` is the other side.

Launchpad's own way to run commands in the current terminal pipes each through `sed`.
That loses exit statuses, so that a dead node goes unnoticed. Where the output is a
file, it also holds lines back for minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NamedTuple, Protocol

from stac.launch.launchpad import hosts
from stac.runtime.faults.heartbeat import Heartbeat, Watch

_FLAGS = (  # absl's, after Launchpad's
    "--verbosity=-2",  # errors only, no news of what is bound where
    "--nopdb_post_mortem",  # nobody could talk to the debugger
)
_LOOK_SECONDS = 0.05  # between two looks for processes that ended
_LAST_WORDS_SECONDS = 1.0  # from the end of a process to the end of its output
_LAST_SECONDS = 1.0  # for processes of the last roles, which have nothing to finish
# A terminal or a scheduler may send these to all of its processes at once.
_FOR_THE_PARENT = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}
_CHATTER = b"[reverb/cc/"  # Reverb reports its doings to stderr and knows no level


class Command(Protocol):
    """A process that Launchpad wants to run."""

    command_as_list: list[str]
    env_overrides: Mapping[str, str]
    title: str  # "actor/0"


class Words(NamedTuple):
    """Why a process ends, in its own words."""

    why: str  # one line
    trace: str


class Process:
    """One child."""

    def __init__(
        self,
        command: Command,
        environment: Mapping[str, str] | None = None,  # besides the command's
        files: Sequence[int] = (),  # open files to hand on
    ) -> None:
        self.command = command
        self.title = command.title
        self.worked_seconds = 0.0  # of its actor; see Heartbeat
        self.words: Words | None = None
        self._heartbeat = Heartbeat()  # beats with each line that the child writes
        self._watch: Watch | None = None
        self._silent = 0.0  # seconds, once that was too long
        self._asked = False
        own = {hosts.PARENT: str(os.getpid()), **(environment or {})}
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*command.command_as_list, *_FLAGS],
                env={**os.environ, **command.env_overrides, **own},
                stdin=theirs.fileno(),
                pass_fds=files,
                stderr=subprocess.PIPE,
            )
        self._readers = [
            threading.Thread(target=read, daemon=True)
            for read in (self._pass_on_stderr, self._listen)
        ]
        for thread in self._readers:
            thread.start()

    @property
    def role(self) -> str:
        """`actor`, of `actor/0`."""
        return self.title.split("/")[0]

    @property
    def status(self) -> int | None:
        """The exit status, -9 for a SIGKILL; None while it runs."""
        return self._process.poll()

    @property
    def begun(self) -> bool:
        """Whether it has imported everything and begun its work."""
        return not self._heartbeat.starting

    def fell_silent(self, longest: float) -> bool:
        """Whether it has been silent for more than `longest` seconds; 0: never.

        Call it every TICK_SECONDS. It is true once.
        """
        self._watch = self._watch or Watch(self._heartbeat, longest)
        silent = self._watch.look()
        if not silent or self._silent or self.status is not None:
            return False
        self._silent = silent
        return True

    def how(self) -> str:
        """How it ended, in words."""
        if self._silent:
            return f"gave no sign of life for {self._silent:.0f} s"
        if self.words:
            return self.words.why
        if self.status is not None and self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"ended with status {self.status}"

    def ask(self) -> None:
        """Asks it to end, also where it is stopped; may be called twice."""
        if not self._asked:
            self._asked = True
            self._process.send_signal(hosts.ASK)
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()

    def join(self, seconds: float) -> None:
        """Waits for its end and its last words; kills it after so long."""
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._readers:
            thread.join(_LAST_WORDS_SECONDS)
        self._line.close()

    def _pass_on_stderr(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as source:
            relay(source, sys.stderr.buffer)

    def _listen(self) -> None:
        # ValueError: a process that was killed in the middle of a line.
        with (
            contextlib.suppress(OSError, ValueError),
            self._line.makefile("rb") as lines,
        ):
            for line in lines:
                self._hear(json.loads(line))

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._heartbeat.beat()
        self._heartbeat.starting = False
        self.worked_seconds = message.get("worked", self.worked_seconds)
        if "words" in message:
            self.words = Words(*message["words"])


class Processes:
    """All children of a program. Those of `last_roles` serve the others until the end.

    Use it in a thread that lives as long as the program: see children.die_with_parent.
    """

    def __init__(
        self,
        commands: Sequence[Command],
        last_roles: Sequence[str],
        files: Sequence[int] = (),  # open files to hand on to all
    ) -> None:
        self._files = files
        self._ended: list[Process] = []  # those that `wait` returned
        self._changing = threading.Lock()
        self.ending = False
        with blocked():  # the children inherit that
            everyone = [Process(command, files=files) for command in commands]
        self._last = [process for process in everyone if process.role in last_roles]
        self._first = [process for process in everyone if process not in self._last]

    @property
    def everyone(self) -> list[Process]:
        return self._first + self._last

    def wait(self, seconds: float) -> Process | None:
        """The next child to end; None where all were asked to, or after so long."""
        deadline = time.monotonic() + seconds
        while not self.ending and time.monotonic() < deadline:
            for process in self.everyone:
                if process.status is not None and process not in self._ended:
                    self._ended.append(process)
                    process.join(0.0)
                    return process
            time.sleep(_LOOK_SECONDS)
        return None

    def start_again(self, ended: Process, environment: Mapping[str, str]) -> None:
        """Runs its command once more, with these variables, unless asked to end.

        `ended` is not one of `last_roles`.
        """
        with self._changing:
            if not self.ending:
                with blocked():
                    new = Process(ended.command, environment, self._files)
                self._first[self._first.index(ended)] = new

    def ask(self) -> None:
        """Asks all to end but the last; from any thread."""
        with self._changing:
            self.ending = True
            for process in self._first:
                process.ask()

    def finish(self, seconds: float) -> list[Process]:
        """Asks all to end, kills the rest after `seconds`, and returns all of them."""
        self.ask()
        deadline = time.monotonic() + seconds
        for process in self._first:
            process.join(deadline - time.monotonic())
        for process in self._last:
            process.ask()
            process.join(_LAST_SECONDS)
        return self.everyone


def relay(source: IO[bytes], target: IO[bytes]) -> None:
    """Passes lines on to the end of `source`, without Reverb's chatter."""
    for line in source:
        if not line.startswith(_CHATTER):
            with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                target.write(line)
                target.flush()


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Relays this process's own stderr without chatter, for nodes that are threads.

    Only the lines of C++ are relayed. Python's own go straight to where they went
    before, so that none is lost in a process that leaves at once.
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
def blocked(signals: Iterable[signal.Signals] = _FOR_THE_PARENT) -> Iterator[None]:
    """Holds signals back from this thread, and from what it starts for good."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
