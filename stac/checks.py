"""How a run is refused or given up: one line, what is wrong and what is right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """What the user asked for cannot be; the message is one line that says the cure."""


class RunError(RuntimeError):
    """The run cannot go on; the message is one line, and needs no traceback."""


def choose(what: str, value: str, choices: Iterable[str]) -> str:
    """Returns `value` if it is one of `choices`, else raises with the nearest ones.

    Where none is near, or `value` is "list", it names all of them.
    """
    choices = list(choices)
    if value in choices:
        return value
    spelled = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(value.lower(), spelled, n=3, cutoff=0.4)
    near = [] if value == "list" else [spelled[name] for name in near]
    hint = f"did you mean {' or '.join(near)}?" if near else ""
    known = hint or f"choose one of {', '.join(choices)}"
    raise ConfigError(f"unknown {what} {value!r}: {known}")


def check(condition: bool, message: str) -> None:
    """Raises a ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)
