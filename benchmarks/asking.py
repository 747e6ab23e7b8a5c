"""What every script here answers to a wrong command line."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator

from launch.flags import USER_ERROR
from stac.config import ConfigError


@contextlib.contextmanager
def in_one_line(parser: argparse.ArgumentParser) -> Iterator[None]:
    """A mistake of the user's ends with one line and status 2, as the commands do."""
    try:
        yield
    except (ConfigError, OSError) as error:
        parser.exit(USER_ERROR, f"{parser.prog}: {error}\n")
