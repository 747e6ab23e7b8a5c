"""A node's process as seen from inside; `processes.py` is its parent's side.

One signal, ASK, means: finish what must be finished, and leave. The parent sends it at
the end of the run, and Linux sends it when the parent dies. A second one, after half a
second, means: leave at once. So a program leaves no process behind, however its parent
ends. A child that still imports has no handler yet, and ASK ends it.

Ctrl-C and a scheduler's signals often reach every process of a program. They are the
parent's business: a child at work ignores SIGTERM, and the others are blocked.

A child writes lines of JSON to its standard input, a socket whose other end its parent
reads:

    {"worked": 12.5, "acts": true}   every second: it is alive; see Heartbeat. An
                                     actor acts once it made its first trajectories
    {"words": ["why", "traceback"]}  it ends because something failed
    {"state": […]}                   a words.State, for the parent's table
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
from typing import TYPE_CHECKING, Any, NoReturn

from stac import children
from stac.config import FAILED, USER_ERROR, ConfigError, RunError
from stac.runtime.faults import heartbeat, lines, restarts, shutdown
from stac.runtime.faults.heartbeat import Heartbeat, Silent, Watch
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed

if TYPE_CHECKING:
    from stac.runtime.logs.terminal import View  # imports NumPy

ASK = signal.SIGUSR2
QUEUE, LEARNER, ACTOR = "queue", "learner", "actor"  # roles
# Environment variables of a child.
PARENT = "STAC_PARENT"  # the parent's process id
ROLE = "STAC_ROLE"
RESTARTS = "STAC_RESTARTS"  # how often this node was started again
TABLE = "STAC_TABLE"  # is there where the parent shows a live table

Work = Callable[[Stop, Heartbeat], None]
_TELLING = threading.Lock()  # a message at a time


def run(work: Work, grace_seconds: float, silence_seconds: float = 0.0) -> NoReturn:
    """Does the work and ends the process, with status 2 for a user's mistake.

    Args:
      work: of the node, for this main thread. It takes what stops it, and a heartbeat.
      grace_seconds: from ASK until the process saves and ends, whatever its main thread
        does.
      silence_seconds: the longest silence of the heartbeat, after which the process
        ends as failed; 0: any.
    """
    if role := os.environ.get(ROLE):
        children.name(f"stac {role}")
    stop, beating = Stop(), Heartbeat()
    watch = Watch(beating, silence_seconds)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with shutdown.on_signals(stop, grace_seconds, (ASK,)):
        children.die_with_parent(int(os.environ.get(PARENT, os.getppid())), ASK)
        threading.Thread(target=_report, args=(beating, watch), daemon=True).start()
        status = _status(work, stop, beating)
        # What is left is taking Python apart, with the threads of TensorFlow, JAX and
        # gRPC still in it: that takes seconds, and at times ends in an abort.
        lines.leave(status)  # in the block: ASK still finds its handler


def _status(work: Work, stop: Stop, beating: Heartbeat) -> int:
    try:
        work(stop, beating)
    except Closed:
        return 0
    except ConfigError as error:
        line = " ".join(str(error).split())
        lines.to_stderr(line)
        tell(words=(line, ""))
        return USER_ERROR
    except RunError as error:  # its message says it all
        _fail(str(error), "")
    except BaseException as error:  # noqa: BLE001 - told, by the status too
        _fail(restarts.describe(error), traceback.format_exc())
    else:
        return 0
    return FAILED


def _fail(why: str, trace: str) -> None:
    """Tells the parent why this process ends, or stderr where there is none."""
    if not tell(words=(f"failed: {why}", trace)):
        print(trace or f"{why}\n", file=sys.stderr, end="")


def _report(beating: Heartbeat, watch: Watch) -> None:
    """Shows the parent that this process lives; ends it where its actor hangs."""
    while tell(worked=beating.worked_seconds, acts=not beating.starting):
        time.sleep(heartbeat.TICK_SECONDS)
        if silent := watch.look():
            hung = Silent(silent, threading.main_thread().ident)
            tell(words=(f"gives {hung.line}", hung.stack))
            lines.leave(FAILED)


def view() -> View:
    """Lines of this process, or the table of the parent that has asked for it."""
    from stac.runtime.logs import terminal  # only here, for the learner

    if TABLE not in os.environ:
        return terminal.Lines()
    return terminal.Elsewhere(lambda state: tell(state=state))


def tell(**message: Any) -> bool:
    """Tells the parent; returns whether there is a parent to listen."""
    if PARENT not in os.environ:  # started by another launcher, perhaps in a terminal
        return False
    try:
        with _TELLING:
            os.write(sys.stdin.fileno(), json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    return True
