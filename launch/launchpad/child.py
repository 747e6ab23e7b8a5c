"""A child process of a program: how it is told to end, and what it tells.

A child at work obeys one thing, the connection that is its standard input:

    b"s"                  the program ends: finish what is to be finished and leave
    the end of it         the parent died: the same; after b"s": leave at once

So a program leaves no process behind, however its parent ends. Signals are the
parent's: Ctrl-C in a terminal, or its end, reaches every process of the foreground, but
the children never see it. SIGTERM ends a child that is still importing, and not one at
work.

The other way go lines of JSON:

    {"beat": true}                   every second, while the process runs
    {"failed": true}                 something in it failed, and it goes on
    {"words": ["why", "traceback"]}  it ends
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from typing import Any

from stac.runtime.faults import shutdown
from stac.runtime.faults.lines import leave as leave
from stac.runtime.faults.shutdown import Stop

ASK = b"s"
_BEAT_SECONDS = 1.0
_TELLING = threading.Lock()


def live(stop: Stop, grace_seconds: float) -> None:
    """Lets standard input set `stop`, in a child's main thread, and beats from now on.

    Args:
      stop: of this process.
      grace_seconds: after which the process saves what `stop` says and ends, whatever
        its main thread is in.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_obey, args=(stop, grace_seconds), daemon=True).start()
    threading.Thread(target=_beat, daemon=True).start()


def tell(**said: Any) -> bool:
    """Tells the parent, in a child; returns whether there is one that listens."""
    try:
        with _TELLING:
            os.write(sys.stdin.fileno(), json.dumps(said).encode() + b"\n")
    except OSError:
        return False
    return True


def _obey(stop: Stop, grace_seconds: float) -> None:
    asked = _next_word() == ASK
    timer = threading.Timer(grace_seconds, shutdown.leave_saving, (stop,))
    timer.daemon = True
    timer.start()
    shutdown.ask(stop)
    if asked:
        while _next_word():
            pass
        os._exit(1)


def _next_word() -> bytes:
    """b"" when the parent is gone."""
    try:
        return os.read(sys.stdin.fileno(), 1)
    except OSError:  # it went with something unread
        return b""


def _beat() -> None:
    while tell(beat=True):
        time.sleep(_BEAT_SECONDS)
