"""Appenders: whole records or none, a full disk is outlived, a limit is kept."""

from __future__ import annotations

import errno
import itertools
import os
import pathlib
import random

import pytest

from stac.runtime.logs import appending
from stac.runtime.logs.appending import LINES, Appender

pytestmark = pytest.mark.faults


class SmallDisk:
    """Takes so many bytes more, and of the write that is too long a part."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = 10**9
        self._write = os.write
        monkeypatch.setattr(appending.os, "write", self.write)

    def write(self, file: int, data: memoryview) -> int:
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._write(file, data[: self.room])
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SmallDisk:
    return SmallDisk(monkeypatch)


def event(data: bytes) -> bytes:
    return len(data).to_bytes(8, "little") + b"SUM1" + data + b"SUM2"


HEADER = event(b"header")
# The format, a record of so many bytes, what the file begins with.
FORMATS = [
    pytest.param(LINES, lambda n: b"x" * (n - 1) + b"\n", b"", id="lines"),
    pytest.param(
        appending.events(HEADER), lambda n: event(b"\n" * (n - 16)), HEADER, id="events"
    ),
]


@pytest.mark.parametrize(("form", "record", "header"), FORMATS)
def test_a_record_that_does_not_fit_leaves_no_part_and_one_line_is_said(
    tmp_path: pathlib.Path, disk: SmallDisk, form, record, header
) -> None:
    said: list[str] = []
    appender = Appender(tmp_path / "file", form, said.append)
    appender.append(record(30))
    disk.room = 40
    for size in (35, 36, 20):  # what is cut off again does not free this disk
        appender.append(record(size))
        disk.room = min(disk.room, 10)
    assert (tmp_path / "file").read_bytes() == header + record(30) + record(35)
    assert said == ["file NOT WRITTEN: No space left on device; training goes on"]
    disk.room = 1000
    appender.append(record(50))
    appender.append(record(51))
    assert said[1:] == ["file is written again; rows lost: 2"]
    disk.room = 7
    appender.append(record(52))
    appender.close()
    appender.close()
    assert said[2:] == [
        "file NOT WRITTEN: No space left on device; training goes on",
        "file: the last rows are lost: 1",
    ]
    whole = header + b"".join(map(record, (30, 35, 50, 51)))
    assert (tmp_path / "file").read_bytes() == whole


@pytest.mark.parametrize(("form", "record", "header"), FORMATS)
def test_a_torn_record_that_cannot_be_cut_off_is_before_the_next_is_written(
    tmp_path: pathlib.Path,
    disk: SmallDisk,
    monkeypatch: pytest.MonkeyPatch,
    form,
    record,
    header,
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    appender = Appender(tmp_path / "file", form, [].append)
    appender.append(record(40))
    disk.room = 7
    with monkeypatch.context() as patch:
        patch.setattr(appending.os, "ftruncate", fail)
        appender.append(record(41))
    assert (tmp_path / "file").stat().st_size == len(header) + 47
    disk.room = 1000
    appender.append(record(42))
    appender.close()
    assert (tmp_path / "file").read_bytes() == header + record(40) + record(42)


@pytest.mark.parametrize(("form", "record", "header"), FORMATS)
@pytest.mark.parametrize("size", [20, 900])
def test_a_file_keeps_its_limit_and_the_whole_course_of_the_run(
    tmp_path: pathlib.Path, form, record, header, size: int
) -> None:
    chance = random.Random(size)
    path = tmp_path / "file"
    appender = Appender(path, form, pytest.fail, limit=2000)
    sizes = [20 + chance.randrange(size) for _ in range(600)]
    for number, length in enumerate(sizes):
        appender.append(record(length))
        assert path.stat().st_size <= 2000
        assert path.read_bytes().endswith(record(length)), number
    appender.close()
    assert path.stat().st_size > 500
    with path.open("rb") as file:
        kept = list(form.records(file))
    assert kept[0] == (header or record(sizes[0]))
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_what_is_kept_is_denser_the_later_it_is(tmp_path: pathlib.Path) -> None:
    appender = Appender(tmp_path / "file", LINES, pytest.fail, limit=1000)
    for number in range(10_000):
        appender.append(b"%09d\n" % number)
    appender.close()
    kept = [int(line) for line in (tmp_path / "file").read_text().split()]
    gaps = [after - before for before, after in itertools.pairwise(kept)]
    assert kept[0] == 0
    assert kept[-1] == 9999
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] == 1


def test_without_a_limit_nothing_is_dropped(tmp_path: pathlib.Path) -> None:
    appender = Appender(tmp_path / "file", LINES, pytest.fail)
    for _ in range(1000):
        appender.append(b"a line\n")
    appender.close()
    assert (tmp_path / "file").read_bytes() == 1000 * b"a line\n"


def test_thinning_that_fails_loses_a_record_and_nothing_else(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    said: list[str] = []
    appender = Appender(tmp_path / "file", LINES, said.append, limit=20)
    appender.append(b"one\n")
    appender.append(b"two\n")
    appender.append(b"three\n")
    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", fail)
        appender.append(b"lost, there is no room\n"[-9:])
    assert [one.name for one in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"one\ntwo\nthree\n"
    appender.append(b"four four\n")
    appender.close()
    assert (tmp_path / "file").read_bytes() == b"one\nthree\nfour four\n"
    assert said[-1] == "file is written again; rows lost: 1"


def test_a_file_that_somebody_removed_is_begun_again(tmp_path: pathlib.Path) -> None:
    said: list[str] = []
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "file"
    appender = Appender(path, appending.events(HEADER), said.append)
    appender.append(event(b"1"))
    path.unlink()
    appender.append(event(b"2"))
    assert path.read_bytes() == HEADER + event(b"2")
    path.unlink()
    path.parent.rmdir()
    appender.append(event(b"3"))
    path.parent.mkdir()
    appender.append(event(b"4"))
    appender.close()
    assert path.read_bytes() == HEADER + event(b"4")
    assert said == [
        "file NOT WRITTEN: No such file or directory; training goes on",
        "file is written again; rows lost: 1",
    ]
