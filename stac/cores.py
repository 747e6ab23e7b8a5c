"""The cores that this process may use at a time."""

from __future__ import annotations

import contextlib
import os
import pathlib

_QUOTA = pathlib.Path("/sys/fs/cgroup/cpu.max")  # microseconds of cores in a period


def usable() -> int:
    """Their number; a container may have a quota below the machine's."""
    if hasattr(os, "sched_getaffinity"):  # Linux
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000": there is none
        quota, period = map(int, _QUOTA.read_text().split())
        cores = min(cores, max(1, -(-quota // period)))
    return cores
