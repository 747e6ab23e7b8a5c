"""Waiting for what a thread or a process will bring about."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(
    holds: Callable[[], T],
    seconds: float = 10.0,
    why: Callable[[], object] = str,
    every: float = 0.02,
    over: Callable[[], object] = bool,
) -> T:
    """Waits until it holds; returns what was true.

    Args:
      holds: is asked again and again.
      seconds: after which the test fails.
      why: tells what there was instead, for the failure.
      every: seconds between two questions.
      over: whether it can hold no more, so that the test fails at once.
    """
    deadline = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < deadline, why()
        assert not over(), why()
        time.sleep(every)
    return answer
