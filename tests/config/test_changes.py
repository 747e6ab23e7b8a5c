"""A configuration from another one, and from nested dictionaries."""

from __future__ import annotations

import dataclasses

import pytest

from stac.config import Config, ConfigError, changed, from_dict


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


def test_a_configuration_is_built_again_from_its_dictionary() -> None:
    config = changed(Config(), {"network.mlp_hiddens": (8, 8), "seed": 3})
    assert from_dict(dataclasses.asdict(config)) == config
