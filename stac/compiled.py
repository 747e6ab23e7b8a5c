"""Compiled programs are kept between runs: the second start of a run compiles nothing.

JAX has a cache on disk, and turns it on where an environment variable names a folder.
It reads that when it is imported, and so do the processes that a run starts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_SHORTEST = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
_SHORTEST_SECONDS = "0.3"  # of compiling that is kept; JAX's default is 1
_MOST_BYTES = 2**30  # of a folder; the oldest programs are left behind


def keep() -> None:
    """Names a folder of the user's cache, unless the user names one; "" is for none.

    Every kind of CPU has its own, as home directories are shared between machines.
    """
    if VARIABLE in os.environ:
        return
    with contextlib.suppress(OSError, RuntimeError):  # read-only, or there is no home
        folder = _cache() / "stac" / "compiled" / _cpu()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            os.environ[VARIABLE] = str(folder)
            os.environ.setdefault(_SHORTEST, _SHORTEST_SECONDS)
            _forget_oldest(folder)  # last, as another command may be at it


def _cache() -> pathlib.Path:
    """The user's folder for what can be made again (XDG Base Directory)."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return pathlib.Path(named) if named else pathlib.Path.home() / ".cache"


def _cpu() -> str:
    """The model of the CPU and what it can do, as a short name; "any" if unknown."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "any"
    named = ("model name", "flags", "Features", "CPU ")  # of x86; of Arm
    parts = sorted({line for line in lines if line.startswith(named)})
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _forget_oldest(folder: pathlib.Path) -> None:
    kept = sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    size = 0
    for path in kept:
        size += path.stat().st_size
        if size > _MOST_BYTES:
            path.unlink(missing_ok=True)
