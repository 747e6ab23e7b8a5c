"""The progress line that a person at the terminal sees of a run.

One plain line every few seconds, the same in a terminal and in a log file, so that
nothing is overwritten and warnings of others stay readable. A thread prints it, because
an update may take longer than the promised ten seconds, and compiling much longer.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from stac.runtime.faults import lines
from stac.runtime.logs.loggers import Scalars

SECONDS = 8.0  # the promise is a line at least every 10
# Frames per second have to be measured for so long before the time left is more than
# a guess: actors start one after another, and the first updates are slow.
TRUSTED_SECONDS = 60.0


class Terminal:
    """A logger that prints the latest row every `seconds`, whatever the learner does.

    The time left is reckoned from all rows since the first one.
    """

    def __init__(
        self,
        total_frames: int,
        file: TextIO | None = None,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
        shown: Mapping[str, str] | None = None,  # metrics by their labels, see progress
    ) -> None:
        self._total = total_frames
        self._shown = shown or {}
        self._file = file or sys.stdout
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()  # guards the five below
        self._row = ""  # the newest, in words
        self._fresh = False  # it is not printed yet
        self._status = "starting"
        self._since = clock()
        self._first_row = (clock(), 0.0)  # when it came, its frames
        self.waiting_seconds: Callable[[], float] = float  # of the learner, for a batch
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._print_lines, name="terminal", daemon=True
        )
        self._thread.start()

    def status(self, what: str) -> None:
        """Says at once what the run waits for (`compiling the update`)."""
        with self._lock:
            if what == self._status:
                return
            self._status, self._since = what, self._clock()
        self.note(what)

    def note(self, what: str) -> None:
        """Says at once what happened, and once."""
        lines.show(what, self._file)

    def write(self, values: Scalars) -> None:
        """Keeps the row for the next line; the first one is printed at once."""
        with self._lock:
            now, first = self._clock(), not self._row
            if first:
                self._first_row = (now, values["frames"])
            began, frames = self._first_row
            left = time_left(
                self._total - values["frames"], values["frames"] - frames, now - began
            )
            row = self._row = progress(values, self._total, left, self._shown)
            self._status, self._fresh, self._since = "", not first, now
        if first:
            self.note(row)

    def close(self, last_words: str = "") -> None:
        """Prints a row not seen yet, then `last_words`; may be called twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        if self._fresh:
            self.note(self._row)
        if last_words:
            self.note(last_words)

    def _print_lines(self) -> None:
        while not self._closed.wait(self._seconds):
            self.note(self._line())

    def _line(self) -> str:
        with self._lock:
            row, status, fresh = self._row, self._status, self._fresh
            waited = self._clock() - self._since
            self._fresh = False
        if (starved := self.waiting_seconds()) >= self._seconds:
            return f"waiting for trajectories … {duration(starved)}"
        if status:
            return f"{status} … {duration(waited)}"
        return row if fresh else f"{row}  (as of {duration(waited)} ago)"


def time_left(frames_left: float, frames: float, seconds: float) -> str:
    """`16 h 10 min left`, where so many frames took so many seconds.

    `51 d 7 h left (a guess: measured for 8 s)` in the first minute, and nothing before
    there is any measurement.
    """
    if frames <= 0 or seconds <= 0:
        return ""
    left = f"{duration(max(0, frames_left) * seconds / frames)} left"
    if seconds < TRUSTED_SECONDS and frames_left > 0:
        return f"{left} (a guess: measured for {duration(seconds)})"
    return left


def progress(
    values: Scalars,
    total_frames: int,
    left: str = "",
    shown: Mapping[str, str] | None = None,
) -> str:
    """`1.2M of 200M frames (0.6 %)  3,412 frames/s  …  16 h 10 min left`.

    Reads `frames`, `frames_per_second`, `episode_return`, `episodes`, `updates` and the
    metrics `shown`: {"gamma": "hyperparameters/gamma/head_1"} adds `gamma 0.9891`. A
    value that is missing or NaN is left out or said in words. `left` ends the line.
    """
    frames = values["frames"]
    share = min(100.0, 100 * frames / total_frames)  # the last update may overshoot
    parts = [f"{amount(frames)} of {amount(total_frames)} frames ({share:.1f} %)"]
    rate = values.get("frames_per_second", math.nan)
    if math.isfinite(rate):
        parts.append(f"{rate:,.0f} frames/s")
    recent = values.get("episode_return", math.nan)
    if not math.isfinite(recent):
        parts.append("no episode yet")
    else:
        episodes = count(values["episodes"], "episode")
        parts.append(f"return {recent:,.4g} after {episodes}")
    if "updates" in values:
        parts.append(count(values["updates"], "update"))
    parts += [
        f"{label} {values[name]:.4f}"
        for label, name in (shown or {}).items()
        if name in values
    ]
    return "  ".join([*parts, left] if left else parts)


def count(number: float, what: str) -> str:
    """`1 update`, `1,953 updates`."""
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """950, 12.3k, 1.25M, 200M: three digits that count."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `16 h 10 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
