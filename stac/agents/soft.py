"""The soft actor-critics: SAC, SAC-v2 and Meta-SAC, built as one agent.

Their trajectories go into a replay, and a call of their update makes as many updates
as the new steps are worth.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from stac import config as configuration
from stac import distributions
from stac.agents import base
from stac.config import Config, Soft
from stac.environments.base import EnvironmentSpec
from stac.learning import soft
from stac.networks import soft as networks
from stac.types import ActorOutput, Array, CoreState, Params

# Of an action drawn at random, before the tanh: +-1 would be infinitely far.
_NEARLY_ONE = 1.0 - 1e-6


def build(
    config: Config, spec: EnvironmentSpec, noise: float = distributions.SAMPLED
) -> base.Agent:
    """Builds the agent that `config` describes, for environments like `spec`.

    Args:
      config: the run.
      spec: of the environments.
      noise: with which it acts; see `distributions.with_noise`.

    Raises:
      ConfigError: the steps of a batch are not worth a whole number of updates.
    """
    numbers = config.agent.soft
    steps = configuration.frames_per_update(config, frames_per_step=1)
    network = networks.make(config.network, 2 * spec.num_actions, spec)
    rule = soft.Rule(
        policy=network.policy,
        critics=network.critics,
        soft=numbers,
        optimizer=config.optimizer,
        updates_per_call=_updates_per_call(numbers, steps),
        entropy_target=numbers.entropy_per_action * spec.num_actions,
    )
    random_calls = -(-numbers.first_steps // steps)
    meta = numbers.temperature == "meta"
    sees_beginnings = meta and numbers.meta_states == "initial"
    values = 1 + (meta and numbers.meta_value == "classic")

    def init(key: Array) -> soft.State:
        policy_key, *keys = jax.random.split(key, 1 + values)
        critics = tuple(map(network.init_critics, keys))
        return soft.init(rule, network.init_policy(policy_key), critics)

    def act(
        actor_params: Params,
        key: Array,
        observation: Array,
        first: Array,
        core_state: CoreState,
    ) -> tuple[ActorOutput, CoreState]:
        policy, updates = actor_params
        outputs = network.policy(policy, jnp.asarray(observation, jnp.float32))
        own_key, random_key = jax.random.split(key)
        shape = (len(outputs), spec.num_actions)
        action = soft.sampled(outputs, noise * jax.random.normal(own_key, shape))
        log_prob = distributions.soft_log_prob(outputs, action)
        if noise != distributions.SAMPLED:
            return ActorOutput(action, log_prob), core_state
        at_random = updates < random_calls
        uniform = _uniform(random_key, shape)
        output = jax.tree.map(
            lambda *each: jnp.where(at_random, *each),
            uniform,
            ActorOutput(action, log_prob),
        )
        return output, core_state

    return base.Agent(
        init=init,
        initial_core_state=lambda envs: (),
        act=act,
        update=functools.partial(soft.update, rule),
        actor_params=lambda state: (state.policy, state.updates),
        frames_per_update=configuration.frames_per_update(config, spec.frames_per_step),
        watched=base.Watched(
            skipped="skipped",
            best_by="mean",
            shown={"log alpha": "hyperparameters/log_alpha/head_1"},
        ),
        replay=base.ReplaySize(
            capacity=numbers.replay_capacity,
            least=numbers.first_steps,
            draws=rule.draws,
            minibatch=numbers.minibatch,
            initial=numbers.initial_states * sees_beginnings,
        ),
    )


def _uniform(key: Array, shape: tuple[int, int]) -> ActorOutput:
    """Actions drawn evenly between the bounds, before the tanh."""
    squashed = jax.random.uniform(key, shape, minval=-1.0)
    action = jnp.arctanh(jnp.clip(squashed, -_NEARLY_ONE, _NEARLY_ONE))
    return ActorOutput(action, jnp.full(shape[:1], -shape[1] * math.log(2.0)))


def _updates_per_call(numbers: Soft, steps: int) -> int:
    """Updates that the new steps of a call are worth.

    Raises:
      ConfigError: they are no whole number.
    """
    updates = numbers.updates_per_step * steps
    configuration.check(
        updates >= 1 and math.isclose(updates, round(updates)),
        f"agent.soft.updates_per_step={numbers.updates_per_step}: must make a whole"
        f" number of updates of the {steps} new steps of a batch",
    )
    return round(updates)
