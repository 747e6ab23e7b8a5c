"""Loggers: rows arrive whole, in order, and nothing stays open."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from stac.runtime.logs import loggers


class Recorder:
    """A logger that remembers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.rows: list[Any] = []
        self.closed = 0
        self._error = error

    def write(self, values: loggers.Scalars) -> None:
        self.rows.append(dict(values))

    def close(self) -> None:
        self.closed += 1
        if self._error:
            raise self._error


def test_every_line_is_json_and_keeps_its_kind(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logger = loggers.JsonLines(path)
    logger.write({"frames": np.int32(7), "loss": jnp.float32(0.5), "updates": 3})
    assert path.read_text().count("\n") == 1  # out before close
    logger.write({"episode_return": math.nan, "lag": np.inf, "loss": -np.inf})
    logger.close()
    logger.close()
    first, second = path.read_text().splitlines()
    assert json.loads(first) == {"frames": 7, "loss": 0.5, "updates": 3}
    assert '"frames": 7,' in first
    assert json.loads(second, parse_constant=pytest.fail) == {
        "episode_return": None,
        "lag": None,
        "loss": None,
    }


@pytest.mark.parametrize(
    ("there", "kept"),
    [
        ('{"a": 1}\n{"a": 2}\n', 2),
        ('{"a": 1}\n{"a":', 1),
        ('{"a":', 0),
        ("", 0),
        ('{"a": 1}\n{"a": "' + 200_000 * "x", 1),
    ],
)
def test_a_resumed_run_appends_and_drops_the_line_it_was_cut_in(
    tmp_path: pathlib.Path, there: str, kept: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(there)
    logger = loggers.JsonLines(path)
    logger.write({"a": 9})
    logger.close()
    rows = [json.loads(line)["a"] for line in path.read_text().splitlines()]
    assert rows == [1, 2][:kept] + [9]


def test_tensorboard_gets_finite_values_over_frames(tmp_path: pathlib.Path) -> None:
    logger = loggers.TensorBoard(tmp_path)
    logger.write({"frames": 640, "episode_return": math.nan, "loss": jnp.float32(0.25)})
    logger.write({"frames": 1280, "hyperparameters/gamma/head_1": 0.99})
    logger.close()
    logger.close()
    events = _tensorboard_scalars(tmp_path)
    assert events["loss"] == [(640, 0.25)]
    assert events["hyperparameters/gamma/head_1"] == [(1280, pytest.approx(0.99))]
    assert "episode_return" not in events


def test_every_start_goes_on_with_the_one_file(tmp_path: pathlib.Path) -> None:
    for frames in (640, 1280, 1920):
        logger = loggers.TensorBoard(tmp_path)
        logger.write({"frames": frames, "loss": 0.5})
        logger.close()
    assert len(list(tmp_path.iterdir())) == 1
    assert _tensorboard_scalars(tmp_path)["loss"] == [
        (640, 0.5),
        (1280, 0.5),
        (1920, 0.5),
    ]


def test_tensorboards_own_reader_finds_every_sum_right(tmp_path: pathlib.Path) -> None:
    reader = pytest.importorskip("tensorboard.compat.tensorflow_stub.pywrap_tensorflow")
    from tensorboardX.proto import event_pb2

    logger = loggers.TensorBoard(tmp_path, limit=400)
    for frames in range(100):
        logger.write({"frames": frames, "loss": frames / 2})
    logger.close()
    (path,) = tmp_path.iterdir()
    records = reader.PyRecordReader_New(str(path))
    events = []
    with contextlib.suppress(reader.errors.OutOfRangeError):  # the end
        while True:
            records.GetNext()  # raises where a sum is wrong
            events.append(event_pb2.Event.FromString(records.record()))
    assert events[0].file_version == "brain.Event:2"
    assert [event.step for event in events[-2:]] == [98, 99]


def test_a_full_disk_stops_no_logger(tmp_path: pathlib.Path) -> None:
    """A directory that is not there stands for it; the bytes are Appender's matter."""
    said: list[str] = []
    logger = loggers.Tee(
        loggers.JsonLines(tmp_path / "gone" / "metrics.jsonl", said.append),
        loggers.TensorBoard(tmp_path / "gone", said.append),
    )
    for frames in range(100):
        logger.write({"frames": frames})
    assert len(said) == 2
    (tmp_path / "gone").mkdir()
    logger.write({"frames": 100})
    logger.close()
    assert len(said) == 4
    assert loggers.rows(tmp_path / "gone" / "metrics.jsonl") == [{"frames": 100}]
    assert _tensorboard_scalars(tmp_path / "gone") == {"frames": [(100, 100.0)]}


def test_torn_lines_are_skipped_in_reading(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2\n\xff\xfe\n3\n\n{"a": 4}\n{"a": 5')
    assert loggers.rows(path) == [{"a": 1}, {"a": 4}]


def test_a_limit_keeps_the_first_row_and_the_last(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    logger = loggers.JsonLines(path, pytest.fail, limit=1000)
    for frames in range(500):
        logger.write({"frames": frames})
    logger.close()
    found = [row["frames"] for row in loggers.rows(path)]
    assert (found[0], found[-1]) == (0, 499)
    assert 20 < len(found) < 100
    assert path.stat().st_size <= 1000


def test_opening_and_closing_loggers_leaks_no_files(tmp_path: pathlib.Path) -> None:
    def open_and_close() -> None:
        logger = loggers.Tee(
            loggers.JsonLines(tmp_path / "m.jsonl"), loggers.TensorBoard(tmp_path)
        )
        logger.write({"frames": 1})
        logger.close()

    open_and_close()
    before = len(os.listdir("/proc/self/fd"))
    open_and_close()
    open_and_close()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_tee_writes_to_all_and_closes_all_though_one_fails() -> None:
    first, second = Recorder(), Recorder(OSError("disk full"))
    third = Recorder()
    logger = loggers.Tee(first, second, third)
    logger.write({"frames": 1})
    with pytest.raises(OSError, match="disk full"):
        logger.close()
    assert [len(one.rows) for one in (first, second, third)] == [1, 1, 1]
    assert [one.closed for one in (first, second, third)] == [1, 1, 1]


def test_the_recent_return_is_the_mean_of_the_last_hundred_episodes() -> None:
    returns = loggers.Returns(episodes=5)
    assert math.isnan(returns.mean)
    returns.add(np.full((2, 3), np.nan, np.float32))
    assert (returns.episodes, math.isnan(returns.mean)) == (5, True)
    returns.add(np.array([[np.nan, 1000.0], [np.nan, np.nan]], np.float32))
    assert (returns.episodes, returns.mean) == (6, 1000.0)
    returns.add(np.arange(100.0).reshape(10, 10))
    assert (returns.episodes, returns.mean) == (106, 49.5)


def _tensorboard_scalars(directory: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Reads event files by hand: the record framing is 8 length, 4 crc, data, 4 crc."""
    from tensorboardX.proto import event_pb2

    found: dict[str, list[tuple[int, float]]] = {}
    for path in directory.glob("events.out.tfevents.*"):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                entry = (event.step, value.simple_value)
                found.setdefault(value.tag, []).append(entry)
    return found
