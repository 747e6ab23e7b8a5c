"""Actor and learner read a trajectory alike: the policies of both are one and the same.

At constant parameters every importance weight pi / mu is 1, in each column of every
trajectory. It is not where observations, actions, core states or starts of episodes are
shifted between the two, and hardly anything else would tell: it only learns worse.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from stac.agents import actor_critic, base
from stac.config import BatchConfig, NetworkConfig
from stac.configs import control as numbers
from stac.environments import control
from stac.environments.vector import batched
from stac.runtime import actor

ENVS, ROWS = 6, 8
STAGGER_STEPS = 25  # episodes end at other rows in other environments
NETWORK = NetworkConfig(torso="mlp", mlp_hiddens=(16,), lstm_size=8, head_hidden=16)
FLOAT32 = 1e-5  # 2e-7 was seen


class Case(NamedTuple):
    """An agent of cartpole.swingup with a small LSTM."""

    agent: base.Agent
    states: list[Any]  # two, of other parameters
    metrics: Callable[..., dict[str, Any]]  # (state, trajectory), of an update


@pytest.fixture(name="case", scope="module")
def _case() -> Case:
    config = dataclasses.replace(
        numbers.config("cartpole.swingup", "impala"),
        network=NETWORK,
        batch=BatchConfig(ENVS, ROWS, 0),
    )
    environment = swingups()
    agent = actor_critic.build(config, environment.spec)
    environment.close()
    init = jax.jit(agent.init)
    return Case(
        agent,
        [init(jax.random.PRNGKey(seed)) for seed in range(2)],
        jax.jit(lambda state, rows: agent.update(state, rows, base.no_devices)[1]),
    )


def swingups() -> batched.Batched:
    make = functools.partial(control.environment, "cartpole.swingup", "features")
    return batched.Batched(make, range(ENVS), stagger_steps=STAGGER_STEPS)


def unrolls(case: Case, overlap: int):
    """Trajectories of the first parameters until all environments began again."""
    environment = swingups()
    batch = BatchConfig(ENVS, ROWS, overlap)
    acting = actor.Actor(case.agent, environment, batch, seed=1, index=0)
    params = case.agent.actor_params(case.states[0])
    for _ in range(2 + STAGGER_STEPS // batch.period):
        yield acting.unroll(0, params).trajectory
    environment.close()


@pytest.mark.parametrize("overlap", [0, 1, 5])
def test_importance_weights_are_1_at_constant_parameters(case, overlap):
    begun = []
    for trajectory in unrolls(case, overlap):
        metrics = case.metrics(case.states[0], trajectory)
        for name in ("importance/head_1", "importance/head_1_max"):
            assert float(metrics[name]) == pytest.approx(1.0, abs=FLOAT32), name
        begun.append(trajectory.first)
        if len(begun) > 1:  # of states that are not zero
            assert np.abs(trajectory.core_state.hidden).max() > 0.01
    again = np.sum(begun[1:], axis=(0, 1))
    assert again[0] > 0
    assert again[1:].sum() >= ENVS / 2


def test_importance_weights_are_not_1_at_other_parameters(case):
    trajectory = next(unrolls(case, 5))
    metrics = case.metrics(case.states[1], trajectory)
    assert float(metrics["importance/head_1_max"]) > 1.1
