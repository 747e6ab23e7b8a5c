"""The guess at what a user meant: near names, and none where nothing is near."""

from __future__ import annotations

import dataclasses
import math
import types

import pytest

from stac.config import Config, ConfigError, changed, flat
from stac.config.checks import check_ranges, choose, nearest


@pytest.mark.parametrize(
    ("value", "choices", "near"),
    [
        ("agnet", ["agent", "game", "seed"], ["agent"]),
        ("hrad", ["none", "easy", "medium", "hard"], ["hard"]),
        ("STAX", ["impala", "stac", "stacx"], ["stacx", "stac"]),
        ("walk", ["walker.run", "dog.walk"], ["dog.walk", "walker.run"]),
        ("cartpole", ["earthworld", "carnival", "pong"], []),
        ("game", ["gamma", "task"], []),
        ("e", ["seed", "agent"], []),
        ("x", [], []),
    ],
)
def test_only_names_that_are_near_are_guessed(
    value: str, choices: list[str], near: list[str]
) -> None:
    assert nearest(value, choices) == near


def test_where_nothing_is_near_the_choices_are_named_or_where_to_find_them() -> None:
    with pytest.raises(ConfigError, match=r"^unknown game 'x': choose one of pong$"):
        choose("game", "x", ["pong"])
    with pytest.raises(ConfigError, match=r"^unknown game 'x': --game=list names all$"):
        choose("game", "x", ["pong"], "--game=list names all")


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[6, 40)", (6, 39), (5, 40, math.nan)),
        ("(6, 40]", (7, 40), (6, 41)),
        ("(0, inf) or -1", (1e-9, -1), (0, -2, math.inf, math.nan)),
    ],
)
def test_an_interval_is_read_as_it_is_written(
    interval: str, inside: tuple[float, ...], outside: tuple[float, ...]
) -> None:
    for value in inside:
        check_ranges("a.", types.SimpleNamespace(rate_=value), {interval: "rate_"})
    for value in outside:
        with pytest.raises(ConfigError, match=f"^a.rate={value}: must be in ") as error:
            check_ranges("a.", types.SimpleNamespace(rate_=value), {interval: "rate_"})
        assert str(error.value).endswith(interval)


def test_every_number_of_a_configuration_has_a_range() -> None:
    """No number may be infinite, and so none is without an upper end."""
    for name, value in flat(dataclasses.asdict(Config())).items():
        if type(value) in (int, float):
            with pytest.raises(ConfigError, match=name.removesuffix("_")):
                changed(Config(), {name: math.inf})
