"""The parent of a Launchpad program: what ends the run, and what starts again.

An actor that fails, is killed, hangs or is stopped starts again as a new process. The
end of the learner or of the queue, a user's mistake, or an actor that fails too often
ends the run.
"""

from __future__ import annotations

import time

from stac.config import RuntimeConfig
from stac.launch.launchpad import hosts, processes
from stac.launch.launchpad.processes import Process
from stac.runtime.faults.heartbeat import TICK_SECONDS
from stac.runtime.faults.lines import say
from stac.runtime.faults.restarts import Restarts


class Supervisor:
    """Watches the processes of a program until one of them ends the run."""

    def __init__(
        self,
        running: processes.Processes,
        runtime: RuntimeConfig,
        restarted_role: str,
    ) -> None:
        """`restarted_role`: the role whose processes start again."""
        self._running, self._role = running, restarted_role
        self._silence = runtime.silence_seconds
        self._restarts = {
            process.title: Restarts.configured(runtime) for process in running.everyone
        }
        self._due: list[tuple[float, Process]] = []  # (when it starts again, old one)

    def watch(self) -> Process | None:
        """Returns the process that ended the run, or None where it was asked to end."""
        while not self._running.ending:
            ended = self._running.wait(TICK_SECONDS)
            self._start_what_is_due()
            if ended is not None and self._ends_the_run(ended):
                return ended
            for process in self._running.everyone:
                if process.fell_silent(self._silence):
                    if process.role != self._role:
                        return process
                    process.kill()  # and its end is the next to be seen
        return None

    def report(self, process: Process) -> int:
        """Says how `process` ended the run; returns the exit status for that."""
        if process.status == hosts.USER_ERROR:
            return hosts.USER_ERROR  # it has said why
        trace = process.words.trace if process.words else ""
        say(f"{process.title} {process.how()}: the run is stopped\n{trace}".rstrip())
        return hosts.FAILED

    def _ends_the_run(self, ended: Process) -> bool:
        if ended.role != self._role or ended.status == hosts.USER_ERROR:
            return True
        restarts = self._restarts[ended.title]
        pause = restarts.failed(ended.worked_seconds)
        say(f"{ended.title} {ended.how()}; {restarts.verdict(pause)}")
        if pause is not None:
            self._due.append((time.monotonic() + pause, ended))
        return pause is None

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for at, ended in self._due:
            if at <= now:
                restarts = str(self._restarts[ended.title].total)
                self._running.start_again(ended, {hosts.RESTARTS: restarts})
        self._due = [(at, ended) for at, ended in self._due if at > now]
