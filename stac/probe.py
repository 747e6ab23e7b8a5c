"""Questions for another process: what it loads, breaks or waits for is gone with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

# Linux ends it with the process that asked, however that ends.
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9  # of <linux/prctl.h>
_WITH_US = f"""
import ctypes, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {_SIGKILL})
"""


def ask(
    program: str, seconds: float, variables: Mapping[str, str | None] | None = None
) -> str | None:
    """Runs a Python program in a process of its own.

    Args:
      program: its text.
      seconds: how long it may take.
      variables: of its environment, besides ours; None takes one away.

    Returns:
      What it printed, without the last newline; None where it failed or took longer.
    """
    wanted = {**os.environ, **(variables or {})}
    environment = {name: value for name, value in wanted.items() if value is not None}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _WITH_US + program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return None
    return None if answer.returncode else answer.stdout.rstrip("\n")
