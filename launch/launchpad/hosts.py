"""Hosts of Launchpad nodes: a process for each node, or one process for all.

One signal, ASK, means for a process of its own: finish what must be finished, and
leave. The parent sends it at the end of the run, and Linux sends it when the parent
dies. A second one, after half a second, means: leave at once. So a program leaves no
process behind, however its parent ends. A child that still imports has no handler yet,
and ASK ends it.

Ctrl-C and a scheduler's signals often reach every process of a program. They are the
parent's business: a child at work ignores SIGTERM, and the others are blocked.

A child writes lines of JSON to its standard input, a socket whose other end its parent
reads (`processes.py`):

    {"worked": 12.5}                 every second: it is alive; see Heartbeat
    {"words": ["why", "traceback"]}  it ends because something failed
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from stac import children
from stac.config import FAILED, USER_ERROR, ConfigError, RunError, RuntimeConfig
from stac.runtime.faults import heartbeat, lines, restarts, shutdown
from stac.runtime.faults.heartbeat import Heartbeat, Silent, Watch
from stac.runtime.faults.restarts import Life, Supervised
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed

ASK = signal.SIGUSR2
# Environment variables of a child.
PARENT = "STAC_PARENT"  # the parent's process id
RESTARTS = "STAC_RESTARTS"  # an actor's restarts so far

Work = Callable[[Stop], None]


class OwnProcess:
    """A node with a process to itself, whose parent is told how it went.

    An actor's process has one life. If it fails or hangs, the process ends, and its
    parent starts another (`supervisor.py`).
    """

    def run(self, work: Work, grace_seconds: float) -> NoReturn:
        """Does the work and ends the process, with status 2 for a user's mistake.

        Args:
          work: of the node; this is the main thread.
          grace_seconds: from ASK until the process saves and ends, whatever its main
            thread does.
        """
        stop, self._heartbeat = Stop(), Heartbeat()
        self._watch: Watch | None = None
        self._telling = threading.Lock()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with shutdown.on_signals(stop, grace_seconds, (ASK,)):
            children.die_with_parent(int(os.environ.get(PARENT, os.getppid())), ASK)
            threading.Thread(target=self._report, daemon=True).start()
            status = self._status(work, stop)
            # What is left is taking Python apart, with the threads of TensorFlow, JAX
            # and gRPC still in it: that takes seconds, and at times ends in an abort.
            lines.leave(status)  # in the block: ASK still finds its handler

    def act(self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop) -> None:
        """Runs an actor, within `work`."""
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
            self._fail(str(error), "")
        except BaseException as error:  # noqa: BLE001 - told, by the status too
            self._fail(restarts.describe(error), traceback.format_exc())
        else:
            return 0
        return FAILED

    def _fail(self, why: str, trace: str) -> None:
        """Tells the parent why this process ends, or stderr where there is none."""
        if not self._tell(words=(f"failed: {why}", trace)):
            print(trace or f"{why}\n", file=sys.stderr, end="")

    def _report(self) -> None:
        """Shows the parent that this process lives; ends it where its actor hangs."""
        while self._tell(worked=self._heartbeat.worked_seconds):
            time.sleep(heartbeat.TICK_SECONDS)
            if self._watch and (silent := self._watch.look()):
                hung = Silent(silent, threading.main_thread().ident)
                self._tell(words=(f"gives {hung.line}", hung.stack))
                lines.leave(FAILED)

    def _tell(self, **message: Any) -> bool:
        """Tells the parent; returns whether there is a parent to listen."""
        try:
            with self._telling:
                os.write(sys.stdin.fileno(), json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True


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
        """Runs the lives of an actor, within `work`."""
        Supervised(name, live, runtime, stop).run()


Host = OwnProcess | SharedProcess
