"""How every script here reads its command line, refuses a wrong one and ends."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from stac.config import ConfigError
from stac.launch import flags
from stac.runtime.faults import shutdown

INTERRUPTED = 130  # as a shell has it


class Parser(argparse.ArgumentParser):
    """A mistake in a flag is a ConfigError."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"prog": _file(), **named})

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}: see --help")


def script(
    name: str, main: Callable[[str, list[str]], int | None]
) -> Callable[..., int]:
    """The `main` of a command that does not train.

    Args:
      name: of the command, such as "launch.report".
      main: takes the command as the user started it, and the arguments.

    Returns:
      A function of the whole command line, `sys.argv` by default; it returns the exit
      status.
    """

    def called(argv: Sequence[str] | None = None) -> int:
        given = list(sys.argv if argv is None else argv)
        started = flags.program(given, name)
        return run(lambda: main(started, given[1:]), started)

    return called


def run(main: Callable[[], int | None], name: str = "") -> int:
    """Calls a script's `main`; returns the exit status.

    A mistake of the user is one line and status 2, as in the commands that train; so is
    a file that cannot be read or written. Ctrl-C ends without a traceback.

    Args:
      main: returns a status, or None for 0.
      name: the script's, before the line; its file's by default.
    """

    def checked() -> int:
        try:
            with refusing_files():
                return main() or 0
        except KeyboardInterrupt:
            return INTERRUPTED

    shutdown.trains_nothing()
    return flags.exit_status(name or _file(), checked)


@contextlib.contextmanager
def refusing_files() -> Iterator[None]:
    """A file that cannot be read or written is a ConfigError."""
    try:
        yield
    except (ConnectionError, TimeoutError):  # no mistake of the user's
        raise
    except OSError as error:
        named = f"{error.filename}: {error.strerror}"
        raise ConfigError(named if error.filename else str(error)) from error


def path(text: str) -> pathlib.Path:
    """A path on the command line; shells leave the ~ of --out=~/x to us."""
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _file() -> str:
    return pathlib.Path(sys.argv[0]).stem
