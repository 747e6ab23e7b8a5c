"""Where a node lives: in a process of its own, or with all others in one."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Protocol

from stac.config import FAILED, USER_ERROR, ConfigError, RunError, RuntimeConfig
from stac.launch.launchpad import child
from stac.runtime.faults import supervision
from stac.runtime.faults.shutdown import Stop
from stac.runtime.faults.supervision import Life, Restarts, Silent, Supervised
from stac.runtime.queues.local import Closed

HANGS = 3  # an exit status beside FAILED and USER_ERROR
PAST = "STAC_FAILURES"  # tells a new process of an actor what became of the old ones

Work = Callable[[Stop], None]


class Host(Protocol):
    """Where a node lives."""

    def run(self, work: Work, grace_seconds: float) -> None:
        """Does the work; all of the program ends when the learner's is done."""
        ...

    def supervise(
        self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop
    ) -> None:
        """Lives an actor's lives, within its work; see supervision.Supervised."""
        ...


class OwnProcess:
    """A node with a process to itself: its parent reads how it went."""

    def run(self, work: Work, grace_seconds: float) -> None:
        """Does the work and ends the process; 2 is the user's doing, all else ours."""
        stop = Stop()
        child.live(stop, grace_seconds)
        status = 0
        try:
            work(stop)
        except Closed:
            pass
        except ConfigError as error:
            print(" ".join(str(error).split()), file=sys.stderr)
            status = USER_ERROR
        except Silent as hung:
            child.tell(words=(f"gives {hung.line}", hung.stack))
            status = HANGS
        except BaseException as error:  # noqa: BLE001 - it is told, by the status too
            why, trace = supervision.describe(error), traceback.format_exc()
            if isinstance(error, RunError):  # a line that says it all
                why, trace = str(error), ""
            if not child.tell(words=(f"failed: {why}", trace)):
                print(trace or f"{why}\n", file=sys.stderr, end="")
            status = FAILED
        # What is left is taking Python apart, with the threads of TensorFlow, JAX and
        # gRPC still in it: that takes seconds, and at times ends in an abort.
        child.leave(status)

    def supervise(
        self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop
    ) -> None:
        """See Host. A process that hangs ends, which its parent counts as a failure."""
        restarts = Restarts.configured(runtime, os.environ.get(PAST, ""))
        Supervised(
            name,
            live,
            restarts,
            stop,
            runtime.silence_seconds,
            tell=self._tell,
            replaces_hung=False,
        ).run()

    def _tell(self, line: str) -> None:
        child.tell(failed=True)  # the parent's count is to be the same
        supervision.say(line)


class SharedProcess:
    """All nodes as threads of one process, which keeps the first failure."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.failure: BaseException | None = None

    def run(self, work: Work, grace_seconds: float) -> None:
        """Does the work; the grace is the process's own."""
        try:
            work(self.stop)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            self.failure = self.failure or error
            self.stop.set()

    def supervise(
        self, name: str, live: Life, runtime: RuntimeConfig, stop: Stop
    ) -> None:
        restarts = Restarts.configured(runtime)
        Supervised(name, live, restarts, stop, runtime.silence_seconds).run()
