"""The progress of a sweep: a live table in a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import operator
import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from stac.runtime.faults import lines
from stac.runtime.logs import loggers, terminal, words
from stac.runtime.storage import workdir

if TYPE_CHECKING:
    from stac.runtime.logs import table  # imports rich

_PLAIN_SECONDS = 60.0  # between two lines where no table is shown


class Line(NamedTuple):
    """A run at work."""

    name: str
    frames: float
    total: int
    rate: float  # frames per second, NaN before it is known
    returns: float  # NaN before an episode has ended

    @classmethod
    def of(cls, name: str, total_frames: int, place: pathlib.Path) -> Line:
        row = loggers.last_row(place / workdir.METRICS)
        return cls(
            name,
            row.get("frames") or 0.0,
            total_frames,
            _number(row.get("frames_per_second")),
            _number(row.get("episode_return")),
        )

    def cells(self) -> tuple[str, ...]:
        """As they stand in the table."""
        left = (self.total - self.frames) / self.rate if self.rate > 0 else math.nan
        return (
            self.name,
            f"{words.amount(self.frames)} of {words.amount(self.total)}",
            f"{self.rate:,.0f}/s" if math.isfinite(self.rate) else "starting",
            f"{self.returns:,.4g}" if math.isfinite(self.returns) else "",
            words.duration(left) if math.isfinite(left) else "",
        )


HEADINGS = ("run", "frames", "speed", "return", "left")


class Progress(NamedTuple):
    """A sweep at work."""

    done: int
    runs: int
    running: Sequence[Line]
    frames_left: float  # of all runs, those at work included

    @property
    def summary(self) -> str:
        """`12 of 60 runs done, 2 running, 3 h 5 min left`."""
        rates = [line.rate for line in self.running if line.rate > 0]
        text = f"{self.done} of {self.runs} runs done, {len(self.running)} running"
        if not rates:
            return text
        # Those that only start will be as fast as the others.
        rate = sum(rates) * len(self.running) / len(rates)
        return f"{text}, {words.duration(self.frames_left / rate)} left"


def outcome(row: Mapping[str, Any]) -> str:
    """`done: 5M frames, return 12.3` of a run's last row."""
    frames = words.amount(row.get("frames") or 0.0)
    returns = _number(row.get("episode_return"))
    known = f", return {returns:,.4g}" if math.isfinite(returns) else ""
    return f"done: {frames} frames{known}"


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


class Screen:
    """A table that is drawn again and again; elsewhere a line now and then."""

    def __init__(self) -> None:
        self._table: table.Table | None = None
        self._printed = -_PLAIN_SECONDS
        if terminal.is_live(sys.stdout):
            from stac.runtime.logs import table  # 0.1 s, and only a terminal needs it

            self._table = table.Table(
                sys.stdout, _contents, operator.attrgetter("summary")
            )

    def close(self) -> None:
        """Leaves the terminal as it was."""
        if self._table is not None:
            self._table.close()

    def show(self, progress: Progress) -> None:
        """Shows how far the sweep is."""
        if self._table is not None:
            self._table.show(progress)
        elif time.monotonic() - self._printed >= _PLAIN_SECONDS:
            self._printed = time.monotonic()
            runs = ["  ".join(filter(None, line.cells())) for line in progress.running]
            lines.to_stdout("\n  ".join([progress.summary, *runs]))


def _contents(progress: Progress) -> Any:
    """The table, as rich renders it."""
    from rich import box
    from rich import table as rich_table

    drawn = rich_table.Table(box=box.SIMPLE_HEAD, caption=progress.summary)
    for index, heading in enumerate(HEADINGS):
        drawn.add_column(heading, justify="right" if index else "left")
    for line in progress.running:
        drawn.add_row(*line.cells())
    return drawn
