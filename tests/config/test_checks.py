"""Near names as guesses, ranges, and configurations that are changed by names."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import Annotated

import numpy as np
import pytest

from stac.config import Config, ConfigError, changed, flat
from stac.config.checks import Checked, choose, nearest


@pytest.mark.parametrize(
    ("value", "choices", "near"),
    [
        ("agnet", ["agent", "game", "seed"], ["agent"]),
        ("hrad", ["none", "easy", "medium", "hard"], ["hard"]),
        ("STAX", ["impala", "stac", "stacx"], ["stacx", "stac"]),
        ("walk", ["walker.run", "dog.walk"], ["dog.walk"]),
        ("walk", ["walker.run", "dog.run"], ["walker.run"]),
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
    @dataclasses.dataclass(frozen=True)
    class Section(Checked, section="a."):
        rate_: float

    Section.__annotations__["rate_"] = Annotated[float, interval]
    for value in inside:
        Section(value)
    for value in outside:
        with pytest.raises(ConfigError, match=f"^a.rate={value}: must be in ") as error:
            Section(value)
        assert str(error.value).endswith(interval)


def test_every_number_of_a_configuration_has_a_range() -> None:
    """No number may be infinite, and so none is without an upper end."""
    for name, value in flat(dataclasses.asdict(Config())).items():
        if type(value) in (int, float):
            with pytest.raises(ConfigError, match=name.removesuffix("_")):
                changed(Config(), {name: math.inf})


def test_a_field_is_changed_by_its_name_and_the_others_stay() -> None:
    config = changed(Config(), {"batch.batch_size": 8, "agent.outer.lambda_": 0.5})
    assert config.batch == dataclasses.replace(Config().batch, batch_size=8)
    assert config.agent.outer == dataclasses.replace(Config().agent.outer, lambda_=0.5)
    assert config.optimizer == Config().optimizer


def test_the_changed_configuration_is_checked_whole() -> None:
    with pytest.raises(ConfigError, match=r"must be in \[1, inf\)"):
        changed(Config(), {"batch.batch_size": 0})


def test_a_name_that_is_not_there_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"did you mean batch\.batch_size"):
        changed(Config(), {"batch.batch_sise": 8})


@pytest.mark.parametrize("name", ["agent.evaluated", "agent.shaped_by"])
def test_head_1_stands_out_only_where_it_acts(name) -> None:
    changed(Config(), {name: "head_1"})
    with pytest.raises(ConfigError, match=rf"^{name}=head_1: needs agent\.behaviour"):
        changed(Config(), {name: "head_1", "agent.behaviour": "random_head"})


@pytest.mark.parametrize(
    ("rows", "core", "refusal"),
    [(19, 256, "must leave a transition"), (5, 0, "is for a recurrent core")],
)
def test_a_burn_in_leaves_a_transition_and_needs_a_core(
    rows: int, core: int, refusal: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^batch\.burn_in={rows}: {refusal}"):
        changed(Config(), {"batch.burn_in": rows, "network.lstm_size": core})
    changed(Config(), {"batch.burn_in": 18, "network.lstm_size": 256})


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("network.mlp_hiddens", [64, 64], (64, 64)),
        ("network.mlp_hiddens", np.array([64, 64]), (64, 64)),
        ("network.mlp_hiddens", tuple(np.array([64, 64])), (64, 64)),
        ("agent.soft.resample", np.bool_(False), False),
        ("seed", np.int64(3), 3),
        ("total_frames", 1e6, 1_000_000),
        ("optimizer.learning_rate", np.float32(0.5), 0.5),
        ("optimizer.learning_rate", 1, 1.0),
    ],
)
def test_numbers_of_numpy_and_lists_become_what_they_stand_for(name, given, kept):
    """Else configurations are no keys of caches, or no JSON."""
    found = flat(dataclasses.asdict(changed(Config(), {name: given})))
    assert found[name] == kept
    assert type(found[name]) is type(kept)
    json.dumps(found)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("network.mlp_hiddens", 64, "hiddens=64: must be whole numbers, as in (256,"),
        ("network.mlp_hiddens", "64", "hiddens='64': must be whole numbers, as in"),
        ("network.mlp_hiddens", [64, 2.5], "hiddens: an item=2.5: must be a whole num"),
        ("network.mlp_hiddens", (True,), "hiddens: an item=True: must be a whole num"),
        ("network.mlp_hiddens", ["a"], "hiddens: an item='a': must be a whole number"),
        ("optimizer.learning_rate", "1e-3", "learning_rate='1e-3': must be a number"),
        ("optimizer.learning_rate", None, "learning_rate=None: must be a number"),
        ("batch.unroll_length", 10.5, "unroll_length=10.5: must be a whole number"),
        ("seed", True, "seed=True: must be a whole number"),
        ("seed", "one", "seed='one': must be a whole number"),
        ("seed", 10**400, "must be in [0, 2147483648)"),
        ("runtime.envs_per_actor", 1e12, "must be in [0, 65536]"),
        ("total_frames", math.inf, "total_frames=inf: must be a whole number"),
        ("agent.self_tuned", ("gamma", "lambda"), "must be a word, or words with"),
        ("runtime.keep_best", 1, "keep_best=1: must be True or False"),
    ],
)
def test_a_value_of_another_kind_is_refused(name, given, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        changed(Config(), {name: given})


def test_a_name_in_the_place_of_a_section_is_refused():
    with pytest.raises(ConfigError, match="must be of type AgentConfig"):
        dataclasses.replace(Config(), agent="impala")
