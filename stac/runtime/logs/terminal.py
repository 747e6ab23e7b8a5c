"""A run as a person at the terminal sees it.

In a terminal that is one live table (`table.py`). Elsewhere it is one plain line every
few seconds, so that a log file stays readable. A thread shows either of them, because
an update may take longer than the promised ten seconds, and compiling much longer.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TextIO

from stac.runtime.faults import lines
from stac.runtime.logs import words
from stac.runtime.logs.loggers import Scalars

SECONDS = 8.0  # the promise is a line at least every 10


class View(Protocol):
    """A way to show the state of a run."""

    seconds: float  # between two calls of `show`

    def show(self, state: words.State) -> None:
        """Shows the state of this moment."""
        ...

    def note(self, text: str) -> None:
        """Prints an event, whose lines stay."""
        ...

    def close(self, state: words.State) -> None:
        """Leaves the last state behind as a plain line, if it has a row."""
        ...


class Lines:
    """Prints the state as a plain line."""

    def __init__(self, file: TextIO | None = None, seconds: float = SECONDS) -> None:
        """`file`: in the place of standard output."""
        self.seconds = seconds
        self._file = file

    def show(self, state: words.State) -> None:
        self.note(words.line(state))

    def note(self, text: str) -> None:
        lines.to_stdout(text, self._file)

    def close(self, state: words.State) -> None:
        if state.row and not state.seen:
            self.note(words.last_line(state))


class Elsewhere:
    """Hands the state to another process, which has the terminal and draws a table."""

    seconds = 1.0

    def __init__(self, tell: Callable[[words.State], object]) -> None:
        self._tell = tell

    def show(self, state: words.State) -> None:
        self._tell(state)

    def note(self, text: str) -> None:
        lines.to_stdout(text)  # through the other process's pipe

    def close(self, state: words.State) -> None:
        if state.row:
            self.note(words.last_line(state))


def is_live(stream: TextIO | None) -> bool:
    """Whether a table can be drawn there: a terminal that can move its cursor."""
    if stream is None or os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def view() -> View:
    """A table where standard output can show one, else lines."""
    if not is_live(sys.stdout):
        return Lines()
    from stac.runtime.logs import table  # 0.1 s, which no plain run has to wait for

    return table.Table(sys.stdout)


class Terminal:
    """A logger that shows the latest row, whatever the learner does.

    The time left is reckoned from all rows since the first one.
    """

    def __init__(
        self,
        total_frames: int,
        view: View | None = None,  # None: plain lines
        clock: Callable[[], float] = time.monotonic,
        shown: Mapping[str, str] | None = None,  # metrics by their labels
        title: str = "",
        workdir: str = "",
    ) -> None:
        self._view = view or Lines()
        self._clock = clock
        self._lock = threading.Lock()  # guards the four below
        self._state = words.State(
            title, workdir, total_frames, shown or {}, {}, "", "starting", 0, 0, False
        )
        self._since = clock()  # of the row or the status
        self._unseen = False  # there is a row that was not shown yet
        self._first_row = (clock(), 0.0)  # when it came, its frames
        self.waiting_seconds: Callable[[], float] = float  # of the learner, for a batch
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._show_often, name="terminal", daemon=True
        )
        self._thread.start()

    def status(self, what: str) -> None:
        """Says at once what the run waits for (`compiling the update`)."""
        with self._lock:
            if what == self._state.status:
                return
            self._state = self._state._replace(status=what)
            self._since = self._clock()
        self.note(what)

    def note(self, what: str) -> None:
        """Says at once what happened, and once."""
        self._view.note(what)

    def write(self, values: Scalars) -> None:
        """Keeps the row for the next look; the first one is shown at once."""
        with self._lock:
            now, first = self._clock(), not self._state.row
            if first:
                self._first_row = (now, values["frames"])
            began, frames = self._first_row
            left = words.time_left(
                self._state.total_frames - values["frames"],
                values["frames"] - frames,
                now - began,
            )
            row = {name: float(value) for name, value in values.items()}
            self._state = self._state._replace(row=row, left=left, status="")
            self._unseen, self._since = True, now
        if first:
            self._show()

    def close(self, last_words: str = "") -> None:
        """Shows a row not seen yet, then `last_words`; may be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        self._view.close(self._now())
        if last_words:
            self.note(last_words)

    def _show_often(self) -> None:
        while not self._closed.wait(self._view.seconds):
            self._show()

    def _show(self) -> None:
        self._view.show(self._now())

    def _now(self) -> words.State:
        """The state of this moment; its row counts as seen from now on."""
        with self._lock:
            age, seen = self._clock() - self._since, not self._unseen
            self._unseen = False
            starved = self.waiting_seconds()
            return self._state._replace(age=age, starved=starved, seen=seen)
