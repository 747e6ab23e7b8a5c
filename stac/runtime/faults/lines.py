"""Lines for the person who watches a run and may be gone; and the end of a process."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, TextIO

prefix = ""  # of every line: which host says it, where there are several
# Erases a live display at the bottom of the terminal, where there is one.
put_away: Callable[[], object] | None = None
_ERASE_SECONDS = 1.0  # for it: a terminal may take nothing more
_ROOM_SECONDS = 1.0  # for a slow reader to make room for one more line


def to_stderr(line: str) -> None:
    """Prints to stderr, if anything still reads it."""
    # The reader may have gone first: `| tee` ends by the same Ctrl-C.
    with contextlib.suppress(OSError, ValueError):
        if has_room(sys.stderr):
            print(_prefixed(line), file=sys.stderr, flush=True)


def to_stdout(text: str, stream: TextIO | None = None) -> None:
    """Prints to standard output, or to `stream`, whether or not anybody reads it.

    Characters that the stream cannot encode are escaped.
    """
    stream = stream or sys.stdout
    if stream is None:  # closed when Python started
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    # A closed pipe or a log on a full disk does not end a run of days.
    with contextlib.suppress(OSError, ValueError):
        escaped = _prefixed(text).encode(encoding, "backslashreplace").decode(encoding)
        print(escaped, file=stream, flush=True)


def _prefixed(text: str) -> str:
    return "\n".join(prefix + line for line in text.split("\n"))


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are in."""
    if put_away is not None:
        with contextlib.suppress(RuntimeError):  # no more threads
            eraser = threading.Thread(target=put_away, daemon=True)
            eraser.start()
            eraser.join(_ERASE_SECONDS)
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
