"""Configurations from others, from files and from names with values."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from stac.config.checks import choose
from stac.config.config import Config, flat

T = TypeVar("T")


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns the configuration with {"batch.batch_size": 8, …} changed, checked whole.

    Raises:
      ConfigError: there is no such name, or the changed configuration cannot work.
    """
    tree = dataclasses.asdict(config)
    names = flat(tree)
    for name, value in changes.items():
        *parents, leaf = choose("configuration key", name, names).split(".")
        node = tree
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    return from_dict(tree)


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Builds the configuration whose `dataclasses.asdict` is `tree`.

    Raises:
      ConfigError: it cannot work.
    """
    return _build(Config, tree)


def _build(kind: type[T], tree: Mapping[str, Any]) -> T:
    """Builds a dataclass from nested dictionaries, the innermost first."""
    types = typing.get_type_hints(kind)
    return kind(
        **{
            name: _build(types[name], value) if isinstance(value, Mapping) else value
            for name, value in tree.items()
        }
    )
