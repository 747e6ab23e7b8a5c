"""Counts and rates that a learner keeps beside its state, and the row of a log."""

from __future__ import annotations

import collections
import contextlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from stac.runtime.storage.checkpoints import Counters
from stac.types import Report

RECENT_EPISODES = 100  # over which `episode_return` is a mean
COUNTS = ("actor_restarts", "skipped_updates", "diverged_simulations")


class Statistics:
    """Episodes, seconds, rates, lag and waiting, between one log row and the next."""

    def __init__(
        self, counters: Counters, frames: int, clock: Callable[[], float]
    ) -> None:
        """Continues `counters` (of a checkpoint, or {}) at so many frames."""
        now = clock()
        self._clock = clock
        self._began = now - counters.get("seconds", 0.0)
        self._episodes = int(counters.get("episodes", 0))  # that ended so far
        self._returns = collections.deque[float](  # of the last ones
            counters.get("recent_returns", ()), maxlen=RECENT_EPISODES
        )
        self._row_at: float | None = None  # when the last row was made
        self._row_frames = frames  # its frames
        self._waited = 0.0  # seconds since then
        self._lags: list[float] = []  # since then
        self.unlogged = False  # an update finished since then
        self.failed_saves = 0  # since this process began
        self.queue_size: Callable[[], int] = int  # none yet: 0
        self._waiting_since: float | None = None
        self._before = {name: int(counters.get(name, 0)) for name in COUNTS}
        # Since this process began; of the run in rows and in what a checkpoint keeps.
        self.counts: dict[str, Callable[[], int]] = dict.fromkeys(COUNTS, int)
        # Metrics of the actors: their time, and how many act on other machines.
        self.actors: Callable[[], Mapping[str, float]] = dict
        self._diverged = 0
        self.counts["diverged_simulations"] = lambda: self._diverged

    def add(self, report: Report, updates: int) -> None:
        """Takes a batch's report when `updates` updates were started before it.

        A trajectory's `parameter_version` is that of its newest rows; the rows it
        shares with earlier ones were acted with older parameters, and do not count.
        """
        returns = np.asarray(report.episode_return)
        ended = returns[~np.isnan(returns)].tolist()
        self._episodes += len(ended)
        self._diverged += int(np.sum(report.diverged))
        self._returns.extend(ended)
        self._lags.append(updates - float(np.mean(report.parameter_version)))

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what the learner does while it has no batch."""
        began = self._waiting_since = self._clock()
        try:
            yield
        finally:
            self._waiting_since = None
            self._waited += self._clock() - began

    def waiting_seconds(self) -> float:
        """How long the learner has had no batch by now; from any thread."""
        since = self._waiting_since
        return 0.0 if since is None else self._clock() - since

    def counters(self) -> Counters:
        """The part that a checkpoint keeps."""
        return {
            "seconds": self._clock() - self._began,
            "episodes": self._episodes,
            "recent_returns": list(self._returns),
            **self._counts(),
        }

    def log_is_due(self, every_seconds: float) -> bool:
        """The first row is due at once, to show that the run works."""
        return self._row_at is None or self._clock() - self._row_at >= every_seconds

    def row(self, updates: int, frames: int) -> dict[str, float]:
        """The numbers since the last row; begins the next one.

        `frames_per_second` and `learner_waits` (the share of time without a batch: near
        1 the actors are too slow, near 0 the learner is) are NaN in the first row,
        which would only measure compilers. `lag` is updates between the parameters
        that acted and those that learn.
        """
        now = self._clock()
        seconds = math.nan if self._row_at is None else max(now - self._row_at, 1e-9)
        row = {
            "frames": frames,
            "updates": updates,
            "seconds": now - self._began,
            "frames_per_second": (frames - self._row_frames) / seconds,
            "episode_return": _mean(self._returns),
            "episodes": self._episodes,
            "lag": _mean(self._lags),
            "learner_waits": self._waited / seconds,
            "queue_size": self.queue_size(),
            "failed_saves": self.failed_saves,
            **self._counts(),
            **self.actors(),
        }
        self._row_at, self._row_frames = now, frames
        self._waited, self._lags, self.unlogged = 0.0, [], False
        return row

    def _counts(self) -> dict[str, float]:
        return {name: self._before[name] + self.counts[name]() for name in COUNTS}


class EnvironmentShare:
    """The share of the actors' time that their environments take, between two calls."""

    def __init__(self, times: Callable[[], Mapping[int, tuple[float, float]]]) -> None:
        """`times`: of each actor, seconds in its environments and all others so far."""
        self._times = times
        self._before: Mapping[int, tuple[float, float]] = {}

    def __call__(self) -> dict[str, float]:
        """{"environment_share": NaN} where no time has passed."""
        before, self._before = self._before, dict(self._times())
        spent = np.zeros(2)
        for actor, now in self._before.items():
            then = before.get(actor, (0.0, 0.0))
            # An actor that was started again begins with 0.
            spent += np.subtract(now, then) if now >= then else now
        total = float(spent.sum())
        share = float(spent[0]) / total if total > 0 else math.nan
        return {"environment_share": share}


def _mean(values: Collection[float]) -> float:
    """NaN where there are none."""
    return float(np.mean(list(values))) if values else math.nan
