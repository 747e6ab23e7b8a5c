"""Disks: whether there is room, why a write failed, and files written whole."""

from __future__ import annotations

import errno
import os
import pathlib
import re
import shutil


def check_room(directory: pathlib.Path, needed: int) -> None:
    """Raises the OSError of a full disk where fewer than `needed` bytes are free."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise OSError(
            errno.ENOSPC,
            f"{os.strerror(errno.ENOSPC)}: {free / 2**20:.0f} MiB are free,"
            f" {needed / 2**20:.0f} MiB are needed",
        )


def reason(error: BaseException) -> str:
    """One short line; the system's own words where they can be found."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = re.search(r"\[OS error \d+: [A-Z]+ ([^\]]+)\]", str(error))  # TensorStore's
    first = str(error).split("\n", 1)[0][:120]
    return words[1] if words else f"{type(error).__name__}: {first}"


def write_whole(path: pathlib.Path, text: str) -> None:
    """Writes a file whole or not at all: beside it, flushed, renamed."""
    beside = path.with_name(f"{path.name}.tmp")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
