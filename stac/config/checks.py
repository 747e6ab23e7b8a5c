"""How a run is refused or given up: one line, what is wrong and what is right."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_FARTHEST = 0.45  # share of two names' letters that they do not have in common


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
    near = [] if value == "list" else nearest(value, choices)
    hint = f"did you mean {' or '.join(near)}?" if near else ""
    known = hint or f"choose one of {', '.join(choices)}"
    raise ConfigError(f"unknown {what} {value!r}: {known}")


def nearest(value: str, choices: Iterable[str]) -> list[str]:
    """Returns what `value` may have meant: up to four choices, the likeliest first.

    Those that contain it, as a word (`walk`: `dog.walk` before `walker.run`) or as two
    letters at least; else those spelled like it, and none of them more than three times
    as far from it as the nearest.
    """
    asked = value.lower()
    far = {
        choice: 1 - difflib.SequenceMatcher(a=choice.lower(), b=asked).ratio()
        for choice in choices
    }
    near = [choice for choice in far if len(asked) > 1 and asked in choice.lower()]
    if not near:
        limit = min(_FARTHEST, 3 * min(far.values(), default=0))
        near = [choice for choice in far if far[choice] <= limit]
    parts = {choice: re.split(r"[._]", choice.lower()) for choice in near}
    return sorted(near, key=lambda one: (asked not in parts[one], far[one]))[:4]


def check(condition: bool, message: str) -> None:
    """Raises a ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)
