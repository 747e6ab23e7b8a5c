"""Files that grow by whole records, stay below a size, and outlive a full disk."""

from __future__ import annotations

import contextlib
import os
import pathlib
import struct
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from stac.runtime.storage import disk


class Format(NamedTuple):
    """How a file is made of records."""

    records: Callable[[BinaryIO], Iterator[bytes]]  # those that are whole, in order
    whole: Callable[[int], int]  # the bytes of an open file without a torn last record
    header: bytes = b""  # what every file begins with


class Appender:
    """Appends records to a file, of each all or nothing.

    A disk that does not take them costs records and not the run: `say` gets a line
    when that begins and one when it is over. Before the file outgrows its limit, every
    second record is dropped from it: it covers the whole run, the far past coarsely.
    """

    def __init__(
        self,
        path: pathlib.Path,
        form: Format,
        say: Callable[[str], None],
        limit: float = 0.0,  # bytes; 0: none
    ) -> None:
        self._path = path
        self._form = form
        self._say = say
        self._limit = limit
        self._file: int | None = None
        self._lost = 0  # records, since writing began to fail

    def append(self, record: bytes) -> None:
        """Writes a record out; a disk that fails raises nothing here."""
        name = self._path.name
        try:
            self._append(record)
        except OSError as error:
            self._close()
            if self._lost == 0:
                why = disk.reason(error)
                self._say(f"{name} NOT WRITTEN: {why}; training goes on")
            self._lost += 1
        else:
            if self._lost:
                self._say(f"{name} is written again; rows lost: {self._lost}")
            self._lost = 0

    def close(self) -> None:
        """May be called twice."""
        self._close()
        if self._lost:
            self._say(f"{self._path.name}: the last rows are lost: {self._lost}")
        self._lost = 0

    def _append(self, record: bytes) -> None:
        size, before = os.fstat(self._opened()).st_size, -1
        while 0 < self._limit < size + len(record) and size != before:
            self._halve()
            size, before = os.fstat(self._opened()).st_size, size
        file = self._opened()
        left = memoryview(record if size else self._form.header + record)
        try:
            while left:
                left = left[os.write(file, left) :]
        except OSError:
            with contextlib.suppress(OSError):  # else the next opening does it
                os.ftruncate(file, size)
            raise

    def _opened(self) -> int:
        """The file, without a torn end; a new one where somebody removed it."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            self._close()
        if self._file is None:
            mode = os.O_RDWR | os.O_CREAT | os.O_APPEND
            self._file = os.open(self._path, mode, 0o644)
            whole = self._form.whole(self._file)
            if whole != os.fstat(self._file).st_size:
                os.ftruncate(self._file, whole)
        return self._file

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # some disks fail only here
                os.close(self._file)
            self._file = None

    def _halve(self) -> None:
        """Drops every second record; a reader sees the old file or the new one."""
        beside = self._path.with_name(f"{self._path.name}.tmp")
        try:
            with self._path.open("rb") as old, beside.open("wb") as new:
                for number, record in enumerate(self._form.records(old)):
                    if number % 2 == 0:
                        new.write(record)
            beside.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
        self._close()


def events(header: bytes) -> Format:
    """TensorBoard's files; the header is a record too."""
    return Format(_events, _whole_events, header)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    return (line for line in file if line.endswith(b"\n"))


def _whole_lines(file: int) -> int:
    """Searches backwards, for the file may be long."""
    kept, block = os.fstat(file).st_size, 1 << 16
    while kept > 0:
        start = max(0, kept - block)
        newline = os.pread(file, kept - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        kept = start
    return 0


def _events(file: BinaryIO) -> Iterator[bytes]:
    """TensorFlow's framing: 8 bytes of length, 4 of checksum, data, 4 of checksum."""
    while len(head := file.read(12)) == 12:
        size = _size_after(head)
        data = file.read(size)
        if len(data) < size:
            return
        yield head + data


def _whole_events(file: int) -> int:
    """Steps from record to record."""
    size, whole = os.fstat(file).st_size, 0
    while len(head := os.pread(file, 12, whole)) == 12:
        end = whole + 12 + _size_after(head)
        if end > size:
            break
        whole = end
    return whole


def _size_after(head: bytes) -> int:
    length: int = struct.unpack("<Q", head[:8])[0]
    return length + 4


LINES = Format(_lines, _whole_lines)
