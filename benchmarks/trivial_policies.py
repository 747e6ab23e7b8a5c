"""Mean returns of policies that learn nothing: a learned return means little without.

    python -m benchmarks.trivial_policies cartpole.balance walker.stand --episodes=20

For each control task: actions that are constantly 0, -1 or 1 times the bounds, uniform
ones, standard normal noise before the tanh, which is what the regulariser pulls
policies to, and the network before its first update (its own seed for each group).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import asking
from configs import control as numbers
from stac.agents import actor_critic
from stac.config import Config
from stac.environments import make
from stac.environments.base import BatchedEnvironment
from stac.types import Timestep

STEPS = 1000  # of an episode
FAR = 20.0  # its tanh is 1 in double precision

# From (row, number of the step) to samples before the tanh, [E, A].
Policy = Callable[[Timestep, int], np.ndarray]


def mean_return(environment: BatchedEnvironment, policy: Policy) -> float:
    """Over one episode of each environment."""
    timestep, total = environment.reset(), 0.0
    for step in range(STEPS):
        timestep = environment.step(policy(timestep, step))
        total += float(timestep.reward.sum())
    assert timestep.last.all()
    return total / environment.num_envs


def constant(environment: BatchedEnvironment, sample: float) -> Policy:
    actions = np.full((environment.num_envs, environment.spec.num_actions), sample)
    return lambda timestep, step: actions


def uniform(environment: BatchedEnvironment) -> Policy:
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    return lambda timestep, step: np.arctanh(random.uniform(-1, 1, shape))


def noise(environment: BatchedEnvironment) -> Policy:
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    return lambda timestep, step: random.standard_normal(shape)


def untrained(config: Config, environment: BatchedEnvironment, seed: int) -> Policy:
    """The network's first policy, sampled as an actor does."""
    agent = actor_critic.build(config, environment.spec)
    key = jax.random.PRNGKey(seed)
    params = agent.actor_params(agent.init(key))
    act = jax.jit(agent.act)
    core = agent.initial_core_state(environment.num_envs)

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


def row(task: str, episodes: int) -> dict[str, float]:
    """Mean returns by policy; the untrained one's over 5 networks."""
    config = numbers.config(task=task, agent="impala")
    config = dataclasses.replace(
        config, environment=dataclasses.replace(config.environment, stagger=False)
    )
    environment = make.factory(config)(0, episodes)
    try:
        found = {
            name: mean_return(environment, constant(environment, sample))
            for name, sample in (("zero", 0.0), ("lowest", -FAR), ("highest", FAR))
        }
        found["uniform"] = mean_return(environment, uniform(environment))
        found["noise"] = mean_return(environment, noise(environment))
        first = [
            mean_return(environment, untrained(config, environment, seed))
            for seed in range(5)
        ]
        return found | {"untrained": float(np.mean(first))}
    finally:
        environment.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+")
    parser.add_argument("--episodes", type=int, default=20)
    arguments = parser.parse_args()
    for task in arguments.tasks:
        with asking.in_one_line(parser):
            found = row(task, arguments.episodes)
        print(task, *(f"{name} {value:.1f}" for name, value in found.items()))


if __name__ == "__main__":
    main()
