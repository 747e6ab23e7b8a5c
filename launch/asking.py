"""How every script here reads its command line, refuses a wrong one and ends."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from stac.config import ConfigError
from stac.launch import flags

INTERRUPTED = 130  # as a shell has it


class Parser(argparse.ArgumentParser):
    """A mistake in a flag is a ConfigError."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"prog": _script(), **named})

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}: see --help")


def run(main: Callable[[], int | None], name: str = "") -> int:
    """Calls a script's `main`; returns the exit status.

    A mistake of the user is one line and status 2, as in the commands that train; so is
    a file that cannot be read or written. Ctrl-C ends without a traceback.

    Args:
      main: returns a status, or None for 0.
      name: the script's, before the line; its file's by default.
    """

    def script() -> int:
        try:
            return main() or 0
        except KeyboardInterrupt:
            return INTERRUPTED
        except (ConnectionError, TimeoutError):  # no mistake of the user's
            raise
        except OSError as error:
            named = f"{error.filename}: {error.strerror}"
            raise ConfigError(named if error.filename else str(error)) from error

    return flags.exit_status(name or _script(), script)


def path(text: str) -> pathlib.Path:
    """A path on the command line; shells leave the ~ of --out=~/x to us."""
    try:
        return pathlib.Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _script() -> str:
    return pathlib.Path(sys.argv[0]).stem
