"""Environments of gymnasium, a user's own among them, behind our rows."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import numpy as np
import pytest

from stac import config
from stac.environments import base, gymnasium, make, pictures
from stac.types import Timestep
from tests.environments import own_environments
from tests.environments.rows import assert_laid_out, stacked

OWN = "tests.environments.own_environments"


def built(name: str, num_envs: int = 2, seed: int = 1, **named: Any):
    return gymnasium.Gymnasium(f"{OWN}:{name}-v3", seed, num_envs, **named)


def played(environment: gymnasium.Gymnasium, steps: int) -> Timestep:
    """Rows of a reset and of the same action again and again: [E, steps + 1, ...]."""
    actions = np.ones((steps, environment.num_envs), np.int32)
    return stacked(environment, actions)


def test_rows_are_laid_out_as_the_protocol_says():
    rows = played(built("Counting"), 10)
    episode, step = rows.observation[..., 0], rows.observation[..., 1]
    assert_laid_out(rows, episode, step)


def test_a_box_is_flattened_and_discrete_actions_begin_where_the_space_does():
    environment = built("Counting")
    assert environment.spec == base.EnvironmentSpec(
        (6,), np.dtype(np.float32), num_actions=3, continuous=False, frames_per_step=1
    )
    environment.reset()
    row = environment.step(np.array([0, 2]))
    assert row.observation.shape == (2, 6)
    np.testing.assert_array_equal(row.observation[:, 2], [5, 7])
    for action in (np.array([0, 3]), np.array([-1, 0]), np.zeros(3, int)):
        with pytest.raises(ValueError, match=r"must be 2 in \[0, 3\)"):
            environment.step(action)
    environment.close()
    environment.close()
    with pytest.raises(RuntimeError, match="closed"):
        environment.reset()


def test_samples_are_squashed_and_scaled_to_the_bounds_of_a_box():
    environment = built("Steering")
    low, high = own_environments.LOW, own_environments.HIGH
    np.testing.assert_array_equal(environment.spec.action_minimum, low)
    np.testing.assert_array_equal(environment.spec.action_maximum, high)
    environment.reset()
    row = environment.step(np.array([[np.arctanh(0.5), 0.0], [-50.0, 50.0]]))
    np.testing.assert_allclose(row.observation[:, 2], [2.0, low[0]])
    environment.close()


def test_whole_actions_are_the_nearest_ones():
    environment = built("Whole", 5)
    environment.reset()
    squashed = np.array([-1.0, -0.9, 0.04, 0.9, 1.0])  # -2, -1.75, 0.6, 2.75 and 3
    row = environment.step(np.arctanh(squashed * (1 - 1e-6))[:, None])
    np.testing.assert_array_equal(row.observation[:, 2], [-2, -2, 1, 3, 3])
    environment.close()


def test_an_image_is_shipped_channels_first():
    environment = built("Picture")
    assert environment.spec.observation_shape == (3, 32, 40)
    shown = environment.reset().observation
    assert (shown.dtype, shown.shape) == (np.uint8, (2, 3, 32, 40))
    height, width, channel = 7, 9, 1
    assert (shown[:, channel, height, width] == (7 * 40 * 3 + 9 * 3 + 1) % 251).all()
    environment.close()


def test_equal_seeds_give_equal_rows_and_each_environment_its_own():
    rows, same, other = (played(built("Counting", 3, seed), 6) for seed in (1, 1, 2))
    for field, twin in zip(rows, same, strict=True):
        np.testing.assert_array_equal(field, twin)
    noise, others = rows.observation[..., 3], other.observation[..., 3]
    assert len(set(noise.ravel())) == noise.size
    assert not set(noise.ravel()) & set(others.ravel())


def test_two_processes_are_started():
    rows = played(built("Counting", workers="processes", cores=2), 1)
    process = rows.observation[..., 4]
    assert os.getpid() not in process
    assert len(np.unique(process)) == 2


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("CartPole-v1", "CartPole-v1"),
        (" CartPole ", "CartPole-v1"),
        (f"{OWN}:Counting-v3", f"{OWN}:Counting-v3"),
        (f"{OWN}:Counting", f"{OWN}:Counting-v3"),
    ],
)
def test_an_id_may_leave_out_its_version_and_name_a_module(name, known):
    assert gymnasium.task(name) == known


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CartPole-v7", r"^unknown environment 'CartPole-v7': did you mean CartPole-v"),
        ("cartpol-v1", "did you mean CartPole-v1"),
        ("Hopper-v9", r"did you mean Hopper-v5 or Hopper-v4\?$"),
        ("nonesuch", "--env=list names all; your own is --env=module:Id$"),
        ("no.such_module:X-v0", "^no.such_module cannot be imported: ModuleNotFound"),
        (f"{OWN}:Countin-v3", "did you mean Counting-v3"),
    ],
)
def test_an_unknown_id_is_refused_with_the_nearest(name, message):
    with pytest.raises(config.ConfigError, match=message):
        gymnasium.task(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Stacked",
            r"its observations are uint8 \(4, 84, 84\); .*TransformObservation",
        ),
        ("Gray", r"its observations are uint8 \(84, 84\); images must be \[H, W, C\]"),
        ("Worded", "its observations are Dict, not a Box"),
        ("Boundless", "its actions need finite bounds"),
        ("Paired", "its actions are MultiDiscrete, not Discrete or a Box"),
    ],
)
def test_spaces_of_another_form_are_refused_in_one_line(name, message):
    with pytest.raises(config.ConfigError, match=f"^{OWN}:{name}-v3: {message}"):
        built(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Raising",
            r" cannot be played: KeyError: .*rocket' \(own_environments.py:\d+",
        ),
        ("Short", " cannot be played: ValueError: not enough values to unpack"),
        ("Flat", r": its step gives .* shape \(6,\), and .* has \(2, 3\)$"),
        ("Endless", ": its step gives the reward nan"),
    ],
)
def test_an_environment_that_cannot_be_played_is_refused_before_a_run(name, message):
    chosen = config.EnvironmentConfig("gymnasium", f"{OWN}:{name}-v3")
    with pytest.raises(config.ConfigError, match=f"^{OWN}:{name}-v3{message}"):
        make.spec_of(chosen)


@pytest.mark.parametrize("error", [ImportError, ValueError, OSError, KeyError])
def test_an_environment_that_cannot_be_built_is_refused_in_one_line(monkeypatch, error):
    def needs(self: object) -> None:
        raise error("there is\tno rocket")

    monkeypatch.setattr(own_environments.Counting, "__init__", needs)
    place = "" if error is ImportError else r" \(test_gymnasium\.py:\d+\)"
    message = (
        f"^{OWN}:Counting-v3 cannot be built: {error.__name__}: .*rocket'?{place}$"
    )
    chosen = config.EnvironmentConfig("gymnasium", f"{OWN}:Counting-v3")
    with pytest.raises(config.ConfigError, match=message):
        make.spec_of(chosen)
    with pytest.raises(config.ConfigError, match="cannot be built: TypeError"):
        pictures.filmed(config.Config(environment=chosen), 0)
    with pytest.raises(error):  # of an actor: it may start again
        built("Counting")


@pytest.mark.parametrize(("name", "rate"), [("CartPole-v1", 50), (f"{OWN}:Tiny", 30)])
def test_pictures_are_as_many_a_second_as_the_environment_says(name, rate):
    with contextlib.closing(gymnasium.Gymnasium(name, 0, 1)) as environment:
        assert environment.frames_per_second == rate


def test_there_is_no_snapshot_where_an_attribute_does_not_pickle():
    environment = built("Unpicklable")
    assert environment.snapshot() is None
    environment.close()
