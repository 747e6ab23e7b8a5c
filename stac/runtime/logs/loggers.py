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
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from stac.runtime.logs import appending

Scalars = Mapping[str, float]
Say = Callable[[str], None]  # takes a line for the person watching


class Logger(Protocol):
    def write(self, values: Scalars) -> None:
        """Takes one row of scalars (Python, numpy or JAX)."""
        ...

    def close(self) -> None:
        """Everything written is out when this returns; may be called twice."""
        ...


class JsonLines:
    """Appends one JSON object a line, each at once; `frames` and counts stay whole.

    A line that an earlier run was cut off in is removed: every line parses.
    """

    def __init__(
        self, path: str | pathlib.Path, say: Say = print, limit: float = 0.0
    ) -> None:
        """Args: the file; what is told of a full disk; bytes, see `Appender`."""
        path = pathlib.Path(path)
        self._rows = appending.Appender(path, appending.LINES, say, limit)

    def write(self, values: Scalars) -> None:
        row = {name: _json_number(value) for name, value in values.items()}
        self._rows.append(json.dumps(row, allow_nan=False).encode() + b"\n")

    def close(self) -> None:
        self._rows.close()


def rows(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows that `JsonLines` wrote, in order; what a crash left torn is skipped."""
    found = []
    for line in pathlib.Path(path).read_bytes().splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            found += [row] if isinstance(row, dict) else []
    return found


class TensorBoard:
    """TensorBoard events, drawn over frames; one file, which every start goes on with.

    tensorboardX's own writer has a thread that ends where a disk is full, and then
    whoever writes waits for ever: only its messages and checksums are used.
    """

    def __init__(
        self, directory: str | pathlib.Path, say: Say = print, limit: float = 0.0
    ) -> None:
        """Args: where; what is told of a full disk; bytes of a file, see `Appender`."""
        from tensorboardX import record_writer  # 0.4 s, and only a learner needs it
        from tensorboardX.proto import event_pb2, summary_pb2

        self._checksum = record_writer.masked_crc32c
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        now, host = time.time(), socket.gethostname()
        there = sorted(pathlib.Path(directory).glob("events.out.tfevents.*[0-9]"))
        name = f"events.out.tfevents.{now:.0f}.{host}.{os.getpid()}"
        path = there[-1] if there else pathlib.Path(directory) / name
        header = self._record(self._event(wall_time=now, file_version="brain.Event:2"))
        self._events = appending.Appender(path, appending.events(header), say, limit)

    def write(self, values: Scalars) -> None:
        finite = {
            name: float(value) for name, value in values.items() if math.isfinite(value)
        }
        summary = self._summary(
            value=[
                self._summary.Value(tag=name, simple_value=value)
                for name, value in finite.items()
            ]
        )
        event = self._event(
            wall_time=time.time(), step=int(values["frames"]), summary=summary
        )
        self._events.append(self._record(event))

    def close(self) -> None:
        self._events.close()

    def _record(self, event: Any) -> bytes:
        data = event.SerializeToString()
        length = struct.pack("<Q", len(data))
        sums = [struct.pack("<I", self._checksum(part)) for part in (length, data)]
        return length + sums[0] + data + sums[1]


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

    def __init__(
        self, episodes: int = 0, recent: Iterable[float] = (), window: int = 100
    ) -> None:
        """Begins where a checkpoint left off.

        Args:
          episodes: that ended so far.
          recent: `recent` of then.
          window: how many make the mean.
        """
        self.episodes = episodes
        self._recent = collections.deque(recent, maxlen=window)

    def add(self, episode_return: np.ndarray) -> None:
        """Takes a `Report.episode_return`: [B, n], NaN where no episode ended."""
        ended = np.asarray(episode_return)
        ended = ended[~np.isnan(ended)]
        self.episodes += ended.size
        self._recent.extend(ended.tolist())

    @property
    def recent(self) -> list[float]:
        """What the mean is of, the oldest first."""
        return list(self._recent)

    @property
    def mean(self) -> float:
        """NaN before the first episode's end."""
        return float(np.mean(self._recent)) if self._recent else math.nan


def _json_number(value: float) -> float | int | None:
    """A Python number of the same kind; JSON knows neither NaN nor infinity."""
    number = np.asarray(value).item()
    return number if math.isfinite(number) else None
