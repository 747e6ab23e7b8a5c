"""The guess at what a user meant: near names, and none where nothing is near."""

from __future__ import annotations

import pytest

from stac.config import ConfigError
from stac.config.checks import choose, nearest


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
