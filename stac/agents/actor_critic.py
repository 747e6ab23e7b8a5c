"""The actor-critic family: IMPALA, STAC, STACX and all between, built as one agent."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from stac import config as configuration
from stac import distributions
from stac.agents import base
from stac.config import Config
from stac.distributions import Distribution
from stac.environments.base import EnvironmentSpec
from stac.learning import metaparameters, metrics, update
from stac.networks import network as networks
from stac.types import ActorOutput, Array, CoreState, HeadOutput, Params, Trajectory


def own_distribution(config: Config, spec: EnvironmentSpec) -> Distribution:
    """Returns the family of policies for the environment's actions."""
    if spec.continuous:
        std = config.network.initial_std or None
        return distributions.tanh_normal(spec.num_actions, std)
    return distributions.categorical(spec.num_actions)


def build(
    config: Config, spec: EnvironmentSpec, noise: float = distributions.SAMPLED
) -> base.Agent:
    """Builds the agent that `config` describes, for environments like `spec`.

    Args:
      config: the run.
      spec: of the environments.
      noise: with which it acts; see `distributions.with_noise`.
    """
    own = own_distribution(config, spec)
    distribution = distributions.with_noise(own, noise, spec.continuous)
    network = networks.make(config, distribution.bias, spec)
    random = config.agent.behaviour == "random_head"
    behave = _random_head if random else _mean_of_heads

    def unroll(
        params: Params, trajectory: Trajectory, gamma: Array
    ) -> tuple[HeadOutput, ...]:
        rows = jnp.asarray(trajectory.observation), jnp.asarray(trajectory.first)
        return network.unroll(params, *rows, trajectory.core_state, gamma)

    batch = config.batch
    rule = update.Rule(
        unroll=unroll,
        distribution=distribution,
        agent=config.agent,
        optimizer=config.optimizer,
        trajectories_per_update=batch.batch_size,
        transitions_per_update=batch.batch_size
        * (batch.unroll_length - 1 - batch.burn_in),
        frames_per_update=configuration.frames_per_update(config, spec.frames_per_step),
        total_frames=config.total_frames,
        burn_in=batch.burn_in,
        warm=network.warm,
    )

    def init(key: Array) -> update.State:
        params_key, key = jax.random.split(key)
        return update.init(rule, network.init(params_key), key)

    def act(
        actor_params: Params,
        key: Array,
        observation: Array,
        first: Array,
        core_state: CoreState,
    ) -> tuple[ActorOutput, CoreState]:
        params, raw = actor_params
        zeta = metaparameters.squash(raw, config.agent.outer, config.agent.heads)
        rows = jnp.asarray(observation), jnp.asarray(first)
        policies, core_state = network.step(params, *rows, core_state, zeta["gamma"])
        return behave(distribution, key, policies), core_state

    def actor_params(state: update.State) -> Params:
        return network.acting(state.params), state.metaparameters

    return base.Agent(
        init=init,
        initial_core_state=network.initial_state,
        act=act,
        update=functools.partial(update.update, rule),
        actor_params=actor_params,
        frames_per_update=rule.frames_per_update,
        watched=WATCHED._replace(shown=_shown(config)),
    )


WATCHED = base.Watched(
    skipped="skipped",
    alerts=metrics.saturation_alerts,
)


def _shown(config: Config) -> dict[str, str]:
    """Metaparameters of head 1, which acts: all that are tuned, or the discount."""
    names = config.agent.self_tuned_names or ("gamma",)
    return {name: f"hyperparameters/{name}/head_1" for name in names}


# Behaviour policies: from the acting heads' policies, [E, num_outputs] each, to actions
# and their log-probability under the whole policy, for importance ratios.


def _mean_of_heads(
    distribution: Distribution, key: Array, policies: tuple[jax.Array, ...]
) -> ActorOutput:
    """Samples from the mean of the acting heads' outputs: of head 1, or of all."""
    outputs = jnp.stack(policies).mean(axis=0)
    action = distribution.sample(key, outputs)
    return ActorOutput(action, distribution.log_prob(outputs, action))


def _random_head(
    distribution: Distribution, key: Array, policies: tuple[jax.Array, ...]
) -> ActorOutput:
    """Draws a head anew for every step and environment: a uniform mixture.

    The paper does not say how long a drawn head acts; one step makes the mixture's
    log-probability exact.
    """
    choice_key, sample_key = jax.random.split(key)
    stacked = jnp.stack(policies)  # [P, E, num_outputs]
    choice = jax.random.randint(choice_key, stacked.shape[1:2], 0, len(policies))
    chosen = stacked[choice, jnp.arange(len(choice))]
    action = distribution.sample(sample_key, chosen)
    log_probs = jnp.stack([distribution.log_prob(y, action) for y in policies])
    mixture = jax.nn.logsumexp(log_probs, axis=0) - jnp.log(len(policies))
    return ActorOutput(action, mixture)
