"""The live table of a run, which rich draws below the lines of everybody.

While it is there, lines that this process prints stand above it. The cursor stays
visible and stands below it, so that a killed process leaves a terminal as it should be.
In the background there are plain lines, as a shell has the screen.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, TextIO

from rich import console as rich_console
from rich import file_proxy, live, panel, progress_bar, segment, text
from rich import table as rich_table

from stac.runtime.faults import lines
from stac.runtime.logs import words

SECONDS = 1.0  # between two tables: rows come every few seconds
WIDEST = 100
_BACKGROUND_SECONDS = 8.0  # between two plain lines
_OLD_SECONDS = 15.0  # after which a row is called old


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
          line: a state in words, where a shell has the screen.
        """
        self._file, self._contents, self._line = file, drawn or contents, line
        self._said_at = -math.inf  # when there was a line in the background
        self._state: Any = None  # the newest: a words.State, or what `show` gets
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(errors="backslashreplace")
        self._live = _Live(
            console=_Console(file),
            get_renderable=self._drawn,
            refresh_per_second=1 / SECONDS,
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
            transient=True,
        )
        self._live.start()
        lines.put_away = self.close

    def show(self, state: Any) -> None:
        """See terminal.View."""
        self._state, now = state, time.monotonic()
        late = now - self._said_at >= _BACKGROUND_SECONDS
        if late and not _in_foreground(self._file):
            self._said_at = now
            lines.to_stdout(self._line(state))

    def note(self, text: str) -> None:
        """See terminal.View."""
        lines.to_stdout(text)

    def close(self, state: words.State | None = None) -> None:
        """Erases the table, for a plain line of `state`; may be called twice."""
        lines.put_away = None
        with contextlib.suppress(OSError, ValueError):  # the terminal is gone
            for stream in (sys.stdout, sys.stderr):  # of a line without an end
                if isinstance(stream, file_proxy.FileProxy):
                    stream.flush()
            self._live.stop()
        if state is not None and state.row:
            self.note(words.last_line(state))

    def _drawn(self) -> rich_console.RenderableType:
        if self._state is None:
            return ""
        return rich_console.Group(_Cropped(self._contents(self._state)), "")


@dataclasses.dataclass
class _Cropped:
    """As much as fits above the cursor's line and one more."""

    inside: rich_console.RenderableType

    def __rich_console__(
        self, console: rich_console.Console, options: rich_console.ConsoleOptions
    ) -> rich_console.RenderResult:
        width = min(options.max_width, WIDEST)
        options = options.update(width=width, no_wrap=False, overflow="fold")
        rows = console.render_lines(self.inside, options, pad=False)
        for row in rows[: max(0, options.size.height - 2)]:
            yield from row
            yield segment.Segment.line()


class _Console(rich_console.Console):
    """Never hides the cursor: nothing would show it again after a kill."""

    def __init__(self, file: TextIO) -> None:
        """For a terminal, whatever rich's variables say of it, of any size."""
        sizes = ("COLUMNS", "LINES")
        environ = {name: x for name, x in os.environ.items() if name not in sizes}
        super().__init__(
            file=file,
            force_terminal=True,
            force_interactive=True,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
            _environ=environ,
        )

    def show_cursor(self, show: bool = True) -> bool:
        return False

    def _check_buffer(self) -> None:
        try:
            super()._check_buffer()
        except (OSError, ValueError):  # the terminal is gone: nothing piles up
            del self._buffer[:]
            raise


class _Live(live.Live):
    """Draws in the foreground alone."""

    def refresh(self) -> None:
        if self._has_the_screen():
            with contextlib.suppress(OSError, ValueError):  # the terminal is gone
                super().refresh()

    def process_renderables(
        self, renderables: list[rich_console.ConsoleRenderable]
    ) -> list[rich_console.ConsoleRenderable]:
        if not self._has_the_screen():
            return renderables
        return super().process_renderables(renderables)

    def _has_the_screen(self) -> bool:
        if _in_foreground(self.console.file):
            return True
        self._live_render._shape = None  # a shell writes below: nothing is to be erased
        return False


def _in_foreground(file: IO[str]) -> bool:
    try:
        return os.tcgetpgrp(file.fileno()) == os.getpgrp()
    except (OSError, ValueError):  # not the terminal that controls this process
        return True


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
