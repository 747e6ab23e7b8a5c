"""Memory in pages of 2 MiB that is kept: XLA on a CPU allocates much, and often.

It takes the temporaries of every update from malloc, and gives them back. In pages of
4 KiB that go back to the kernel, clearing them again is up to half of an update on a
virtual machine (docs/performance.md). glibc reads what it is to do when a process
begins, from an environment variable; so a command sets it, and begins again.
"""

from __future__ import annotations

import os
import pathlib
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
_OLDEST = (2, 35)  # glibc that has the first
_KERNEL = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def begin_again() -> None:
    """Replaces this process by the same command with large pages; at most once.

    Returns where nothing is to be gained: the user has tuned malloc (as by
    GLIBC_TUNABLES=glibc.malloc.hugetlb=0), the C library is another one or older, or
    the kernel gives no such pages. To be called before anything else is done.
    """
    environment = wanted(os.environ, *machine())
    if environment is None or not sys.executable:
        return
    name, *arguments = sys.orig_argv
    if os.sep not in name and shutil.which(name) != sys.executable:
        name = sys.executable  # else as it was typed, as the last words show it
    os.execve(sys.executable, [name, *arguments], environment)


def machine() -> tuple[str, str]:
    """What the kernel and the C library say, as `wanted` reads it; "" for unknown."""
    try:
        return _KERNEL.read_text(), os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError, AttributeError):  # not Linux, not glibc
        return "", ""


def wanted(
    environment: Mapping[str, str], kernel: str, library: str
) -> dict[str, str] | None:
    """The environment with the tunables; None where malloc is tuned, or cannot be.

    Args:
      environment: of this process.
      kernel: such as "always [madvise] never"; pages that are "always" large need it,
        too, for glibc then aligns what it takes.
      library: such as "glibc 2.36".
    """
    name, _, version = library.partition(" ")
    known = name == "glibc" and tuple(map(int, version.split(".")[:2])) >= _OLDEST
    tunables = environment.get(VARIABLE, "")
    tuned = "glibc.malloc." in tunables or _BEGUN in environment
    if not known or "[never]" in kernel or tuned:
        return None
    ours = [f"{name}={value}" for name, value in TUNABLES.items()]
    both = ":".join([tunables, *ours] if tunables else ours)
    return {**environment, VARIABLE: both, _BEGUN: "1"}
