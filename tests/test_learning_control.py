"""Control's whole way on a task that only a right one can learn, within seconds.

The best action is the sign that was shown one step before the last, so the core must
remember; its reward comes two steps late; the bounds are not those of the tanh. Rows
out of line, a lost core state, a wrong sign or scale leave the return where it began.
"""

from __future__ import annotations

import collections
import functools
import math

import dm_env
import jax
import numpy as np
import pytest
from dm_env import specs

from stac.agents import actor_critic, base, soft
from stac.config import changed
from stac.configs import control as numbers
from stac.environments.vector import batched
from stac.runtime import actor
from stac.runtime.queues import replay

STEPS = 50  # of an episode
LATE = 2  # steps until an action's reward comes
UPDATES = 300


class Echo(dm_env.Environment):
    """The reward is 1 - (a/2 - sign/2)^2, or 0, for the sign before the last.

    Without memory it is for the last sign, and comes at once.
    """

    def __init__(self, seed: int, *, memory: bool = True) -> None:
        self._random = np.random.default_rng(seed)
        self._memory = memory

    def reset(self):
        self._steps = 0
        self._shown = collections.deque([self._sign(), self._sign()], maxlen=2)
        self._rewards = collections.deque([0.0] * LATE * self._memory)
        return dm_env.restart(self._observation())

    def step(self, action):
        miss = (action[0] / 2 - self._shown[0 if self._memory else 1] / 2) ** 2
        self._rewards.append(float(1 - min(1, miss)))
        self._shown.append(self._sign())
        self._steps += 1
        over = dm_env.truncation if self._steps == STEPS else dm_env.transition
        return over(self._rewards.popleft(), self._observation())

    def observation_spec(self):
        return {"shown": specs.Array((1,), float)}

    def action_spec(self):
        return specs.BoundedArray((1,), float, -2.0, 2.0)

    def _observation(self):
        return {"shown": np.array([self._shown[-1]])}

    def _sign(self):
        return self._random.choice([-1.0, 1.0])


def small(agent: str):
    """The paper's numbers for control, but a network and a horizon for this task."""
    few = {
        "agent.outer.gamma": 0.8,
        "agent.initial_raw_gamma": math.log(0.8 / 0.2),  # its sigmoid is 0.8
        "network.mlp_hiddens": (16,),
        "network.lstm_size": 16,
        "network.head_hidden": 16,
    }
    return changed(numbers.config(agent=agent), few)


@pytest.mark.parametrize("agent", ["impala", "stac"])
def test_an_agent_learns_to_echo_what_it_was_shown(agent):
    config = small(agent)
    envs = range(config.batch.batch_size)
    environment = batched.Batched(Echo, envs, stagger_steps=STEPS, seed=1)
    learner = actor_critic.build(config, environment.spec)
    acting = actor.Actor(learner, environment, config.batch, seed=1, index=0)
    state = jax.jit(learner.init)(jax.random.PRNGKey(1))
    update = jax.jit(lambda state, batch: learner.update(state, batch, base.no_devices))
    rewards = []
    for number in range(UPDATES):
        params = jax.tree.map(np.asarray, learner.actor_params(state))
        state, metrics = update(state, acting.unroll(number, params).trajectory)
        rewards.append(float(metrics["reward"]))
    # The best action without a memory is 0; it earns 0.75, less the late start.
    assert np.mean(rewards[:5]) < 0.75
    assert np.mean(rewards[-20:]) > 0.85


@pytest.mark.parametrize("agent", ["sac_v1", "meta_sac"])
def test_a_soft_agent_learns_to_echo_what_it_is_shown(agent):
    """Through the actor and the replay, uniform actions first."""
    few = {
        "agent.soft.alpha": 0.01,
        "agent.soft.gamma": 0.8,
        "agent.soft.minibatch": 64,
        "agent.soft.first_steps": 400,
        "agent.soft.updates_per_step": 0.25,
        "agent.soft.initial_states": 2,
        "network.mlp_hiddens": (16,),
        "optimizer.learning_rate": 3e-3,
        "optimizer.meta_learning_rate": 3e-3,
        "batch.batch_size": 8,
    }
    config = changed(numbers.config(agent=agent), few)
    simple = functools.partial(Echo, memory=False)
    environment = batched.Batched(simple, range(8), stagger_steps=STEPS, seed=1)
    learner = soft.build(config, environment.spec)
    acting = actor.Actor(learner, environment, config.batch, seed=1, index=0)
    beginnings = np.array([[-1.0], [1.0]], np.float32)[: learner.replay.initial]
    kept = replay.Replay(learner.replay, 1, beginnings)
    state = jax.jit(learner.init)(jax.random.PRNGKey(1))
    update = jax.jit(lambda state, batch: learner.update(state, batch, base.no_devices))
    rewards = []
    for number in range(60):
        params = jax.tree.map(np.asarray, learner.actor_params(state))
        unroll = acting.unroll(number, params)
        state, _ = update(state, kept.exchange(unroll).trajectory)
        rewards.append(unroll.trajectory.reward.mean())
    assert np.mean(rewards[:5]) < 0.75, "at random"
    # Meta-SAC keeps more noise, which costs some of it.
    assert np.mean(rewards[-20:]) > (0.9 if agent == "sac_v1" else 0.8)
    plain = soft.build(config, environment.spec, noise=0.0)
    shown = np.array([[-1.0], [1.0]], np.float32)
    params, key = learner.actor_params(state), jax.random.PRNGKey(2)
    output, _ = plain.act(params, key, shown, np.zeros(2, bool), ())
    # Half of the bounds earns all.
    np.testing.assert_allclose(np.tanh(output.action), shown / 2, atol=0.1)
    # Its mean action is too large at first, and more entropy lessens it.
    risen = float(state.log_alpha) - math.log(0.01)
    assert risen > 1.0 if agent == "meta_sac" else abs(risen) < 1e-6
