"""`--config.a.b=c`: any number of the configuration from the command line, typed."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Sequence
from typing import Any

from stac.config import Config, ConfigError, choose, flat

# Set by a flag of its own, because more than the one field follows from it.
ELSEWHERE = {
    "agent.name": "--agent",
    "environment.domain": "another command (launch.atari, launch.control, …)",
    "environment.task": "--game (launch.atari), --env (launch.gymnasium) or --task",
    "environment.observations": "--observations of launch.control",
}
_OVERRIDE = re.compile(r"--?config(?:\.(?P<name>[^=]*))?(?:=(?P<text>.*))?", re.S)
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def split(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Takes the overrides out of a command line; of one given twice the last holds.

    `lambda` is a word of Python, so the field is `lambda_`; both are accepted.

    Returns:
      The overrides, {"agent.outer.gamma": 0.99}, and all other arguments.

    Raises:
      ConfigError: a name that the configuration does not have, or no name at all, or a
        value of another kind than the field's.
    """
    overrides, others = {}, []
    for argument in arguments:
        match = _OVERRIDE.fullmatch(argument)
        if match is None:
            others.append(argument)
        else:
            name = _field(argument, match["name"], match["text"] is not None)
            overrides[name] = read(argument, name, match["text"])
    return overrides, others


def read(argument: str, name: str, text: str) -> Any:
    """Reads a field's value from its text, by the kind of the field's default.

    Args:
      argument: as the user wrote it, for the message.
      name: the field's: "agent.outer.gamma".
      text: the value.

    Raises:
      ConfigError: the value is of another kind.
    """
    kind = type(flat(dataclasses.asdict(Config()))[name])
    reader, expected = _READERS[kind]
    try:
        return reader(text)
    except (ValueError, KeyError):
        raise ConfigError(f"{argument}: must be {expected}") from None


def values(config: Config) -> dict[str, Any]:
    """The fields that can be overridden, by their names as users spell them."""
    return {
        _spoken(name): ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in flat(dataclasses.asdict(config)).items()
        if name not in ELSEWHERE
    }


def _field(argument: str, name: str | None, has_value: bool) -> str:
    """The field's name in the configuration, from the user's spelling of it."""
    if name is None:
        raise ConfigError(f"{argument}: write --config.<name>=<value>")
    if name in ELSEWHERE:
        raise ConfigError(f"{argument}: use {ELSEWHERE[name]}")
    fields = {_spoken(field): field for field in flat(dataclasses.asdict(Config()))}
    key = choose("configuration key", _spoken(name), fields, "--help lists all")
    if not has_value:
        raise ConfigError(f"{argument}: write --config.{key}=<value>")
    return fields[key]


def _spoken(name: str) -> str:
    return name.replace("lambda_", "lambda")


def _whole(text: str) -> int:
    """Reads a whole number, also 1e6 or 1_000_000."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(OverflowError):
        if (number := float(text)) == int(number):
            return int(number)
    raise ValueError


def _wholes(text: str) -> tuple[int, ...]:
    """Reads `256,256`, with or without brackets and spaces."""
    items = text.strip("()[] ").split(",")
    return tuple(_whole(item) for item in items if item.strip())


_READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (lambda text: _BOOLEANS[text.lower()], "true or false"),
    int: (_whole, "a whole number"),
    float: (float, "a number"),
    str: (str, "a word"),
    tuple: (_wholes, "whole numbers, as in 256,256"),
}
