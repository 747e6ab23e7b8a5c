"""Child processes that end with their parent, and questions to such a process."""

from __future__ import annotations

import ctypes
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Mapping


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


def ask(
    program: str, seconds: float, variables: Mapping[str, str | None] | None = None
) -> str | None:
    """Runs a short Python program in a process of its own.

    What the program loads, breaks or waits for is gone with its process.

    Args:
      program: the text of the program.
      seconds: how long it may take.
      variables: changes to the environment variables; None removes one.

    Returns:
      What the program printed, without the last newline; None where it failed or took
      too long.
    """
    wanted = {**os.environ, **(variables or {})}
    environment = {name: value for name, value in wanted.items() if value is not None}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _preamble() + program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return None if answer.returncode else answer.stdout.rstrip("\n")


def _preamble() -> str:
    """`die_with_parent` as text: the program shall not have to import this package."""
    return (
        "import ctypes, os, signal, sys\n"
        f"{inspect.getsource(die_with_parent)}"
        f"die_with_parent({os.getpid()})\n"
    )
