"""Loggers: rows arrive whole, in order, and nothing stays open."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import resource
import shutil
import sys
import types
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pytest

from stac.runtime.logs import loggers


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
    ("before", "kept"),
    [
        ('{"a": 1}\n{"a": 2}\n', 2),
        ('{"a": 1}\n{"a":', 1),
        ('{"a":', 0),
        ("", 0),
        ('{"a": 1}\n{"a": "' + 200_000 * "x", 1),
    ],
)
def test_a_resumed_run_appends_and_drops_the_line_it_was_cut_in(
    tmp_path: pathlib.Path, before: str, kept: int
) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(before)
    logger = loggers.JsonLines(path)
    logger.write({"a": 9})
    logger.close()
    rows = [json.loads(line)["a"] for line in path.read_text().splitlines()]
    assert rows == [1, 2][:kept] + [9]


def test_tensorboard_gets_finite_values_over_frames(tmp_path: pathlib.Path) -> None:
    logger = loggers.TensorBoard(tmp_path)
    logger.write({"frames": 640, "episode_return": math.nan, "lag": jnp.float32(0.25)})
    logger.write({"frames": 2**31, "hyperparameters/gamma/head_1": 0.99})
    logger.close()
    logger.close()
    scalars = scalars_in_files(tmp_path)
    assert scalars["run/lag"] == [(640, 0.25)]
    assert scalars["hyperparameters/gamma/head_1"] == [(2**31, pytest.approx(0.99))]
    assert "at_a_glance/episode_return" not in scalars


def test_people_see_returns_and_speed_first_in_tensorboard() -> None:
    names = [*loggers.AT_A_GLANCE, "actor_restarts", "entropy", "hyperparameters/x"]
    tags = sorted(loggers.tag(name) for name in reversed(names))
    assert tags[0] == "at_a_glance/episode_return"
    assert [tag.split("/")[0] for tag in tags] == [
        *4 * ["at_a_glance"],
        "hyperparameters",
        *2 * ["run"],
    ]


def test_tensorboard_forgets_what_a_killed_run_drew_after_its_checkpoint(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_tensorflow = "tensorboard.compat.notf"  # whose import takes many seconds
    monkeypatch.setitem(
        sys.modules, without_tensorflow, types.ModuleType(without_tensorflow)
    )
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    for start, rows in ((0, (100, 200, 300, 400)), (200, (250, 350)), (350, (450,))):
        logger = loggers.TensorBoard(tmp_path, start)
        for frames in rows:
            logger.write({"frames": frames, "lag": start})
        logger.close()
    assert len(list(tmp_path.iterdir())) == 3
    reader = accumulator.EventAccumulator(str(tmp_path))
    reader.Reload()
    drawn = [(event.step, event.value) for event in reader.Scalars("run/lag")]
    assert drawn == [(100, 0), (200, 0), (250, 200), (350, 200), (450, 350)]


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system writes no file beyond so many bytes, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.faults
def test_a_row_that_does_not_fit_leaves_no_part_of_itself(
    tmp_path: pathlib.Path,
) -> None:
    path = tmp_path / "metrics.jsonl"
    lines: list[str] = []
    logger = loggers.Loggers({path.name: loggers.JsonLines(path)}, lines.append)
    logger.write({"frames": 1})
    before = path.read_bytes()
    with largest_file(len(before) + 7):
        for frames in (2, 3):
            logger.write({"frames": frames})
    assert path.read_bytes() == before
    assert lines == ["metrics.jsonl NOT WRITTEN: File too large; training goes on"]
    logger.write({"frames": 4})
    assert lines[1:] == ["metrics.jsonl is written again; rows lost: 2"]
    assert loggers.rows(path) == [{"frames": 1}, {"frames": 4}]
    with largest_file(0):
        logger.write({"frames": 5})
    logger.close()
    logger.close()
    assert lines[3:] == ["metrics.jsonl: the last rows are lost: 1"]


@pytest.mark.faults
def test_tensorboard_goes_on_in_another_file_after_one_that_cannot_be_written(
    tmp_path: pathlib.Path,
) -> None:
    logger = loggers.TensorBoard(tmp_path)
    logger.write({"frames": 1, "lag": 1})
    (path,) = tmp_path.iterdir()
    with largest_file(path.stat().st_size + 20), pytest.raises(OSError, match="large"):
        logger.write({"frames": 2, "lag": 2})
    with largest_file(20):
        for frames in (3, 4):
            with pytest.raises(OSError, match="File too large"):
                logger.write({"frames": frames, "lag": frames})
    assert list(tmp_path.iterdir()) == [path]
    logger.write({"frames": 5, "lag": 5})
    logger.close()
    assert scalars_in_files(tmp_path)["run/lag"] == [(1, 1), (5, 5)]


@pytest.mark.faults
def test_a_disk_that_is_gone_for_a_while_stops_no_logger(
    tmp_path: pathlib.Path,
) -> None:
    lines: list[str] = []
    place = tmp_path / "disk"
    rows, events = loggers.JsonLines(place / "m.jsonl"), loggers.TensorBoard(place)
    logger = loggers.Loggers({"m.jsonl": rows, "events": events}, lines.append)
    place.mkdir()
    logger.write({"frames": 0})
    shutil.rmtree(place)
    for frames in range(1, 100):
        logger.write({"frames": frames})
    assert len(lines) == 2
    place.mkdir()
    logger.write({"frames": 100})
    logger.close()
    assert len(lines) == 4
    assert loggers.rows(place / "m.jsonl") == [{"frames": 100}]
    assert scalars_in_files(place) == {"run/frames": [(100, 100.0)]}


def test_torn_lines_are_skipped_in_reading(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": 2\n\xff\xfe\n3\n\n{"a": 4}\n{"a": 5')
    assert loggers.rows(path) == [{"a": 1}, {"a": 4}]


def test_opening_and_closing_loggers_leaks_no_files(tmp_path: pathlib.Path) -> None:
    def open_and_close() -> None:
        logger = loggers.TensorBoard(tmp_path)
        logger.write({"frames": 1})
        logger.close()

    open_and_close()
    before = len(os.listdir("/proc/self/fd"))
    open_and_close()
    open_and_close()
    assert len(os.listdir("/proc/self/fd")) <= before


def scalars_in_files(directory: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """Reads event files by hand: a record is 8 of length, 4 of sum, data, 4 of sum."""
    from tensorboardX.proto import event_pb2

    scalars: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while len(data) >= 16 + (size := int.from_bytes(data[:8], "little")):
            event = event_pb2.Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                entry = (event.step, value.simple_value)
                scalars.setdefault(value.tag, []).append(entry)
    return scalars
