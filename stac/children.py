"""Child processes: they find our modules, and end with their parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def python_path() -> str:
    """The PYTHONPATH with which a child finds the modules that this process finds."""
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)


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
        PR_SET_PDEATHSIG = 1  # of <linux/prctl.h>
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
