"""Lines for whoever watches a run, who may be gone or read no more; and the end."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import NoReturn, TextIO

_LISTEN_SECONDS = 1.0  # for who reads our lines to make room for one more


def say(line: str) -> None:
    """To whoever watches the run, if there still is somebody who reads."""
    # Whoever listened may have gone first: `| tee` ends by the same Ctrl-C.
    with contextlib.suppress(OSError, ValueError):
        if has_room(sys.stderr):
            print(line, file=sys.stderr, flush=True)


def show(text: str, stream: TextIO | None = None) -> None:
    """Prints to standard output, or to `stream`, whether or not anybody reads it.

    Characters that the stream cannot encode are escaped.
    """
    stream = stream or sys.stdout
    if stream is None:  # closed when Python started
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A closed pipe or a log on a full disk does not end a run of days.
    with contextlib.suppress(OSError, ValueError):
        escaped = text.encode(encoding, "backslashreplace").decode(encoding)
        print(escaped, file=stream, flush=True)


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are in."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if has_room(stream):
                stream.flush()
    os._exit(status)


def has_room(stream: TextIO | None) -> bool:
    """Whether it takes a line: a pipe that nobody reads would hold us for ever.

    None is a stream that was closed when Python started.
    """
    if stream is None:
        return False
    try:
        return bool(select.select([], [stream], [], _LISTEN_SECONDS)[1])
    except (OSError, ValueError):  # no file: a test's, or closed
        return True
