"""Mean returns of policies that learn nothing, to compare learned returns with.

    python -m stac.evaluation.trivial_policies cartpole.balance --episodes=100
    python -m stac.evaluation.trivial_policies cartpole.swingup:easy

For each task of control, or of the real world with its challenge: actions that are
constantly 0, -1 or 1 times the bounds, uniform ones, standard normal noise before the
tanh, which is what the regulariser pulls policies to, and the network before its first
update. With each mean goes its standard error; returns of one policy differ much by the
pose an episode begins in. Delays begin anew with each episode, so that no policy gets
what another one earned; so the last late rewards are lost.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import numpy as np

from stac.agents import make as agents
from stac.config import Config, changed
from stac.configs import control, realworld
from stac.environments import make
from stac.environments.base import BatchedEnvironment
from stac.evaluation import episodes, protocols
from stac.evaluation.episodes import Act, Returns, returns
from stac.launch import cli

FAR = 20.0  # its tanh is 1 in double precision


def constant(environment: BatchedEnvironment, sample: float) -> Act:
    actions = np.full((environment.num_envs, environment.spec.num_actions), sample)
    return lambda timestep, step: actions


def uniform(environment: BatchedEnvironment) -> Act:
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    return lambda timestep, step: np.arctanh(random.uniform(-1, 1, shape))


def noise(environment: BatchedEnvironment) -> Act:
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    return lambda timestep, step: random.standard_normal(shape)


def untrained(config: Config, environment: BatchedEnvironment, seed: int) -> Act:
    """The network's first policy, sampled as an actor does."""
    import jax

    agent = agents.build(config, environment.spec)
    key = jax.random.PRNGKey(seed)
    params = agent.actor_params(agent.init(key))
    return episodes.acting(agent, params, environment.num_envs, key)


def row(name: str, num_episodes: int) -> Iterator[tuple[str, Returns]]:
    """Mean returns by policy in `task` or `task:challenge`."""
    task, _, challenge = name.partition(":")
    if challenge:
        config = realworld.config(task, "impala", challenge)
        config = changed(config, {"environment.challenges.buffers": "reset"})
    else:
        config = control.config(task, "impala")
    config = protocols.evaluated(config)
    with contextlib.closing(make.factory(config)(0, num_episodes)) as environment:
        policies = {
            "zero": constant(environment, 0.0),
            "lowest": constant(environment, -FAR),
            "highest": constant(environment, FAR),
            "uniform": uniform(environment),
            "noise": noise(environment),
        }
        for policy_name, policy in policies.items():
            yield policy_name, Returns.of(returns(environment, policy))
        # The mean of each of 5 networks counts as one return.
        networks = (untrained(config, environment, seed) for seed in range(5))
        means = [returns(environment, network).mean() for network in networks]
        yield "untrained", Returns.of(np.array(means))


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("tasks", nargs="+", help="task or task:challenge")
    parser.add_argument("--episodes", type=int, default=100, help="(default 100)")
    arguments = parser.parse_args()
    if arguments.episodes < 2:
        parser.error("--episodes: must be at least 2, for a standard error")
    for task in arguments.tasks:
        before = task
        for name, mean in row(task, arguments.episodes):
            print(before, f"{name} {mean}", sep="  ", end="", flush=True)
            before = ""
        print()


if __name__ == "__main__":
    sys.exit(cli.run(main))
