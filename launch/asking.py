"""How every script here reads its command line, refuses a wrong one and ends."""

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
        super().__init__(**{"prog": pathlib.Path(sys.argv[0]).stem, **named})

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
    """Ends the program at a user's mistake: one line and status 2, as commands do.

    A list that the user asked for, such as a command's tasks, is printed.
    """
    try:
        yield
    except Help as text:
        print(text)
        parser.exit()
    except (ConfigError, OSError) as error:
        message = str(error)
        if isinstance(error, OSError) and error.filename:
            message = f"{error.filename}: {error.strerror}"
        parser.exit(USER_ERROR, f"{parser.prog}: {message}\n")


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
