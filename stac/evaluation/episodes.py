"""Plays whole episodes under a policy, for scripts that compare policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stac.agents.base import Agent
from stac.config import Config
from stac.environments import make
from stac.environments.base import BatchedEnvironment
from stac.runtime.logs.episodes import Episodes
from stac.types import Params, Timestep

if TYPE_CHECKING:  # a wrong command line is refused without the seconds of an import
    import jax

# From a row and its number to actions as the environment takes them: [E], or [E, A].
Policy = Callable[[Timestep, int], np.ndarray]


class Returns(NamedTuple):
    """Of some episodes."""

    mean: float
    error: float  # standard, of the mean

    @classmethod
    def of(cls, returns: np.ndarray) -> Returns:
        error = returns.std(ddof=1) / np.sqrt(len(returns))
        return cls(float(returns.mean()), float(error))

    def __str__(self) -> str:
        digits = 1 if max(abs(self.mean), self.error) >= 10 else 3
        return f"{self.mean:.{digits}f} ± {self.error:.{digits}f}"


def whole(config: Config) -> Config:
    """The same, with first episodes that are as long as all others."""
    environment = config.environment
    if "stagger" not in make.unused(environment.domain):
        environment = dataclasses.replace(environment, stagger=False)
    return dataclasses.replace(config, environment=environment)


def returns(environment: BatchedEnvironment, policy: Policy) -> np.ndarray:
    """[E] raw returns of the first episode of each environment, to its own end.

    Of each one episode, so that short ones do not count more than long ones. A lost
    life ends none.
    """
    episodes = Episodes(environment.num_envs, staggered=False)
    timestep, step = environment.reset(), 0
    first, _ = episodes.add(timestep)
    while np.isnan(first).any():
        timestep, step = environment.step(policy(timestep, step)), step + 1
        ended, _ = episodes.add(timestep)
        first = np.where(np.isnan(first), ended, first)
    return first


def acting(agent: Agent, params: Params, num_envs: int, key: jax.Array) -> Policy:
    """The agent's policy, sampled as an actor does; for one `returns`.

    Args:
      agent: for the environments that it will act in.
      params: `agent.actor_params` of a state.
      num_envs: E.
      key: of the samples.
    """
    import jax

    act = jax.jit(agent.act)
    core = agent.initial_core_state(num_envs)

    def policy(timestep: Timestep, step: int) -> np.ndarray:
        nonlocal core
        output, core = act(
            params,
            jax.random.fold_in(key, step),
            timestep.observation,
            timestep.first,
            core,
        )
        return np.asarray(output.action)

    return policy
