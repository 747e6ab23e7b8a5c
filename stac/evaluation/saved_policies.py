"""Plays what runs have learned: whole episodes under the newest saved policy.

    python -m stac.evaluation.saved_policies runs/control/cartpole.balance/*

For each run: the mean return of `--episodes` whole episodes and its standard error, by
the way of acting. Discrete actions are sampled, as actors do, and greedy. Continuous
ones have the standard deviation of the policy times each factor of `--noise` (0: the
mean action). All play from the same starts; a run's own returns lag, and were earned by
older policies. Late rewards of Real-World RL are lost at the end of these first
episodes, where a run's later ones get their predecessors' (`buffers=faithful`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stac import distributions
from stac.agents import actor_critic
from stac.config import Config, ConfigError, changed, check, flat
from stac.distributions import Distribution
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.evaluation import episodes
from stac.evaluation.episodes import Policy, Returns
from stac.launch import asking
from stac.runtime.storage import checkpoints, workdir
from stac.types import Array, Params

NOISE = (1.0, 0.5, 0.0)  # factors


class Saved(NamedTuple):
    """A policy as it was saved."""

    config: Config
    spec: EnvironmentSpec
    params: Params  # what an actor gets

    @property
    def distribution(self) -> Distribution:
        return actor_critic.own_distribution(self.config, self.spec)

    def policy(self, num_envs: int, distribution: Distribution) -> Policy:
        """Acts in E environments, with samples of this distribution."""
        agent = actor_critic.build(self.config, self.spec, distribution)
        key = jax.random.PRNGKey(0)
        return episodes.acting(agent, self.params, num_envs, key)


def configuration(path: pathlib.Path) -> Config:
    """The configuration of the run in this workdir.

    Raises:
      ConfigError: no run is there, or it is of another version's configuration.
    """
    place = path / workdir.CONFIG
    check(place.exists(), f"{path}: is no run's workdir: it has no {workdir.CONFIG}")
    values = flat(workdir.written(path))
    check(values, f"{place}: is not a configuration")
    strange = values.keys() ^ flat(dataclasses.asdict(Config())).keys()
    check(not strange, f"{place}: is another version's: {', '.join(sorted(strange))}")
    hiddens = "network.mlp_hiddens"  # JSON has lists alone
    return changed(Config(), {**values, hiddens: tuple(values[hiddens])})


def load(path: pathlib.Path) -> Saved:
    """The newest saved policy of the run in this workdir, of any environment.

    Raises:
      ConfigError: no run is there, or nothing is saved yet.
    """
    config = configuration(path)
    place, keep = path / workdir.CHECKPOINTS, config.runtime.checkpoints_to_keep
    check(place.is_dir(), f"{path}: nothing is saved there yet")
    spec = make.spec(config)
    agent = actor_critic.build(config, spec)
    with contextlib.closing(checkpoints.Checkpoints(place, keep)) as saved:
        steps = saved.steps()
        check(bool(steps), f"{path}: nothing is saved there yet")
        like = agent.init(jax.random.PRNGKey(0))
        state = saved.restore(steps[-1], like=like).state
    return Saved(config, spec, agent.actor_params(state))


def score(
    saved: Saved, distribution: Distribution, num_episodes: int, seed: int = 0
) -> Returns:
    """The mean return of whole episodes; the same seed begins with the same starts."""
    factory = make.factory(episodes.whole(saved.config))
    with contextlib.closing(factory(seed, num_episodes)) as environment:
        policy = saved.policy(num_episodes, distribution)
        return Returns.of(episodes.returns(environment, policy))


def ways(saved: Saved, factors: Sequence[float]) -> dict[str, Distribution]:
    """The ways of acting, by name; the factors are for continuous actions alone."""
    own = saved.distribution
    if saved.spec.continuous:
        return {f"x{factor:g}": with_noise(own, factor) for factor in factors}
    return {"sampled": own, "greedy": greedy(own)}


def with_noise(own: Distribution, factor: float) -> Distribution:
    """A Gaussian's, whose samples lie so many times as far from its mean."""

    def sample(key: Array, outputs: Array) -> Array:
        mean, _ = distributions.mean_and_log_std(outputs)
        return mean + factor * (own.sample(key, outputs) - mean)

    return own._replace(sample=sample)


def greedy(own: Distribution) -> Distribution:
    """A categorical's, whose sample is the likeliest action."""

    def sample(key: Array, outputs: Array) -> Array:
        return jnp.argmax(outputs, axis=-1).astype(jnp.int32)

    return own._replace(sample=sample)


def _scores(
    path: pathlib.Path, factors: Sequence[float] | None, num_episodes: int
) -> Iterator[str]:
    """A cell for each way of acting."""
    saved = load(path)
    cure = f"{path}: its actions are discrete and have no noise: leave --noise out"
    check(saved.spec.continuous or factors is None, cure)
    for name, distribution in ways(saved, factors or NOISE).items():
        yield f"{name} {score(saved, distribution, num_episodes)}"


def main() -> None:
    parser = asking.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", type=pathlib.Path, nargs="+")
    factors = "factors for continuous actions (default 1,0.5,0)"
    parser.add_argument("--noise", help=factors)
    parser.add_argument("--episodes", type=int, default=24, help="(default 24)")
    given = parser.parse_args()
    with asking.in_one_line(parser):
        few = "--episodes: must be at least 2, for a standard error"
        check(given.episodes > 1, few)
        noise = None if given.noise is None else _factors(given.noise)
        for path in given.workdirs:
            asking.row(str(path), _scores(path, noise, given.episodes))


def _factors(written: str) -> list[float]:
    with contextlib.suppress(ValueError):
        factors = [float(word) for word in written.split(",")]
        if all(0 <= factor < 100 for factor in factors):
            return factors
    raise ConfigError(f"--noise={written}: write factors, as in --noise=1,0.5,0")


if __name__ == "__main__":
    sys.exit(asking.run(main))
