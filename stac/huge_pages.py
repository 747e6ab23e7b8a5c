"""Memory in pages of 2 MiB that is kept: XLA on a CPU allocates much, and often.

It takes the temporaries of every update from malloc, and gives them back. In pages of
4 KiB that go back to the kernel, clearing them again is up to half of an update on a
virtual machine (docs/performance.md). glibc reads what it is to do when a process
begins, from an environment variable; so a command sets it, and begins again.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping

VARIABLE = "GLIBC_TUNABLES"
TUNABLES = {
    "glibc.malloc.hugetlb": 1,  # large pages
    "glibc.malloc.trim_threshold": 2**40,  # bytes at the end of the heap that are kept
    "glibc.malloc.mmap_threshold": 2**32,  # smaller blocks are of the heap
}
_BEGUN = "STAC_BEGUN_AGAIN"  # glibc takes its variable from a privileged program


def begin_again() -> None:
    """Replaces this process by the same command with large pages; at most once.

    Returns where the user has tuned malloc, as by
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0. To be called before anything else is done.
    """
    environment = wanted(os.environ)
    if environment is None or sys.platform != "linux" or not sys.executable:
        return
    name, *arguments = sys.orig_argv
    if os.sep not in name and shutil.which(name) != sys.executable:
        name = sys.executable  # else as it was typed, as the last words show it
    os.execve(sys.executable, [name, *arguments], environment)


def wanted(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The environment with the tunables; None where malloc is tuned.

    A C library passes over those that it does not know, and a kernel without large
    pages gives small ones.
    """
    tunables = environment.get(VARIABLE, "")
    if "glibc.malloc." in tunables or _BEGUN in environment:
        return None
    ours = [f"{name}={value}" for name, value in TUNABLES.items()]
    both = ":".join([tunables, *ours] if tunables else ours)
    return {**environment, VARIABLE: both, _BEGUN: "1"}
