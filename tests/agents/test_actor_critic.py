"""The four agents: rows of one table, one of them a special case of another."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from benchmarks import update
from stac.agents import actor_critic, base, make
from stac.config import (
    BEHAVIOURS,
    AgentConfig,
    BatchConfig,
    Config,
    ConfigError,
    NetworkConfig,
    Outer,
    changed,
)
from stac.environments.base import EnvironmentSpec
from stac.types import Trajectory

SPEC = EnvironmentSpec((6,), np.dtype(np.float32), 3, False, 1)


def config(name, **agent):
    row = make.VARIANTS[name]
    agent = {"heads": row.heads, "self_tuned": ",".join(row.self_tuned), **agent}
    return Config(
        agent=AgentConfig(name=name, **agent),
        network=NetworkConfig(torso="mlp", mlp_hiddens=(16,), head_hidden=16),
        batch=BatchConfig(batch_size=4, unroll_length=6),
    )


def batch(seed=0, size=4, n=6, actions=3):
    rng = np.random.default_rng(seed)
    return Trajectory(
        observation=rng.normal(size=(size, n, 6)).astype(np.float32),
        first=rng.random((size, n)) < 0.1,
        action=rng.integers(0, actions, size=(size, n - 1)).astype(np.int32),
        behaviour_log_prob=np.full((size, n - 1), -np.log(actions), np.float32),
        reward=rng.normal(size=(size, n - 1)).astype(np.float32),
        discount=(rng.random((size, n - 1)) > 0.1).astype(np.float32),
        core_state=(),
    )


def after(agent, updates=3, raw=None):
    """After so many updates, and at first with all metaparameters at `raw`."""
    state = agent.init(jax.random.PRNGKey(0))
    if raw is not None:
        tuned = jax.tree.map(lambda v: np.full_like(v, raw), state.metaparameters)
        state = state._replace(metaparameters=tuned)
    step = jax.jit(lambda s, t: agent.update(s, t, base.no_devices))
    for seed in range(updates):
        state, metrics = step(state, batch(seed))
    assert step._cache_size() == 1, "the update compiled twice"
    return state, metrics


VARIATIONS = {
    **{name: {} for name in make.ACTOR_CRITICS},
    "two alphas": {"self_tuned": "gamma,alpha_rho,alpha_c"},
    "truncation": {"self_tuned": "alpha,truncation"},
    "five heads": {"heads": 5},
    "random ensemble": {"behaviour": "random_head"},
    "average ensemble": {"behaviour": "average"},
    "gamma embedding": {"gamma_embedding": "shared"},
    "gamma embeddings": {"gamma_embedding": "per_head"},
}


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_variant_updates_and_acts(name):
    row = name if name in make.VARIANTS else "stacx"
    agent = actor_critic.build(config(row, **VARIATIONS[name]), SPEC)
    state, metrics = after(agent)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
    observation, first = batch().observation[:, 0], batch().first[:, 0]
    output, core_state = agent.act(
        agent.actor_params(state), jax.random.PRNGKey(1), observation, first, ()
    )
    assert output.action.shape == output.log_prob.shape == (4,)
    assert core_state == ()


def bits(tree):
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


PAIRS = pytest.mark.parametrize(
    ("plain", "tuned"), [("impala", "stac"), ("impala_aux", "stacx")]
)


@PAIRS
def test_impala_is_stac_with_nothing_tuned_bit_for_bit(plain, tuned):
    expected, _ = after(actor_critic.build(config(plain), SPEC))
    actual, _ = after(actor_critic.build(config(tuned, self_tuned=""), SPEC))
    assert bits(actual) == bits(expected)
    moved, _ = after(actor_critic.build(config(tuned), SPEC))
    assert bits(moved.params) != bits(expected.params)


@PAIRS
def test_stac_with_all_squashes_at_one_steps_like_impala(plain, tuned):
    """sigmoid(40) is 1: the same theta, by the path that carries metagradients."""
    outer = {"outer": Outer(gamma=1.0)}
    expected, _ = after(actor_critic.build(config(plain, **outer), SPEC), updates=1)
    actual, _ = after(actor_critic.build(config(tuned, **outer), SPEC), 1, raw=40.0)
    for a, b in zip(
        jax.tree.leaves(actual.params), jax.tree.leaves(expected.params), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", VARIATIONS)
def test_selecting_what_actors_need_starts_no_computation(name):
    """It would queue behind the update in flight."""
    row = name if name in make.VARIANTS else "stacx"
    agent = actor_critic.build(config(row, **VARIATIONS[name]), SPEC)
    state = jax.eval_shape(agent.init, jax.random.PRNGKey(0))
    assert not jax.make_jaxpr(agent.actor_params)(state).eqns


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_log_probs_are_those_of_the_acting_policy(behaviour):
    agent = actor_critic.build(config("stacx", behaviour=behaviour), SPEC)
    state = agent.init(jax.random.PRNGKey(0))
    observation = np.repeat(batch().observation[:1, 0], 20_000, axis=0)
    first = np.zeros(len(observation), bool)
    output, _ = agent.act(
        agent.actor_params(state), jax.random.PRNGKey(1), observation, first, ()
    )
    for action in range(3):
        chosen = np.asarray(output.action) == action
        claimed = np.exp(np.asarray(output.log_prob)[chosen][0])
        assert abs(chosen.mean() - claimed) < 0.02


def test_a_burn_in_brings_the_core_up_to_date_and_is_not_learned_from():
    """Stepped row by row, then cut off: the rest is an update of its own."""
    plain = changed(config("stac"), {"network.lstm_size": 8})
    burning = actor_critic.build(changed(plain, {"batch.burn_in": 2}), SPEC)
    short = actor_critic.build(changed(plain, {"batch.unroll_length": 4}), SPEC)
    state = burning.init(jax.random.PRNGKey(0))
    core_state = jax.tree.map(lambda s: s + 0.5, burning.initial_core_state(4))
    whole = batch()._replace(core_state=core_state)
    for row in range(2):
        acted = (whole.observation[:, row], whole.first[:, row], core_state)
        params = burning.actor_params(state)
        _, core_state = burning.act(params, state.key, *acted)
    rest = jax.tree.map(lambda leaf: leaf[:, 2:], batch())
    rest = rest._replace(core_state=core_state)
    results = []
    for trajectory, agent in ((whole, burning), (rest, short)):
        update = functools.partial(agent.update, all_sum=base.no_devices)
        results.append(jax.jit(update)(state, trajectory))
    assert results[0][1]["gradient_norm"] > 0.01
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), *results
    )


@pytest.mark.parametrize(
    ("torso", "shape", "domain", "cure"),
    [
        ("deep", (6,), "catch", "mlp"),
        ("shallow", (6,), "gymnasium", "mlp"),
        ("mlp", (6,), "gymnasium", ""),
        ("mlp", (3, 20, 40), "gymnasium", "shallow"),
        ("mlp", (3, 19, 40), "gymnasium", "minatar"),
        ("mlp", (3, 20, 40), "atari", ""),
        ("shallow", (1, 19, 40), "catch", "minatar"),
        ("shallow", (1, 20, 40), "catch", ""),
        ("minatar", (1, 19, 40), "catch", ""),
    ],
)
def test_a_torso_refuses_observations_that_it_does_not_fit(torso, shape, domain, cure):
    changes = {"network.torso": torso, "environment.domain": domain}
    chosen = changed(config("stac"), changes)
    spec = SPEC._replace(observation_shape=shape)
    if cure:
        with pytest.raises(ConfigError, match=f"--config.network.torso={cure}"):
            make.build(chosen, spec)
    else:
        jax.eval_shape(actor_critic.build(chosen, spec).init, jax.random.PRNGKey(0))


@pytest.mark.parametrize(
    ("plain", "tuned"),
    [
        pytest.param("impala", "stac", marks=pytest.mark.slow),
        ("impala_aux", "stacx"),
    ],
)
def test_self_tuning_the_deep_network_costs_at_most_2_70_times_the_flops(plain, tuned):
    """XLA's own count of one compiled update; 8/3 is the floor."""
    costs = (
        update.compiled(*update.chosen(agent, "deep", batch_size=2)).flops
        for agent in (tuned, plain)
    )
    ratio = next(costs) / next(costs)
    assert 2.5 < ratio <= 2.70, ratio


def first_policy(**network):
    """Mean and standard deviation of a Gaussian of 3 dimensions in 500 states."""
    named = {f"network.{name}": value for name, value in network.items()}
    stac = changed(config("stac"), named)
    agent = actor_critic.build(stac, SPEC._replace(continuous=True))
    state = agent.init(jax.random.PRNGKey(0))
    observation = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    samples = [
        agent.act(agent.actor_params(state), key, observation, np.zeros(500, bool), ())
        for key in jax.random.split(jax.random.PRNGKey(1), 100)
    ]
    action = np.stack([output.action for output, _ in samples])
    return action.mean(axis=0), action.std(axis=0)


def test_a_first_policy_is_as_wide_as_asked_and_hardly_looks_at_the_state():
    mean, std = first_policy(policy_scale=0.01, initial_std=0.5)
    assert std.mean() == pytest.approx(0.5, rel=0.02)
    assert np.abs(mean).mean() < 0.06  # 0.5 / sqrt(100) of sampling is in it
    mean, std = first_policy()
    assert std.mean() == pytest.approx(np.exp(-2), rel=0.1)
    assert np.abs(mean).mean() > 0.2
