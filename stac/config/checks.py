"""How a run is refused or given up: one line, the fault and its cure."""

from __future__ import annotations

import difflib
import numbers
import os
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

Count = Annotated[int, "[0, inf)"]
AtLeastOne = Annotated[int, "[1, inf)"]
NotNegative = Annotated[float, "[0, inf)"]
Positive = Annotated[float, "(0, inf)"]
Fraction = Annotated[float, "[0, 1]"]

FAILED, USER_ERROR = 1, 2  # exit statuses

# The share of common letters from which on one name may be meant by another. It is
# 0.75 for `hrad` and `hard`, 0.67 for `game` and `gamma`: nobody mistypes one as that.
_LIKE = 0.7


class ConfigError(ValueError):
    """The user asked for the impossible; the message is one line that says the cure."""


class RunError(RuntimeError):
    """The run cannot go on; the message is one line, and needs no traceback."""


def describe(error: BaseException) -> str:
    """`OSError: the game crashed (catch.py:88)`: one line, however long the message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = " ".join(" … ".join(dict.fromkeys(lines[:1] + lines[-1:])).split())
    stack = traceback.extract_tb(error.__traceback__)
    raised = bool(stack) and not isinstance(error, ImportError)  # by Python's importer
    where = f" ({place(stack[-1])})" if raised else ""
    return f"{type(error).__name__}{': ' if message else ''}{message}{where}"


def place(frame: traceback.FrameSummary) -> str:
    """`catch.py:88`"""
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"


def choose(what: str, value: str, choices: Iterable[str], otherwise: str = "") -> str:
    """Returns `value` if it is one of `choices`, else raises with the nearest ones.

    Args:
      what: the kind of thing that is chosen, for the message.
      value: the name to look for.
      choices: all names.
      otherwise: what to tell where none is near; by default all names. They are also
        told where `value` is "list".

    Raises:
      ConfigError: `value` is none of `choices`.
    """
    choices = list(choices)
    if value in choices:
        return value
    near = [] if value == "list" else nearest(value, choices)
    hint = f"did you mean {' or '.join(near)}?" if near else ""
    cure = hint or otherwise or f"choose one of {', '.join(choices)}"
    raise ConfigError(f"unknown {what} {value!r}: {cure}")


def nearest(value: str, choices: Iterable[str]) -> list[str]:
    """Returns what `value` may have meant, up to four choices.

    Those that contain it as a word (`walk`: `dog.walk`); else those that contain it, if
    it has two letters at least; else those spelled like it, the likeliest first.
    """
    wanted = value.lower()
    spellings = {choice.lower(): choice for choice in choices}
    within = [name for name in spellings if len(wanted) > 1 and wanted in name]
    words = [name for name in within if wanted in re.split(r"[._]", name)]
    like = difflib.get_close_matches(wanted, spellings, n=4, cutoff=_LIKE)
    return [spellings[name] for name in (words or within or like)[:4]]


def check(condition: object, message: str) -> None:
    """Raises a ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


class Checked:
    """A dataclass that is refused unless its fields are as their annotations say.

    `Annotated[int, "[1, inf)"]` is in an interval ("(0, inf) or -1" has one more
    value), and `Annotated[str, ("sum", "mean")]` is one of these words. Numbers of
    NumPy, 1e6 for a whole number and a list for a tuple become what they stand for.
    """

    _section = ""  # its fields are named with this before them: "batch."

    def __init_subclass__(cls, section: str = "") -> None:
        cls._section = section

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            # `lambda` is a word of Python, so the field is `lambda_`.
            spoken = self._section + name.removesuffix("_")
            given = getattr(self, name)
            value = _of_kind(spoken, hint, given)
            object.__setattr__(self, name, value)
            for allowed in getattr(hint, "__metadata__", ()):
                if isinstance(allowed, tuple):
                    choose(spoken, value, allowed)
                else:
                    inside = _inside(value, allowed)
                    check(inside, f"{spoken}={given}: must be in {allowed}")


_KINDS: dict[type, tuple[type, str]] = {
    int: (numbers.Real, "a whole number"),
    float: (numbers.Real, "a number"),
    tuple: (Sequence, "whole numbers, as in (256, 256)"),
    str: (str, "a word, or words with commas between them"),
    bool: (bool, "True or False"),
}


def _of_kind(name: str, kind: Any, value: Any) -> Any:
    """The value as its field has it; raises ConfigError where it is no such thing."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    kind = get_origin(kind) or kind
    if type(value).__module__ == "numpy":
        value = value.tolist()
    accepted, expected = _KINDS.get(kind, (kind, f"of type {kind.__name__}"))
    right = isinstance(value, accepted) and isinstance(value, bool) == (kind is bool)
    right = right and not (kind is tuple and isinstance(value, str))
    right = right and (kind is not int or value % 1 == 0)
    check(right, f"{name}={value!r}: must be {expected}")
    if kind is tuple:  # of whole numbers
        return tuple(_of_kind(f"{name}: an item", int, item) for item in value)
    return kind(value) if kind in _KINDS else value


def _inside(value: float, interval: str) -> bool:
    bounds, _, other = interval.partition(" or ")
    lowest, highest = map(float, bounds[1:-1].split(","))
    return (
        lowest < value < highest
        or (value == lowest and bounds[0] == "[")
        or (value == highest and bounds[-1] == "]")
        or (other != "" and value == float(other))
    )
