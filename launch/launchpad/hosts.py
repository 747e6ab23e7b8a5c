"""Hosts of Launchpad nodes: a process for each node, or one process for all."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol

from stac.config import ConfigError, RunError, RuntimeConfig
from stac.launch.launchpad import child
from stac.runtime.faults import heartbeat, lines, restarts
from stac.runtime.faults.heartbeat import Heartbeat, Silent, Watch
from stac.runtime.faults.restarts import Life, Restarts, Supervised
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed

FAILED, USER_ERROR = 1, 2  # exit statuses
RESTARTS = "STAC_RESTARTS"  # the environment variable with an actor's restarts so far

Work = Callable[[Stop], None]


class Host(Protocol):
    """Runs one node."""

    def run(self, work: Work, grace_seconds: float) -> None:
        """Does the node's work."""
        ...

    def act(self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop) -> None:
        """Runs the lives of an actor, within its work."""
        ...


class OwnProcess:
    """A node with a process to itself, whose parent is told how it went.

    An actor's process has one life. If it fails or hangs, the process ends, and its
    parent starts another (`supervisor.py`).
    """

    def run(self, work: Work, grace_seconds: float) -> NoReturn:
        """Does the work and ends the process, with status 2 for a user's mistake."""
        stop, self._heartbeat = Stop(), Heartbeat()
        self._watch: Watch | None = None
        with child.obeying(stop, grace_seconds):
            threading.Thread(target=self._report, daemon=True).start()
            status = self._status(work, stop)
            # What is left is taking Python apart, with the threads of TensorFlow, JAX
            # and gRPC still in it: that takes seconds, and at times ends in an abort.
            lines.leave(status)  # in the block: ASK still finds its handler

    def act(self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop) -> None:
        """See Host."""
        beating = Heartbeat()
        self._heartbeat, self._watch = beating, Watch(beating, runtime.silence_seconds)
        live(int(os.environ.get(RESTARTS, 0)), beating)

    def _status(self, work: Work, stop: Stop) -> int:
        try:
            work(stop)
        except Closed:
            return 0
        except ConfigError as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            return USER_ERROR
        except RunError as error:  # its message says it all
            _tell(str(error), "")
            return FAILED
        except BaseException as error:  # noqa: BLE001 - told, by the status too
            _tell(restarts.describe(error), traceback.format_exc())
            return FAILED
        return 0

    def _report(self) -> None:
        """Shows the parent that this process lives; ends it where its actor hangs."""
        while child.tell(worked=self._heartbeat.worked_seconds):
            time.sleep(heartbeat.TICK_SECONDS)
            if self._watch and (silent := self._watch.look()):
                hung = Silent(silent, threading.main_thread().ident)
                child.tell(words=(f"gives {hung.line}", hung.stack))
                lines.leave(FAILED)


class SharedProcess:
    """All nodes as threads of one process, which keeps the first failure."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.failure: BaseException | None = None

    def run(self, work: Work, grace_seconds: float) -> None:
        """Does the work; the process has a grace of its own."""
        try:
            work(self.stop)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = self.failure or error
            self.stop.set()

    def act(self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop) -> None:
        """See Host."""
        counted = Restarts.configured(runtime)
        Supervised(name, live, counted, stop, runtime.silence_seconds).run()


def _tell(why: str, trace: str) -> None:
    """Tells the parent why this process ends, or stderr where there is no parent."""
    if not child.tell(words=(f"failed: {why}", trace)):
        print(trace or f"{why}\n", file=sys.stderr, end="")
