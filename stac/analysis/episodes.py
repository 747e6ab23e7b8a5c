"""Whole episodes of the suite under a policy, for scripts that compare policies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from stac.agents.base import Agent
from stac.config import Config
from stac.environments.base import BatchedEnvironment
from stac.types import Params, Timestep

STEPS = 1000  # of an episode

# From (row, number of the step) to samples before the tanh, [E, A].
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
        return f"{self.mean:.1f} ± {self.error:.1f}"


def whole(config: Config) -> Config:
    """The same, with first episodes that are as long as all others."""
    played = dataclasses.replace(config.environment, stagger=False)
    return dataclasses.replace(config, environment=played)


def returns(environment: BatchedEnvironment, policy: Policy) -> np.ndarray:
    """[E], of one episode of each environment."""
    timestep, total = environment.reset(), np.zeros(environment.num_envs)
    for step in range(STEPS):
        timestep = environment.step(policy(timestep, step))
        total += timestep.reward
    assert timestep.last.all()
    return total


def acting(agent: Agent, params: Params, num_envs: int, key: jax.Array) -> Policy:
    """The agent's policy, sampled as an actor does; for one episode of each.

    Args:
      agent: of environments like those that it will act in.
      params: `agent.actor_params` of a state.
      num_envs: E.
      key: of the samples.
    """
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
