"""Saved policies are played as they were saved, in any environment."""

from __future__ import annotations

import pathlib
import sys

import jax
import numpy as np
import pytest

from stac import distributions
from stac.agents import actor_critic
from stac.config import Config
from stac.configs import catch, control
from stac.environments import make
from stac.evaluation import episodes, saved_policies, trivial_policies
from stac.runtime.storage import checkpoints, workdir
from stac.types import Timestep
from tests import refusals

TASK = "cartpole.balance"


def saved(place: pathlib.Path, config: Config, seed: int) -> None:
    """A run's workdir with the network before its first update."""
    workdir.prepare(place, config)
    agent = actor_critic.build(config, make.spec(config))
    kept = checkpoints.Checkpoints(place / workdir.CHECKPOINTS, keep=1)
    kept.save(7, agent.init(jax.random.PRNGKey(seed)), {})
    kept.close()


def test_a_saved_policy_earns_what_it_earned_before_it_was_saved(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = control.config(TASK, "stacx", "features")
    saved(tmp_path / "run", config, seed=0)
    arguments = ["x", str(tmp_path / "run"), "--noise=1,0", "--episodes=2"]
    monkeypatch.setattr(sys, "argv", arguments)
    saved_policies.main()
    path, noisy, still = capsys.readouterr().out.strip().split("  ")
    assert path == str(tmp_path / "run")

    config = episodes.whole(config)
    environment = make.factory(config)(0, 2)
    policy = trivial_policies.untrained(config, environment, seed=0)
    earned = trivial_policies.returns(environment, policy)
    environment.close()
    assert noisy == f"x1 {trivial_policies.Returns.of(earned)}"
    assert still.startswith("x0 ")
    assert still.split()[1] != noisy.split()[1]


def test_a_policy_goes_on_from_step_to_step_and_begins_anew_with_episodes() -> None:
    config = control.config(TASK, "impala", "features")
    spec = make.spec(config)
    agent = actor_critic.build(config, spec)
    params = agent.actor_params(agent.init(jax.random.PRNGKey(1)))
    same, none = np.ones((2, *spec.observation_shape), np.float32), np.zeros(2)
    rows = [
        Timestep(same, none, none, np.array(first), none)
        for first in ([True, True], [False, False], [False, True])
    ]
    own = actor_critic.own_distribution(config, spec)
    still = actor_critic.build(config, spec, saved_policies.with_noise(own, 0.0))
    policy = episodes.acting(still, params, 2, jax.random.PRNGKey(0))
    means = np.stack([policy(row, step) for step, row in enumerate(rows)])
    assert not np.allclose(means[1], means[0])  # the core remembers
    assert not np.allclose(means[2, 0], means[1, 0])
    np.testing.assert_allclose(means[2, 1], means[0, 1], atol=1e-6)

    policy = episodes.acting(agent, params, 2, jax.random.PRNGKey(0))
    samples = np.stack([policy(rows[0], step) for step in range(300)])
    np.testing.assert_allclose(samples.std(axis=0), 0.5, rtol=0.2)


def test_noise_is_how_far_samples_lie_from_the_mean() -> None:
    own, key = distributions.tanh_normal(3, 0.5), jax.random.PRNGKey(1)
    outputs = np.linspace(-1, 1, 12, dtype=np.float32).reshape(2, 6)
    mean, _ = distributions.mean_and_log_std(outputs)
    far = own.sample(key, outputs) - mean
    for factor in (0.0, 0.5, 1.0):
        samples = saved_policies.with_noise(own, factor).sample(key, outputs)
        np.testing.assert_allclose(samples, mean + factor * far, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: is no run's workdir: it has no config.json"),
        (["begun"], "begun: nothing is saved there yet"),
        (["begun", "--noise=loud"], "--noise=loud: write factors, as in --noise=1,0"),
        (["begun", "--noise=-1"], "--noise=-1: write factors, as in --noise=1,0"),
        (["begun", "--episodes=1"], "--episodes: must be at least 2, for a standard"),
        (["older"], "older/config.json: is another version's: agent.age"),
        (["damaged"], "damaged/config.json: is not a configuration"),
    ],
)
def test_what_cannot_be_played_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    workdir.prepare(tmp_path / "begun", Config())
    workdir.prepare(tmp_path / "older", Config())
    text = (tmp_path / "older" / workdir.CONFIG).read_text()
    text = text.replace('"agent": {', '"agent": {"age": 7,')
    (tmp_path / "older" / workdir.CONFIG).write_text(text)
    workdir.prepare(tmp_path / "damaged", Config())
    (tmp_path / "damaged" / workdir.CONFIG).write_text("{bad")
    assert said in refusals.of(saved_policies.main, arguments, monkeypatch, capsys)


def test_discrete_policies_are_played_sampled_and_greedy_and_have_no_noise(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place = tmp_path / "run"
    saved(place, catch.config(agent="impala"), seed=0)
    monkeypatch.setattr(sys, "argv", ["x", str(place), "--episodes=8"])
    saved_policies.main()
    path, sampled, greedy = capsys.readouterr().out.strip().split("  ")
    assert path == str(place)
    policy = saved_policies.load(place)
    own = policy.distribution
    assert sampled == f"sampled {saved_policies.score(policy, own, 8)}"
    greediest = saved_policies.greedy(own)
    assert greedy == f"greedy {saved_policies.score(policy, greediest, 8)}"
    outputs = np.array([[0.1, 0.3, 0.2], [9.0, -1.0, 8.9]])
    actions = greediest.sample(jax.random.PRNGKey(0), outputs)
    np.testing.assert_array_equal(actions, [1, 0])

    arguments = [str(place), "--noise=1"]
    line = refusals.of(saved_policies.main, arguments, monkeypatch, capsys)
    assert "its actions are discrete and have no noise: leave --noise out" in line
