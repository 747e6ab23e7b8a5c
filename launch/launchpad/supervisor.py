"""The parent of a Launchpad program: which end ends the run, and who starts again.

An actor that is killed, aborts, hangs or is stopped starts again as a new process. The
end of the learner or of the queue, or a user's mistake, is the end of the run; and so
is an actor that fails too often, by its own count or by ours, which are one: it tells
of what it lived through, and a new process is told of what came before it.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from stac.config import RuntimeConfig
from stac.launch.launchpad import hosts, processes
from stac.launch.launchpad.processes import Process
from stac.runtime.faults import pulse, supervision
from stac.runtime.faults.pulse import TICK_SECONDS
from stac.runtime.faults.supervision import STARTING_SECONDS, Restarts


class Supervisor:
    """Watches the processes of a program until one of them ends the run."""

    def __init__(
        self,
        running: processes.Processes,
        runtime: RuntimeConfig,
        restarted_role: str,
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        """`restarted_role`: of those whose end is not the end of the run."""
        self._running, self._runtime, self._clock = running, runtime, clock
        self._role = restarted_role
        self._watched = {one.title: _Watched(one, runtime) for one in running.everyone}
        self._due: list[tuple[float, _Watched]] = []  # when who starts again

    def watch(self) -> Process | None:
        """Waits for the end of the run: who ended it, or None where it was asked to."""
        while not self._running.asked:
            ended = self._running.wait(TICK_SECONDS)
            self._start_what_is_due()
            for one in self._watched.values():
                one.hear()
            if ended is not None and self._ends_the_run(ended):
                return ended
            for one in self._watched.values():
                if one.fell_silent(self._runtime.silence_seconds):
                    if one.process.role != self._role:
                        return one.process
                    one.process.kill()  # and its end is the next to be seen
        return None

    def report(self, process: Process) -> int:
        """Says how `process` ended the run; returns the exit status for that."""
        if process.status == hosts.USER_ERROR:
            return hosts.USER_ERROR  # it has said why
        one = self._watched[process.title]
        lines = [f"{process.title} {one.how()}: the run is stopped"]
        if process.words:
            lines.append(process.words.trace.rstrip())
        elif process.role == self._role:
            said = b"".join(process.stderr).decode(errors="replace")
            lines.append(said.rstrip())
        supervision.say("\n".join(filter(None, lines)))
        return hosts.FAILED

    def _ends_the_run(self, ended: Process) -> bool:
        # One that failed too often has said so; anything else may have ended it early.
        gave_up = ended.status == hosts.FAILED and ended.words is not None
        if ended.role != self._role or gave_up or ended.status == hosts.USER_ERROR:
            return True
        one = self._watched[ended.title]
        hung = ended.status == hosts.HANGS
        pause = one.restarts.failed(
            self._runtime.silence_seconds if hung else one.silent
        )
        supervision.say(f"{ended.title} {one.how()}; {one.restarts.verdict(pause)}")
        if pause is not None:
            self._due.append((self._clock() + pause, one))
        return pause is None

    def _start_what_is_due(self) -> None:
        now = self._clock()
        for at, one in self._due:
            if at <= now:
                environment = {hosts.PAST: one.restarts.past()}
                self._running.start_again(one.process, environment)
        self._due = [(at, one) for at, one in self._due if at > now]
        for process in self._running.everyone:
            self._watched[process.title].follow(process)


class _Watched:
    """One title, whichever process has it."""

    def __init__(self, process: Process, runtime: RuntimeConfig) -> None:
        self.restarts = Restarts.configured(runtime)
        self.silent = 0.0  # seconds, once that was too long
        self._begin(process)

    def follow(self, process: Process) -> None:
        if process is not self.process:
            self.silent = 0.0
            self._begin(process)

    def _begin(self, process: Process) -> None:
        self.process = process
        self._heard = 0  # failures
        self._watch = pulse.Watch(lambda: process.beats)

    def hear(self) -> None:
        """Counts what it lived through."""
        while self._heard < self.process.failures:
            self._heard += 1
            self.restarts.failed()

    def fell_silent(self, longest: float) -> bool:
        """Whether it has just been silent for too long; a look, for its watch."""
        silent = self._watch.look()
        if self.process.beats == 0:  # it imports
            longest = longest and max(longest, STARTING_SECONDS)
        runs = self.process.status is None
        if runs and not self.silent and longest and silent >= longest:
            self.silent = silent
            return True
        return False

    def how(self) -> str:
        """How it ended, in words."""
        status = self.process.status
        if self.silent:
            return f"gave no sign of life for {self.silent:.0f} s"
        if self.process.words:
            return self.process.words.why
        if status is not None and status < 0:
            return f"was killed by {signal.Signals(-status).name}"
        return f"ended with status {status}"
