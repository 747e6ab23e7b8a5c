"""The live table of a run, drawn in a terminal below the lines of everybody.

The table is the last thing on the screen, and the cursor stands on the line below it,
visible. So whatever ends the process, the terminal is as it should be. To draw is to
erase the table before, and to print what is new above, and the table, in one write.

While it is there, standard output and standard error of this process are streams whose
lines are printed above it. A line that a library in C writes past Python is printed
below the table, where the next table covers it in part.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich import console as rich_console
from rich import panel, progress_bar, text
from rich import table as rich_table

from stac.runtime.faults import lines
from stac.runtime.logs import words

SECONDS = 1.0  # between two tables: rows come every few seconds
WIDEST = 100
_LATE_SECONDS = 0.3  # more between two looks
_SIGNAL_SECONDS = 0.1  # until the thread that reads signals has seen one
_BACKGROUND_SECONDS = 8.0  # between two plain lines
_OLD_SECONDS = 15.0  # after which a row is called old
_LOCK_SECONDS = 1.0  # for a thread that draws


class Table:
    """A terminal.View that draws the newest state once a second."""

    seconds = SECONDS

    def __init__(
        self,
        file: TextIO,
        drawn: Callable[[Any], rich_console.RenderableType] | None = None,
        line: Callable[[Any], str] = words.line,
    ) -> None:
        """Draws in `file`, a terminal, from the first state on.

        Args:
          file: a terminal.
          drawn: what rich renders of a state; `contents` by default.
          line: says a state where a shell has the screen.
        """
        self._file = file
        self._contents, self._line = drawn or contents, line
        self._console = rich_console.Console(file=file, highlight=False)
        self._lock = threading.RLock()  # guards all below
        self._state: Any = None  # the newest: a words.State, or what `show` gets
        self._drawn = (0, 0)  # lines and columns of the table on the screen
        self._resumed = False  # since the last table: the process was suspended
        self._plain_at = -math.inf  # when there was a line in the background
        self._closed = threading.Event()
        self._before = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = (self._above(stream) for stream in self._before)
        lines.screen = self
        self._thread = threading.Thread(target=self._draw_often, daemon=True)
        self._thread.start()

    def show(self, state: Any) -> None:
        """See terminal.View."""
        self._state = state

    def note(self, text: str) -> None:
        """See terminal.View."""
        lines.show(text)

    def close(self, state: words.State | None = None) -> None:
        """Erases the table, for a plain line of `state`; may be called twice."""
        self.put_away()
        if state is not None and state.row:
            self.note(words.last_line(state))

    def print(self, text: str) -> None:
        """Prints whole lines above the table."""
        with self._lock:
            self._draw(text)

    def resumed(self) -> None:
        """See lines.Screen."""
        self._resumed = True

    def put_away(self) -> None:
        """See lines.Screen."""
        # A thread may hold the lock for ever, in a terminal that takes nothing more.
        held = self._lock.acquire(timeout=_LOCK_SECONDS)
        try:
            if held and not self._closed.is_set():
                self._closed.set()
                rest = "".join(
                    stream.rest()
                    for stream in (sys.stdout, sys.stderr)
                    if isinstance(stream, _Above)
                )
                self._draw(rest)
                sys.stdout, sys.stderr = self._before
                lines.screen = None
        finally:
            if held:
                self._lock.release()

    def _draw_often(self) -> None:
        looked = time.monotonic()
        while not self._closed.wait(SECONDS):
            if time.monotonic() - looked > SECONDS + _LATE_SECONDS:
                time.sleep(_SIGNAL_SECONDS)  # perhaps it was suspended: see `resumed`
            looked = time.monotonic()
            # A terminal that is held (Ctrl-S) must not hold the lock.
            if lines.has_room(self._file):
                with self._lock:
                    self._look()

    def _look(self) -> None:
        """Draws the newest state, or says it in a line where a shell has the screen."""
        state = self._state
        if self._in_foreground():
            self._draw("")
        elif state and time.monotonic() - self._plain_at >= _BACKGROUND_SECONDS:
            self._plain_at = time.monotonic()
            self._draw(self._line(state) + "\n")

    def _draw(self, above: str) -> None:
        size = _size(self._file)
        foreground = self._in_foreground()
        if self._resumed or not foreground:
            self._resumed, self._drawn = False, (0, 0)  # a shell has written below it
        height, width = self._drawn
        erase = ""
        if height:  # a terminal that was made narrower has broken its lines
            height *= -(-width // size.columns)
            erase = f"\r\x1b[{min(height, size.lines - 1)}A\x1b[J"
        table, self._drawn = "", (0, 0)
        if self._state is not None and foreground and not self._closed.is_set():
            table, self._drawn = self._rendered(self._state, size)
        if erase or above or table:
            encoding = self._file.encoding
            codes = f"{erase}{above}{table}".encode(encoding, "backslashreplace")
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                self._file.write(codes.decode(encoding))
                self._file.flush()

    def _rendered(
        self, state: Any, size: os.terminal_size
    ) -> tuple[str, tuple[int, int]]:
        """The table, as high as fits below one line, and its lines and columns."""
        width = self._console.width = max(1, min(size.columns - 1, WIDEST))
        with self._console.capture() as capture:
            self._console.print(self._contents(state))
        rows = capture.get().splitlines()[: max(0, size.lines - 2)]
        return "".join(f"{row}\n" for row in rows), (len(rows), width)

    def _above(self, stream: TextIO | None) -> Any:
        """The stream whose lines go above the table; `stream` if it goes elsewhere."""
        if stream is None or not stream.isatty():
            return stream
        return _Above(stream, self.print)

    def _in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._file.fileno()) == os.getpgrp()
        except (OSError, ValueError):  # not the terminal that controls this process
            return True


class _Above:
    """A text stream whose whole lines are printed above the table."""

    def __init__(self, stream: TextIO, print_lines: Callable[[str], None]) -> None:
        self._stream, self._print = stream, print_lines
        self._lock = threading.RLock()
        self._rest = ""  # of a line that has not ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def flush(self) -> None:
        """Each line is written when it ends."""

    def write(self, text: str) -> int:
        with self._lock:
            whole, newline, self._rest = (self._rest + text).rpartition("\n")
        if newline:
            self._print(whole + newline)
        return len(text)

    def rest(self) -> str:
        """The last line, which has not ended."""
        return f"{self._rest}\n" if self._rest else ""


def contents(state: words.State) -> rich_console.RenderableType:
    """The table of a state, as rich renders it."""
    parts: list[rich_console.RenderableType] = [_bar(state)]
    if state.row:
        parts += ["", _numbers(_standing(state.row))]
        shown = {name: state.row.get(key) for name, key in state.shown.items()}
        values = {name: f"{x:.4f}" for name, x in shown.items() if x is not None}
        parts += ["", _numbers(values)] if values else []
    news = words.waits_for(state) or words.binds(state.row)
    if state.row and state.age > _OLD_SECONDS:
        news = f"{news}  (as of {words.duration(state.age)} ago)".strip()
    parts += ["", text.Text(news, style="bold")] if news else []
    where = text.Text(state.workdir, overflow="ellipsis", no_wrap=True, style="dim")
    return panel.Panel(
        rich_console.Group(where, "", *parts),
        title=text.Text(state.title, style="bold"),
        title_align="left",
    )


def _bar(state: words.State) -> rich_table.Table:
    """How far the run is, how long it has taken and what is left."""
    frames = state.row.get("frames", 0.0)
    bar = progress_bar.ProgressBar(total=state.total_frames, completed=frames)
    done = [words.frames_done(frames, state.total_frames)]
    if "seconds" in state.row:
        done.append(words.duration(state.row["seconds"] + state.age))
    done += [state.left] if state.left else []
    grid = rich_table.Table.grid(padding=(0, 2), expand=True)
    grid.add_row(bar)
    grid.add_row(text.Text("  ·  ".join(done)))
    return grid


def _standing(row: Mapping[str, float]) -> dict[str, str]:
    """The numbers that every run has, by their headings."""
    numbers = {
        "frames/s": (row.get("frames_per_second"), ",.0f"),
        "updates": (row.get("updates"), ",.0f"),
        "episodes": (row.get("episodes"), ",.0f"),
        "return": (row.get("episode_return"), ",.4g"),
        "lag": (row.get("lag"), ".1f"),
        "queue": (row.get("queue_size"), ",.0f"),
    }
    return {
        name: format(value, form) if math.isfinite(value) else "–"
        for name, (value, form) in numbers.items()
        if value is not None
    }


def _numbers(values: Mapping[str, str]) -> rich_table.Table:
    """Values below their headings."""
    numbers = rich_table.Table(
        box=None, padding=(0, 3, 0, 0), header_style="dim", pad_edge=False
    )
    for name in values:
        numbers.add_column(name, justify="right", min_width=8)
    numbers.add_row(*values.values())
    return numbers


def _size(file: TextIO) -> os.terminal_size:
    """Columns and lines; of a usual terminal where it does not say."""
    with contextlib.suppress(OSError, ValueError):
        size = os.get_terminal_size(file.fileno())
        if size.columns and size.lines:
            return size
    return os.terminal_size((80, 24))
