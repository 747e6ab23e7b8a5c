"""Where the numbers of a run go.

A logger is `write` and `close`. Values are scalars by name, with `frames` the abscissa:
{"frames": 1.2e6, "episode_return": 3.5, "hyperparameters/gamma/head_1": 0.99}. A value
that is not a number (no episode has ended yet) is null in a file and absent elsewhere.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pathlib
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from stac.runtime.storage import disk

Scalars = Mapping[str, float]
_LONGEST_ROW = 1 << 20  # bytes

# TensorBoard sorts sections by name: these come first, in a section of their own.
AT_A_GLANCE = ("episode_return", "episodes", "frames_per_second", "updates")


class Logger(Protocol):
    def write(self, values: Scalars) -> None:
        """Takes one row of scalars (Python, numpy or JAX)."""
        ...

    def close(self) -> None:
        """Everything written is out when this returns; may be called twice."""
        ...


class JsonLines:
    """Appends one JSON object a line; `frames` and counts stay whole numbers.

    The file is opened for each line, so a file that was removed is begun again. A line
    that was cut off, by a crash or a full disk, is removed: every line parses.
    """

    def __init__(self, path: str | pathlib.Path) -> None:
        self._path = pathlib.Path(path)

    def write(self, values: Scalars) -> None:
        """Writes the whole row or, where it raises OSError, nothing."""
        row = {name: _json_number(value) for name, value in values.items()}
        rest = json.dumps(row, allow_nan=False).encode() + b"\n"
        with self._path.open("a+b", buffering=0) as file:
            size = _end_of_last_line(file)
            file.truncate(size)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                with contextlib.suppress(OSError):  # otherwise the next write does it
                    file.truncate(size)
                raise

    def close(self) -> None:
        """Nothing is open between two rows."""


def rows(path: str | pathlib.Path) -> list[dict[str, Any]]:
    """The rows that `JsonLines` wrote, in order; a line that a crash cut is skipped."""
    return _parsed(pathlib.Path(path).read_bytes())


def last_row(path: str | pathlib.Path) -> dict[str, Any]:
    """The last of `rows`, read from the file's end; {} where there is none."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LONGEST_ROW))
        for line in reversed(file.read().splitlines()):
            if row := _parsed(line):
                return row[0]
    return {}


def _parsed(content: bytes) -> list[dict[str, Any]]:
    parsed = []
    for line in content.splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            parsed += [row] if isinstance(row, dict) else []
    return parsed


class TensorBoard:
    """TensorBoard events over frames; every start writes a file of its own.

    Names are those of `metrics.jsonl`, but for those without a section: `at_a_glance`,
    the first section, has those of `AT_A_GLANCE`, and `run` has the others.

    A file begins with a session start, at which TensorBoard forgets what an earlier
    process drew beyond the checkpoint that this one continues from.

    tensorboardX's `SummaryWriter` has a thread that ends where a disk is full, and then
    the caller waits for ever; its `RecordWriter` has none. A file that could not be
    written is left, and the next row begins another one.
    """

    def __init__(self, directory: str | pathlib.Path, frames: int = 0) -> None:
        """Draws in `directory`, after `frames`."""
        from tensorboardX import record_writer  # 0.4 s, and only a learner needs it
        from tensorboardX.proto import event_pb2, summary_pb2

        self._directory = pathlib.Path(directory)
        self._next_step = frames + 1  # the first that is not drawn yet
        self._open, self._messages = record_writer.RecordWriter, event_pb2
        self._summary = summary_pb2.Summary
        self._records: Any = None  # a RecordWriter
        self._path = self._directory  # of the file, once there is one
        self._rows = 0  # in this file

    def write(self, values: Scalars) -> None:
        """Raises OSError where the row cannot be written."""
        summary = self._summary(
            value=[
                self._summary.Value(tag=tag(name), simple_value=float(value))
                for name, value in values.items()
                if math.isfinite(value)
            ]
        )
        step = int(values["frames"])
        try:
            if self._records is None or not self._path.exists():
                self._begin()
            self._write(step=step, summary=summary)
            self._records.flush()
        except OSError:
            self._abandon()
            raise
        self._rows += 1
        self._next_step = max(self._next_step, step + 1)  # an evaluation's is older

    def close(self) -> None:
        if self._records is not None:
            records, self._records = self._records, None
            records.close()

    def _begin(self) -> None:
        self.close()
        # TensorBoard takes files in the order of their names, and others (wandb) read
        # the second and the host in them.
        place = f"{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        name = f"{place}.{time.monotonic_ns():020d}"
        self._path = self._directory / f"events.out.tfevents.{name}"
        self._rows = 0
        self._records = self._open(str(self._path))
        self._write(file_version="brain.Event:2")
        start = self._messages.SessionLog.START
        session_log = self._messages.SessionLog(status=start)
        self._write(step=self._next_step, session_log=session_log)

    def _write(self, **fields: Any) -> None:
        event = self._messages.Event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())

    def _abandon(self) -> None:
        """Leaves a file that cannot be written; one without a row is removed."""
        with contextlib.suppress(OSError):
            self.close()
        if self._rows == 0 and self._path != self._directory:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def tag(name: str) -> str:
    """Its name in TensorBoard: `at_a_glance/episodes`, `run/lag`, `loss/value`."""
    if "/" in name:
        return name
    return f"at_a_glance/{name}" if name in AT_A_GLANCE else f"run/{name}"


class Loggers:
    """Hands rows to several loggers; one that fails costs rows and not the run."""

    def __init__(
        self,
        loggers: Mapping[str, Logger],  # by the names of their files
        say: Callable[[str], None],  # takes a line when faults begin, and when they end
    ) -> None:
        self._loggers = loggers
        self._say = say
        self._lost = dict.fromkeys(loggers, 0)  # rows, since writing began to fail

    def write(self, values: Scalars) -> None:
        for name, logger in self._loggers.items():
            lost = self._lost[name]
            try:
                logger.write(values)
            except Exception as error:  # noqa: BLE001 - a user's may raise any
                if not lost:
                    why = disk.reason(error)
                    self._say(f"{name} NOT WRITTEN: {why}; training goes on")
                self._lost[name] += 1
            else:
                if lost:
                    self._say(f"{name} is written again; rows lost: {lost}")
                self._lost[name] = 0

    def close(self) -> None:
        for name, logger in self._loggers.items():
            with contextlib.suppress(Exception):  # each row was flushed when written
                logger.close()
            if lost := self._lost[name]:
                self._say(f"{name}: the last rows are lost: {lost}")
            self._lost[name] = 0


def _end_of_last_line(file: io.FileIO) -> int:
    """Bytes up to the last newline, which is not far from the end."""
    start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_ROW)
    file.seek(start)
    return start + file.readall().rfind(b"\n") + 1


def _json_number(value: float) -> float | int | None:
    """A Python number of the same kind; JSON knows neither NaN nor infinity."""
    number = np.asarray(value).item()
    return number if math.isfinite(number) else None
