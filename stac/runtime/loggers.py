"""Where the numbers of a run go: small loggers that wrap small loggers.

A logger is `write` and `close`. Values are scalars by name, with `frames` the abscissa:
{"frames": 1.2e6, "episode_return": 3.5, "hyperparameters/gamma/head_1": 0.99}. A value
that is not a number (no episode has ended yet) is null in a file and absent elsewhere.
"""

from __future__ import annotations

import collections
import contextlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

Scalars = Mapping[str, float]


class Logger(Protocol):
    def write(self, values: Scalars) -> None:
        """Takes one row of scalars (Python, numpy or JAX)."""
        ...

    def close(self) -> None:
        """Everything written is out when this returns; may be called twice."""
        ...


class JsonLines:
    """Appends one JSON object a line, each flushed; `frames` and counts stay whole.

    A line that an earlier run was cut off in is removed on opening: every line parses.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self._file = open(path, "ab+")  # noqa: SIM115 - closed in close()
        _drop_torn_line(self._file.fileno())

    def write(self, values: Scalars) -> None:
        row = {name: _json_number(value) for name, value in values.items()}
        self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TensorBoard:
    """TensorBoard events, drawn over frames."""

    def __init__(self, directory: str | pathlib.Path) -> None:
        import tensorboardX  # 0.4 s, and only a learner needs it

        self._writer = tensorboardX.SummaryWriter(str(directory), flush_secs=30)

    def write(self, values: Scalars) -> None:
        step = int(values["frames"])
        for name, value in values.items():
            if math.isfinite(value):
                # 0-d arrays: from a float it builds [1]-arrays, which NumPy warns of.
                self._writer.add_scalar(name, np.asarray(value), step)

    def close(self) -> None:
        self._writer.close()


class Tee:
    """Writes to several loggers; each is closed even where another fails."""

    def __init__(self, *loggers: Logger) -> None:
        self._loggers = loggers

    def write(self, values: Scalars) -> None:
        for logger in self._loggers:
            logger.write(values)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for logger in self._loggers:
                stack.callback(logger.close)


class Returns:
    """The recent return: the mean over the last 100 episodes that ended anywhere."""

    def __init__(self, episodes: int = 0, window: int = 100) -> None:
        self.episodes = episodes  # ended so far; begins where a checkpoint left off
        self._recent: collections.deque[float] = collections.deque(maxlen=window)

    def add(self, episode_return: np.ndarray) -> None:
        """Takes a `Report.episode_return`: [B, n], NaN where no episode ended."""
        ended = np.asarray(episode_return)
        ended = ended[~np.isnan(ended)]
        self.episodes += ended.size
        self._recent.extend(ended.tolist())

    @property
    def mean(self) -> float:
        """NaN before the first episode's end."""
        return float(np.mean(self._recent)) if self._recent else math.nan


def _json_number(value: float) -> float | int | None:
    """A Python number of the same kind; JSON knows neither NaN nor infinity."""
    number = np.asarray(value).item()
    return number if math.isfinite(number) else None


def _drop_torn_line(file: int) -> None:
    """Truncates an appended-to file to the end of its last whole line."""
    end = os.fstat(file).st_size
    kept, block = end, 1 << 16
    while kept > 0:
        start = max(0, kept - block)
        newline = os.pread(file, kept - start, start).rfind(b"\n")
        kept = start + newline + 1 if newline >= 0 else start
        if newline >= 0:
            break
    if kept != end:
        os.ftruncate(file, kept)
