"""The processes of a program, seen by their parent; `child.py` is the other side.

An actor that fails, is killed, hangs or is stopped starts again as a new process. The
end of the learner or of the queue, a user's mistake, or an actor that fails too often
ends the run.

Launchpad's own way to run commands in the current terminal pipes each through `sed`.
That loses exit statuses, so that a dead node goes unnoticed. Where the output is a
file, it also holds lines back for minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stac import children
from stac.config import FAILED, USER_ERROR, RunError, RuntimeConfig
from stac.launch import child
from stac.runtime.faults import shutdown
from stac.runtime.faults.heartbeat import Heartbeat, Watch
from stac.runtime.faults.lines import to_stderr
from stac.runtime.faults.restarts import Restarts
from stac.runtime.logs.words import State

if TYPE_CHECKING:
    from stac.runtime.logs.terminal import View  # imports NumPy

_FLAGS = (  # absl's, after Launchpad's
    "--verbosity=-2",  # errors only, no news of what is bound where
    "--nopdb_post_mortem",  # nobody could talk to the debugger
)
# From the request to end: the learner's grace, its last updates, and its last save,
# which mostly takes less than a second.
END_SECONDS = shutdown.GRACE_SECONDS + 14.0
_LOOK_SECONDS = 0.05  # between two looks at the processes
_LAST_WORDS_SECONDS = 1.0  # from the end of a process to the end of its output
_LAST_SECONDS = 1.0  # for the queue, which has nothing to finish
_CHATTER = re.compile(
    rb"\[reverb/cc/"  # Reverb reports its doings to stderr and knows no level
    # JAX about hosts that are gone, which the hosts' parents say in a line.
    rb"|.*external/xla/.*/distributed|Additional GRPC error|:{\"created\""
)


class Process:
    """The process of one node, which may be started again."""

    def __init__(
        self,
        command: Any,
        runtime: RuntimeConfig,
        files: Sequence[int] = (),
        view: View | None = None,
        begin: Callable[..., Any] = subprocess.Popen,
    ) -> None:
        """Starts it.

        Args:
          command: Launchpad's, with `command_as_list`, `env_overrides` and a `title`
            such as "actor/0".
          runtime: of the run.
          files: open files to hand on.
          view: of the run in this process, which then prints the lines of all; None:
            each process prints its own.
          begin: subprocess.Popen, or what starts processes as it does.
        """
        self.title: str = command.title
        self.role = self.title.split("/")[0]
        self.restarts = Restarts.configured(runtime)
        self.starts_at: float | None = None  # set while it waits to be started again
        self._command, self._files, self._view = command, files, view
        self._begin = begin
        self._silence = runtime.silence_seconds
        self.start()

    def start(self) -> None:
        """Starts it, for the first time or after it ended."""
        self.starts_at = None
        self.worked_seconds = 0.0  # of its actor; see Heartbeat
        self._acts = False
        self.why = self.trace = ""  # of its end: the child's own words, or the watch's
        self._heartbeat = Heartbeat()  # beats with each line that the child writes
        self._watch = Watch(self._heartbeat, self._silence)
        self._asked = False
        own = {
            child.PARENT: str(os.getpid()),
            child.RESTARTS: str(self.restarts.total),
        }
        self._line, theirs = socket.socketpair()
        output, writer = os.pipe()
        with theirs, open(writer, "wb"), children.deaf():
            try:
                self._process = self._begin(
                    [*self._command.command_as_list, *_FLAGS],
                    env={**os.environ, **self._command.env_overrides, **own},
                    stdin=theirs.fileno(),
                    pass_fds=self._files,
                    stdout=None if self._view is None else writer,
                    stderr=writer,
                )
            except BaseException:
                os.close(output)
                self._line.close()
                raise
        self._readers = [
            threading.Thread(target=relay, args=(output,), daemon=True),
            threading.Thread(target=self._listen, args=(self._line,), daemon=True),
        ]
        for thread in self._readers:
            thread.start()

    @property
    def status(self) -> int | None:
        """The exit status, -9 for a SIGKILL; None while it runs."""
        return self._process.poll()

    @property
    def begun(self) -> bool:
        """Whether it has imported everything and begun its work."""
        return not self._heartbeat.starting

    @property
    def acts(self) -> bool:
        """Whether its actor has made trajectories and it still runs."""
        return self._acts and self.status is None

    def fell_silent(self) -> bool:
        """Whether it runs and has been silent for too long; true once."""
        silent = self._watch.look()
        if not silent or self.why or self.status is not None:
            return False
        self.why = f"gave no sign of life for {silent:.0f} s"
        return True

    def how(self) -> str:
        """How it ended, in words."""
        if self.status is not None and self.status < 0 and not self.why:
            return f"was killed by {signal.Signals(-self.status).name}"
        return self.why or f"ended with status {self.status}"

    def report(self) -> int:
        """Says how it ended the run; returns the exit status for that."""
        if self.status == USER_ERROR:
            return USER_ERROR  # it has said why
        to_stderr(
            f"{self.title} {self.how()}: the run is stopped\n{self.trace}".rstrip()
        )
        return FAILED

    def ask(self) -> None:
        """Asks it to end, also where it is stopped; may be called twice."""
        if not self._asked:
            self._asked = True
            self._process.send_signal(child.ASK)
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

    def _listen(self, life: socket.socket) -> None:
        # ValueError: a process that was killed in the middle of a line.
        with (
            contextlib.suppress(OSError, ValueError),
            life.makefile("rb") as lines,
        ):
            for line in lines:
                if life is self._line:  # not of a life before, heard late
                    self._hear(json.loads(line))

    def _hear(self, message: Mapping[str, Any]) -> None:
        self._heartbeat.beat()
        self._heartbeat.starting = False
        self.worked_seconds = message.get("worked", self.worked_seconds)
        self._acts = message.get("acts", self._acts)
        if "state" in message and self._view is not None:
            self._view.show(State(*message["state"]))
        if "words" in message and not self.why:
            self.why, self.trace = message["words"]


class Processes:
    """All processes of a program. The queue serves the others until the end.

    Use it in a thread that lives as long as the program: see children.die_with_parent.
    """

    def __init__(
        self,
        commands: Sequence[Any],
        runtime: RuntimeConfig,
        files: Sequence[int] = (),
        view: View | None = None,
        begin: Callable[..., Any] = subprocess.Popen,
    ) -> None:
        """Starts them all; see `Process`."""
        self._ending = False
        self.everyone: list[Process] = []
        try:
            for each in commands:
                self.everyone.append(Process(each, runtime, files, view, begin))
        except BaseException:
            self.finish(0.0)
            raise

    def watch(self) -> Process | None:
        """Starts actors again until the run is to end.

        Returns:
          The process that ended the run, or None where all were asked to end.
        """
        while not self._ending:
            for process in self.everyone:
                if self._ends_the_run(process):
                    return process
            time.sleep(_LOOK_SECONDS)
        return None

    def ask(self) -> None:
        """Asks all to end but the queue; from any thread."""
        self._ending = True
        for process in self.everyone:
            if process.role != child.QUEUE:
                process.ask()

    def finish(self, seconds: float) -> None:
        """Asks all to end, and kills those that remain after `seconds`."""
        self.ask()
        deadline = time.monotonic() + seconds
        for process in self.everyone:
            if process.role != child.QUEUE:
                process.join(deadline - time.monotonic())
        for process in self.everyone:
            if process.role == child.QUEUE:
                process.ask()
                process.join(_LAST_SECONDS)

    def _ends_the_run(self, process: Process) -> bool:
        now = time.monotonic()
        if process.starts_at is not None:
            return process.starts_at <= now and self._start_again(process)
        if process.fell_silent():
            if process.role != child.ACTOR:
                return True
            process.kill()  # and its end is seen next
        if process.status is None or self._ending:
            return False
        process.join(0.0)
        if process.role != child.ACTOR or process.status == USER_ERROR:
            return True
        return self._fails(process, process.how())

    def _fails(self, process: Process, how: str) -> bool:
        pause = process.restarts.failed(process.worked_seconds)
        to_stderr(f"{process.title} {how}; {process.restarts.verdict(pause)}")
        if pause is not None:
            process.starts_at = time.monotonic() + pause
        return pause is None

    def _start_again(self, process: Process) -> bool:
        """Returns whether it cannot be started, and so ends the run."""
        try:
            process.start()
        except (OSError, RunError) as error:
            return self._fails(process, f"cannot start: {error}")
        if self._ending:  # asked meanwhile
            process.ask()
        return False


def relay(output: int) -> None:
    """Passes lines on to stderr, to the end of a pipe, without Reverb's chatter."""
    with open(output, "rb") as source:
        for line in source:
            if not _CHATTER.match(line):
                with contextlib.suppress(OSError, ValueError):  # nobody reads any more
                    sys.stderr.write(line.decode(errors="backslashreplace"))
                    sys.stderr.flush()
