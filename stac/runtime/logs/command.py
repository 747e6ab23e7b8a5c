"""The command that the user typed, for the last words of a run."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shlex
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
    script = pathlib.Path(whole[1]).name if len(whole) > 1 else ""
    return shlex.join(["stac", *whole[2:]] if script == "stac" else whole)


def sibling(line: str, name: str) -> str:
    """Another command, started in the same way: `python -m launch.report`."""
    parts = shlex.split(line)
    if parts[:1] == ["stac"]:
        return f"stac {name}"
    if "-m" not in parts[:-1]:
        return f"python -m stac.launch.{name}"
    module = parts.index("-m") + 1
    start, package = parts[:module], parts[module].rpartition(".")[0]
    if not package:  # python -m stac atari
        return shlex.join([*start, parts[module], name])
    return shlex.join([*start, f"{package}.{name}"])
