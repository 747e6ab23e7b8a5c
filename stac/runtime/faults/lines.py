"""Lines for the person who watches a run and may be gone; and the end of a process."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import NoReturn, TextIO

_ROOM_SECONDS = 1.0  # for a slow reader to make room for one more line


def say(line: str) -> None:
    """Prints to stderr, if anything still reads it."""
    # The reader may have gone first: `| tee` ends by the same Ctrl-C.
    with contextlib.suppress(OSError, ValueError):
        if has_room(sys.stderr):
            print(line, file=sys.stderr, flush=True)


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are in."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if has_room(stream):
                stream.flush()
    os._exit(status)


def has_room(stream: TextIO | None) -> bool:
    """Whether a line can be written: a pipe that nothing reads would hold us for ever.

    None is a stream that was closed when Python started.
    """
    if stream is None:
        return False
    try:
        return bool(select.select([], [stream], [], _ROOM_SECONDS)[1])
    except (OSError, ValueError):  # no file, as in a test, or closed
        return True
