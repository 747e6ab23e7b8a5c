"""From a counting environment through an actor to the loss: what an episode's end does.

The environment shows in every row which episode and which of its steps it is, and its
rewards and ends follow from that. So a slow twin knows each episode without reading the
columns of which this is a test: `first`, `discount`, `reward`.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import pytest

from stac.agents import actor_critic, base
from stac.config import BatchConfig, NetworkConfig, changed
from stac.configs import control as numbers
from stac.environments.vector import batched
from stac.networks import network as networks
from stac.runtime import actor
from tests.environments.vector import scripted

ENVS, ROWS, OVERLAP = 3, 14, 6
LENGTHS = (3, 5)  # true ends and time limits by turns
NETWORK = NetworkConfig(torso="mlp", mlp_hiddens=(16,), lstm_size=8, head_hidden=16)


def terms_of_one(unroll, params, rows, core_state, outer):
    """The value and policy terms of one environment's rows, an episode at a time."""
    episodes, steps = rows.observation[:, 1], rows.observation[:, 2]
    value_term = policy_term = 0.0
    for episode in np.unique(episodes):
        there = np.flatnonzero(episodes == episode)
        if steps[there[0]] == 0:  # it begins here, and remembers nothing
            core_state = jax.tree.map(np.zeros_like, core_state)
        heads = unroll(
            params,
            rows.observation[None, there],
            np.zeros((1, len(there)), bool),
            core_state,
            np.array([outer.gamma]),
        )
        values = np.asarray(heads[0].value[0], np.float64)
        ended = episode % 2 == 0 and steps[there[-1]] == LENGTHS[0]
        target = 0.0 if ended else values[-1]
        for index in range(len(there) - 2, -1, -1):
            target = steps[there[index + 1]] + outer.gamma * target
            gain = target - values[index]
            value_term += outer.g_v * gain**2
            policy_term -= outer.g_p * rows.behaviour_log_prob[there[index]] * gain
    return value_term, policy_term


def test_the_loss_is_each_episodes_own_and_true_ends_bootstrap_nothing():
    config = changed(numbers.config(agent="impala"), {"agent.outer.gamma": 0.9})
    outer, batch = config.agent.outer, BatchConfig(ENVS, ROWS, OVERLAP)
    config = dataclasses.replace(config, network=NETWORK, batch=batch)
    environment = batched.Batched(
        functools.partial(scripted.make, LENGTHS), range(ENVS)
    )
    spec = environment.spec
    agent = actor_critic.build(config, spec)
    bias = actor_critic.own_distribution(config, spec).bias
    network = networks.make(config, bias, spec)
    state = agent.init(jax.random.PRNGKey(3))
    acting = actor.Actor(agent, environment, config.batch, seed=1, index=0)
    for _ in range(3):  # of which the last begins within an episode
        trajectory = acting.unroll(0, agent.actor_params(state)).trajectory
    environment.close()
    assert trajectory.observation[0, 0, 2] > 0
    assert np.abs(trajectory.core_state.hidden).max() > 0.001
    metrics = jax.jit(lambda *given: agent.update(*given, base.no_devices)[1])(
        state, trajectory
    )
    unroll = jax.jit(network.unroll)
    terms = [
        terms_of_one(
            unroll,
            state.params,
            jax.tree.map(lambda column, env=env: column[env], trajectory),
            jax.tree.map(lambda leaf, env=env: leaf[[env]], trajectory.core_state),
            outer,
        )
        for env in range(ENVS)
    ]
    value_term, policy_term = np.sum(terms, axis=0)
    assert float(metrics["loss/value/head_1"]) == pytest.approx(value_term, rel=1e-4)
    assert float(metrics["loss/policy/head_1"]) == pytest.approx(policy_term, rel=1e-4)
