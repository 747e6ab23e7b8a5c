"""`--config.a.b=c`: any number of the configuration from the command line, typed.

ml_collections reads the values by the type of the field they replace; here the names
are checked first, so that a wrong one is answered with the nearest right ones.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import ml_collections
from absl import flags
from ml_collections import config_flags

from stac.config import Config, ConfigError, check, choose, flat
from stac.config.checks import nearest

T = TypeVar("T")

# Set by a flag of its own, because more than the one field follows from it.
ELSEWHERE = {
    "agent.name": "--agent",
    "environment.domain": "another command (launch.atari, launch.control, …)",
    "environment.task": "--game (launch.atari), --env (launch.gymnasium) or --task",
    "environment.observations": "--observations of launch.control",
}
_OVERRIDE = re.compile(
    r"--?(?P<no>no)?config(?:\.(?P<name>[^=]*))?(?P<rest>=.*)?$", re.S
)


def spell(argv: Sequence[str]) -> list[str]:
    """Returns the arguments with the configuration's own names.

    `lambda` is a word of Python, so the field is `lambda_`; both are accepted.

    Raises:
      ConfigError: a name that the configuration does not have, or no name at all.
    """
    return [_spell(argument) for argument in argv]


def define(argv: Sequence[str], values: flags.FlagValues) -> None:
    """Defines a typed flag in `values` for each override among `argv`."""
    template = ml_collections.ConfigDict(dataclasses.asdict(Config()))
    config_flags.DEFINE_config_dict(
        "config", template, flag_values=values, sys_argv=list(argv)
    )


def given(values: flags.FlagValues) -> dict[str, Any]:
    """The overrides that were parsed: {"agent.outer.gamma": 0.99}."""
    return config_flags.get_override_values(values["config"])


def apply(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns the configuration with {"batch.batch_size": 8, …} changed, checked whole.

    Raises:
      ConfigError: the changed configuration cannot work.
    """
    tree = dataclasses.asdict(config)
    for name, value in changes.items():
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[leaf] = _like(node[leaf], name, value)
    return _build(Config, tree)


def values(config: Config) -> dict[str, Any]:
    """What can be overridden, by its name and with its value as users spell them."""
    return {
        _spoken(name): ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in flat(dataclasses.asdict(config)).items()
        if name not in ELSEWHERE
    }


def whole(written: str | int) -> int:
    """Reads a whole number, also 1e6 or 1_000_000.

    Raises:
      ValueError: it is none.
    """
    try:
        return int(written)
    except ValueError:
        with contextlib.suppress(ValueError, OverflowError):
            if (number := float(written)) == int(number):
                return int(number)
    raise ValueError("must be a whole number")


def _spell(argument: str) -> str:
    match = _OVERRIDE.match(argument)
    if match is None:
        return argument
    if match["name"] is None:
        raise ConfigError(f"{argument}: write --config.<name>=<value>")
    if match["name"] in ELSEWHERE:
        raise ConfigError(f"{argument}: use {ELSEWHERE[match['name']]}")
    plain = flat(dataclasses.asdict(Config()))
    fields = {_spoken(name): name for name in plain}
    asked = _spoken(match["name"])
    if asked not in fields and not nearest(asked, fields):
        raise ConfigError(f"unknown configuration key {asked!r}: --help lists all")
    name = choose("configuration key", asked, fields)
    if match["rest"] is None:
        raise ConfigError(f"{argument}: write --config.{name}=<value>")
    if match["no"]:
        raise ConfigError(f"{argument}: write --config.{name}=<value>, such as false")
    value = match["rest"].removeprefix("=")
    if type(plain[fields[name]]) is int:
        try:
            value = str(whole(value))
        except ValueError as error:
            raise ConfigError(f"{argument}: {error}") from error
    return f"--config.{fields[name]}={value}"


def _spoken(name: str) -> str:
    return name.replace("lambda_", "lambda")


def _like(old: Any, name: str, value: Any) -> Any:
    """Checks what ml_collections does not: the kind of a tuple's elements."""
    if isinstance(old, tuple):
        check(
            isinstance(value, tuple) and all(type(item) is int for item in value),
            f"{_spoken(name)}={value}: write whole numbers, as in 256,256",
        )
    return value


def _build(kind: type[T], tree: Mapping[str, Any]) -> T:
    """Builds a dataclass from nested dictionaries, the innermost first."""
    types = typing.get_type_hints(kind)
    return kind(
        **{
            name: _build(types[name], value) if isinstance(value, Mapping) else value
            for name, value in tree.items()
        }
    )
