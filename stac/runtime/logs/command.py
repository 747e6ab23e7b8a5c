"""The command that the user typed, for the last words of a run."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence

_COMMAND = "STAC_COMMAND"  # in the environment of all processes of a command's run


def typed() -> str:
    """A line for a shell that starts the run again; "" where Python started it."""
    return os.environ.get(_COMMAND, "")


@contextlib.contextmanager
def started_by(line: str) -> Iterator[None]:
    """Lets `typed` be this in the block, here and in the processes that it starts."""
    before = os.environ.get(_COMMAND)
    os.environ[_COMMAND] = line
    try:
        yield
    finally:
        if before is None:
            del os.environ[_COMMAND]
        else:
            os.environ[_COMMAND] = before


def line(program: str, arguments: Sequence[str]) -> str:
    """A line for a shell that starts this process again, as the user started it.

    Args:
      program: what the command calls itself, such as "launch.atari".
      arguments: of the program.
    """
    whole = list(sys.orig_argv)
    if whole[len(whole) - len(arguments) :] != list(arguments):  # called from Python
        return shlex.join(["python", "-m", program, *arguments])
    if len(whole) > 1 and whole[1] == shutil.which("stac"):
        whole[:2] = ["stac"]
    return shlex.join(whole)


def sibling(line: str, name: str) -> str:
    """Another command, started like a line: `.venv/bin/python -m stac report`."""
    first = (shlex.split(line) or ["python"])[0]
    start = ["stac"] if first == "stac" else [first, "-m", "stac"]
    return shlex.join([*start, name])
