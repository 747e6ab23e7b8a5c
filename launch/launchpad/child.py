"""A child process of a Launchpad program, seen from inside.

One signal, ASK, means: finish what must be finished, and leave. The parent sends it at
the end of the run, and Linux sends it when the parent dies. A second one, after half a
second, means: leave at once. So a program leaves no process behind, however its parent
ends. A child that still imports has no handler yet, and ASK ends it.

Ctrl-C and a scheduler's signals often reach every process of a program. They are the
parent's business: a child at work ignores SIGTERM, and the others are blocked.

A child writes lines of JSON to its standard input, a socket whose other end its parent
reads (`processes.py`):

    {"worked": 12.5}                 every second: it is alive; see Heartbeat
    {"words": ["why", "traceback"]}  it ends because something failed
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from stac import children
from stac.runtime.faults import shutdown
from stac.runtime.faults.shutdown import Stop

ASK = signal.SIGUSR2
PARENT = "STAC_PARENT"  # the environment variable with the parent's process id
_TELLING = threading.Lock()


@contextlib.contextmanager
def obeying(stop: Stop, grace_seconds: float) -> Iterator[None]:
    """Lets ASK set `stop` in this block, which is in the main thread.

    Args:
      stop: of this process.
      grace_seconds: from ASK until the process saves what `stop` says and ends,
        whatever its main thread does.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with shutdown.on_signals(stop, grace_seconds, (ASK,)):
        parent = int(os.environ.get(PARENT, os.getppid()))
        children.die_with_parent(parent, ASK)
        yield


def tell(**message: Any) -> bool:
    """Tells the parent; returns whether there is a parent to listen."""
    try:
        with _TELLING:
            os.write(sys.stdin.fileno(), json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    return True
