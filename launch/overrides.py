"""The fields of the configuration as flags, `--config.a.b=c`, each of its own type."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

from stac.config import Config, ConfigError, choose, flat

# Set by a flag of its own, because more than the one field follows from it.
ELSEWHERE = {
    "agent.name": "--agent",
    "environment.domain": "another command (launch.atari, launch.control, …)",
    "environment.task": "--game (launch.atari), --env (launch.gymnasium) or --task",
    "environment.observations": "--observations of launch.control",
}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def fields() -> dict[str, str]:
    """The fields by their flags: {"config.agent.outer.gamma": "agent.outer.gamma"}.

    `lambda` is a word of Python, so the field is `lambda_`; both are flags.
    """
    names = [
        name for name in flat(dataclasses.asdict(Config())) if name not in ELSEWHERE
    ]
    return {f"config.{flag}": name for name in names for flag in (name, _spoken(name))}


def values(config: Config) -> dict[str, Any]:
    """The values of these fields, by their names as users spell them."""
    return {
        _spoken(name): ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in flat(dataclasses.asdict(config)).items()
        if name not in ELSEWHERE
    }


def read(flag: str, name: str, text: str) -> Any:
    """Reads a field's value from its text, by the kind of the field's default.

    Raises:
      ConfigError: the value is of another kind.
    """
    kind = type(flat(dataclasses.asdict(Config()))[name])
    reader, expected = _READERS[kind]
    try:
        return reader(text)
    except (ValueError, KeyError):
        raise ConfigError(f"--{flag}={text}: must be {expected}") from None


def refuse(argument: str, name: str) -> None:
    """Raises a ConfigError with the cure for `--config.name` that is no flag."""
    if not name:
        raise ConfigError(f"{argument}: write --config.<name>=<value>")
    if name in ELSEWHERE:
        raise ConfigError(f"{argument}: use {ELSEWHERE[name]}")
    choose("configuration key", name, values(Config()), "--help lists all")


def _spoken(name: str) -> str:
    return name.removesuffix("_")


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
