"""Saved policies act as they did before they were saved."""

from __future__ import annotations

import pathlib

import jax
import numpy as np
import pytest

import stac
from stac import distributions
from stac.agents import make as agents
from stac.config import ConfigError, changed
from stac.configs import catch, control
from stac.environments import make
from stac.evaluation import episodes, policies, scores
from stac.runtime import actor
from stac.runtime.storage import workdir
from stac.types import Timestep
from tests.evaluation.saving import saved

TASK = "cartpole.balance"


@pytest.mark.parametrize("domain", ["catch", "control"])
def test_a_policy_takes_the_actions_that_an_actor_took(
    domain: str, tmp_path: pathlib.Path
) -> None:
    config = catch.config(agent="stacx")
    if domain == "control":  # with a core state
        config = changed(
            control.config(TASK, "stac"),
            {"batch.overlap": 0, "network.lstm_size": 8, "batch.unroll_length": 12},
        )
    saved(tmp_path, config, seed=3)
    agent = agents.build(config, make.spec(config))
    params = agent.actor_params(agent.init(jax.random.PRNGKey(3)))
    acting = actor.Actor(
        agent, make.factory(config)(5, 2), config.batch, seed=9, index=1
    )
    trajectory = acting.unroll(0, params).trajectory
    acting.close()

    policy = stac.load(tmp_path)
    core = policy.start(num_envs=2)
    key = jax.random.fold_in(jax.random.PRNGKey(9), 1)
    for step in range(trajectory.action.shape[1]):
        row = trajectory.observation[:, step], trajectory.first[:, step]
        actions, core = policy(*row, core, jax.random.fold_in(key, step))
        np.testing.assert_array_equal(actions, trajectory.action[:, step])
    assert (policy.updates, policy.config) == (7, config)
    assert policy.frames == 7 * agent.frames_per_update


def test_a_policy_goes_on_from_step_to_step_and_begins_anew_with_episodes(
    tmp_path: pathlib.Path,
) -> None:
    saved(tmp_path, control.config(TASK, "impala", "features"), seed=1)
    policy = policies.load(tmp_path)
    same = np.ones((2, *policy.spec.observation_shape), np.float32)
    none = np.zeros(2)
    rows = [
        Timestep(same, none, none, np.array(first), none)
        for first in ([True, True], [False, False], [False, True])
    ]
    still = policy.act(2, policies.STILL, seed=0)
    means = np.stack([still(row, step) for step, row in enumerate(rows)])
    assert not np.allclose(means[1], means[0])  # the core remembers
    assert not np.allclose(means[2, 0], means[1, 0])
    np.testing.assert_allclose(means[2, 1], means[0, 1], atol=1e-6)

    noisy = policy.act(2, policies.SAMPLED, seed=0)
    samples = np.stack([noisy(rows[0], step) for step in range(300)])
    np.testing.assert_allclose(samples.std(axis=0), 0.5, rtol=0.2)


def test_noise_is_how_far_samples_lie_from_the_mean() -> None:
    own, key = distributions.tanh_normal(3, 0.5), jax.random.PRNGKey(1)
    outputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
    mean, _ = distributions.mean_and_log_std(outputs)
    far = own.sample(key, outputs) - mean
    for noise in (0.0, 0.5, 1.0):
        samples = distributions.with_noise(own, noise, True).sample(key, outputs)
        np.testing.assert_allclose(samples, mean + noise * far, atol=1e-6)


def test_greedy_actions_are_the_likeliest() -> None:
    own = distributions.categorical(3)
    outputs = np.array([[0.1, 0.3, 0.2], [9.0, -1.0, 8.9]])
    greedy = distributions.with_noise(own, policies.STILL, False)
    np.testing.assert_array_equal(greedy.sample(jax.random.PRNGKey(0), outputs), [1, 0])
    with pytest.raises(ValueError, match="discrete actions are sampled"):
        distributions.with_noise(own, 0.5, False)


def test_a_run_of_an_older_version_is_read_with_the_defaults_of_what_is_new(
    tmp_path: pathlib.Path,
) -> None:
    config = catch.config(agent="impala")
    saved(tmp_path, config, seed=0)
    place = tmp_path / workdir.CONFIG
    text = place.read_text().replace('"evaluate_every": 0,', '"former_option": 3,')
    assert "former_option" in text
    place.write_text(text)
    assert policies.load(tmp_path).config == config
    place.write_text(text.replace('"agent": {', '"agent": {"age": 7,'))
    with pytest.raises(ConfigError, match=r"does not know agent\.age"):
        policies.load(tmp_path)


def test_scores_of_games_are_also_normalised_by_a_humans() -> None:
    config = changed(
        catch.config(), {"environment.domain": "atari", "environment.task": "breakout"}
    )
    returns = np.array([30.0, 31.0])  # random play has 1.7, a human 30.5
    row = scores.row(config, {"sampled": returns})
    assert row["evaluation/sampled/return"] == 30.5
    assert row["evaluation/sampled/error"] == 0.5
    assert row["evaluation/episodes"] == 2
    np.testing.assert_allclose(row["evaluation/sampled/human_normalised"], 1, rtol=0.02)
    assert len(scores.row(catch.config(), {"greedy": returns})) == 3


def test_the_same_seed_is_the_same_score(tmp_path: pathlib.Path) -> None:
    saved(tmp_path, catch.config(agent="impala"), seed=0)
    policy = policies.load(tmp_path)
    first, again, other = (scores.score(policy, 1.0, 40, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.shape == (40,)  # of 32 environments
    earned = episodes.Returns.of(first)
    assert -1 <= earned.mean < 1


def test_a_random_ensemble_is_sampled_alone():
    """Which head acts is random too, so no way of acting has no noise."""
    config = catch.config(agent="stacx")
    spec = make.spec(config)
    assert list(policies.ways(config, spec)) == ["sampled", "greedy"]
    random = changed(config, {"agent.behaviour": "random_head"})
    assert list(policies.ways(random, spec)) == ["sampled"]
