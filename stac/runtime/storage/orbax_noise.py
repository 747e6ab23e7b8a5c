"""Keeps off the screen what Orbax says of its doings and what it raises anyway."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

# Its threads say what they fail of, and then whoever waits for them gets it raised.
_RAISED_TOO = "/futures/future.py"


class _ErrorsOnly(logging.Filter):
    """Orbax narrates every save through absl's logger; its errors still pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        told = record.levelno >= logging.ERROR
        return "/orbax/" not in record.pathname or (
            told and not record.pathname.endswith(_RAISED_TOO)
        )


class _WithoutClosedLoops:
    """A `sys.unraisablehook` that lets one message go.

    Orbax gives up at the first array that it cannot read or write and closes its event
    loop; reads and writes still on their way find it closed in a thread of theirs.
    """

    def __init__(self, otherwise: Callable[[Any], object]) -> None:
        self._otherwise = otherwise

    def __call__(self, told: Any) -> None:
        error = told.exc_value
        if not (isinstance(error, RuntimeError) and "loop is closed" in str(error)):
            self._otherwise(told)


def quiet() -> None:
    """May be called again."""
    logger = logging.getLogger("absl")  # made by absl, which Orbax has imported
    if not any(isinstance(one, _ErrorsOnly) for one in logger.filters):
        logger.addFilter(_ErrorsOnly())
    if not isinstance(sys.unraisablehook, _WithoutClosedLoops):
        sys.unraisablehook = _WithoutClosedLoops(sys.unraisablehook)
