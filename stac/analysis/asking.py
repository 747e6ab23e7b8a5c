"""What every script here answers to a wrong command line, and to Ctrl-C."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from stac.config import USER_ERROR, ConfigError
from stac.launch.flags import Help

INTERRUPTED = 130  # as a shell has it


class Parser(argparse.ArgumentParser):
    """Says in one line what was wrong with a flag."""

    def __init__(self, **named: Any) -> None:
        script = pathlib.Path(sys.argv[0]).stem
        super().__init__(prog=f"benchmarks.{script}", **named)

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR, f"{self.prog}: {message}: see --help\n")


def run(main: Callable[[], int | None]) -> int:
    """Returns an exit status; Ctrl-C ends without a traceback."""
    try:
        return main() or 0
    except KeyboardInterrupt:
        return INTERRUPTED


@contextlib.contextmanager
def in_one_line(parser: argparse.ArgumentParser) -> Iterator[None]:
    """A mistake of the user's ends with one line and status 2, as the commands do.

    What was asked of a command that it lists, such as its tasks, is printed.
    """
    try:
        yield
    except Help as text:
        print(text)
        parser.exit()
    except (ConfigError, OSError) as error:
        said = str(error)
        if isinstance(error, OSError) and error.filename:
            said = f"{error.filename}: {error.strerror}"
        parser.exit(USER_ERROR, f"{parser.prog}: {said}\n")


def row(name: str, cells: Iterable[str]) -> None:
    """Prints a line, each cell as soon as it is known."""
    begun = False
    try:
        for cell in cells:
            print("" if begun else name, cell, sep="  ", end="", flush=True)
            begun = True
    finally:
        if begun:
            print(flush=True)
