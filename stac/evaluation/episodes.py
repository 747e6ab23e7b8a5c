"""Plays whole episodes under a policy, so many and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from stac.agents.base import Agent
from stac.config import check
from stac.environments.base import BatchedEnvironment
from stac.types import Params, Timestep

if TYPE_CHECKING:  # a wrong command line is refused without the seconds of an import
    import jax

# From a row and its number to actions as the environment takes them: [E], or [E, A].
Act = Callable[[Timestep, int], np.ndarray]
# Is called after every row, with the episodes that have ended and the steps so far.
Tell = Callable[[int, int], object]
MOST_STEPS = 100_000  # of an episode; one of Atari ends after 27,000


class Returns(NamedTuple):
    """Mean and standard error of the returns of some episodes."""

    mean: float
    error: float

    @classmethod
    def of(cls, returns: np.ndarray) -> Returns:
        error = returns.std(ddof=1) / np.sqrt(len(returns))
        return cls(float(returns.mean()), float(error))

    def __str__(self) -> str:
        digits = 1 if max(abs(self.mean), self.error) >= 10 else 3
        return f"{self.mean:.{digits}f} ± {self.error:.{digits}f}"


def quotas(num_episodes: int, num_envs: int) -> np.ndarray:
    """[E] episodes that each environment plays: N in all, as equal as they can be."""
    first = np.arange(num_envs) < num_episodes % num_envs
    return num_episodes // num_envs + first


def returns(
    environment: BatchedEnvironment,
    act: Act,
    num_episodes: int | None = None,
    tell: Tell = lambda ended, steps: None,
) -> np.ndarray:
    """Plays episodes to their own ends; returns their raw returns.

    Each environment plays a quota that is fixed before the first step, so that short
    episodes do not count more than long ones. The first N that *end* would be short
    ones. A lost life ends no episode.

    Args:
      environment: E copies, from their next reset on.
      act: the policy.
      num_episodes: N; one for each environment by default.
      tell: is called after every row; where it raises, the play is broken off.

    Returns:
      [N] float64: those of the first environment, of the second, and so on.

    Raises:
      ConfigError: an episode does not end.
    """
    quota = quotas(num_episodes or environment.num_envs, environment.num_envs)
    ended: list[list[float]] = [[] for _ in quota]
    sums = np.zeros(environment.num_envs, np.float64)
    lengths = np.zeros(environment.num_envs, np.int64)
    timestep, step = environment.reset(), 0
    while True:
        lengths = np.where(timestep.first, 0, lengths + 1)
        check_length(lengths.max())
        sums = np.where(timestep.first, 0.0, sums + timestep.reward)
        for index in np.flatnonzero(timestep.last):
            if len(ended[index]) < quota[index]:
                ended[index].append(float(sums[index]))
        played = np.array([len(each) for each in ended])
        tell(int(played.sum()), step)
        if (played == quota).all():
            return np.array([value for each in ended for value in each])
        timestep, step = environment.step(act(timestep, step)), step + 1


def acting(agent: Agent, params: Params, num_envs: int, key: jax.Array) -> Act:
    """The agent's policy from its first row on; for one call of `returns`.

    Args:
      agent: for the environments that it will act in.
      params: `agent.actor_params` of a state.
      num_envs: E.
      key: of the samples.
    """
    import jax

    act = jax.jit(agent.act)  # compiled once for each agent
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


def check_length(steps: int) -> None:
    """Raises a ConfigError where an episode has more steps than MOST_STEPS."""
    check(
        steps <= MOST_STEPS,
        f"an episode has not ended after {MOST_STEPS:,} steps: give the environment a"
        " time limit (gymnasium's max_episode_steps)",
    )
