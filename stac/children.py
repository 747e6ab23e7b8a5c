"""Child processes: they find our modules, hear their parent, and end with it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator

# A terminal or a scheduler may send these to all of its processes at once.
FOR_THE_PARENT = {signal.SIGINT, signal.SIGHUP, signal.SIGUSR1}


def python_path() -> str:
    """The PYTHONPATH with which a child finds the modules that this process finds."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Holds FOR_THE_PARENT back from this thread, and for good from what it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FOR_THE_PARENT)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prctl(option: int, value: int | bytes) -> None:
    """Tells Linux about this process; options are in <linux/prctl.h>."""
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def name(title: str) -> None:
    """Names this process for ps and top, in at most 15 bytes."""
    if sys.platform == "linux":
        prctl(15, title.encode())  # PR_SET_NAME


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Has this process sent a signal when its parent ends, however that ends.

    SIGKILL also ends a process that is stopped, or whose simulator never returns to
    Python. To Linux the parent is the *thread* that started this process. Elsewhere
    this does nothing: a child should also read the end of a pipe from its parent.

    Args:
      parent: the process id of the parent. It may have ended before this call, and
        then the signal comes at once.
      number: of the signal.
    """
    if sys.platform == "linux":
        prctl(1, int(number))  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
