"""Plays what runs of control have learned, also with less noise than they learned with.

    python -m benchmarks.saved_policies runs/control/cartpole.balance/* --noise=1,0.5,0

For each run's newest checkpoint, and each factor on the standard deviation of its
policy (0: the mean action): the mean return of `--episodes` whole episodes and its
standard error. All play from the same starts; a run's own returns lag, and were earned
by wider policies.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import pathlib
import sys

import jax

from benchmarks import asking, episodes
from launch import overrides
from stac import distributions
from stac.agents import actor_critic
from stac.config import Config, ConfigError, check, flat
from stac.distributions import Distribution
from stac.environments import make
from stac.runtime import checkpoints, workdir
from stac.types import Array


def configuration(path: pathlib.Path) -> Config:
    """What the run in this workdir was asked to do.

    Raises:
      ConfigError: no run is there, or it is of another version's configuration.
    """
    place = path / workdir.CONFIG
    check(place.exists(), f"{path}: is no run's workdir: it has no {workdir.CONFIG}")
    told = flat(json.loads(place.read_text()))
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in told.items()
    }
    strange = values.keys() ^ flat(dataclasses.asdict(Config())).keys()
    check(not strange, f"{place}: is another version's: {', '.join(sorted(strange))}")
    return overrides.apply(Config(), values)


def played(path: pathlib.Path, noise: float, num_episodes: int) -> episodes.Returns:
    """Of the newest checkpoint in this workdir.

    Raises:
      ConfigError: there is none, or its actions are not continuous.
    """
    config = configuration(path)
    steps = path / workdir.CHECKPOINTS
    check(steps.is_dir(), f"{path}: nothing is saved there yet")
    spec = make.spec(config)
    check(spec.continuous, f"{path}: {config.environment.domain} has no noise")
    still = dataclasses.replace(config.environment, stagger=False)
    config = dataclasses.replace(config, environment=still)
    with contextlib.ExitStack() as stack:
        environment = make.factory(config)(0, num_episodes)
        stack.callback(environment.close)
        own = actor_critic.own_distribution(config, spec)
        agent = actor_critic.build(config, spec, with_noise(own, noise))
        key = jax.random.PRNGKey(0)
        saved = checkpoints.Checkpoints(steps, config.runtime.checkpoints_to_keep)
        stack.callback(saved.close)
        found = saved.steps()
        check(bool(found), f"{path}: nothing is saved there yet")
        state = saved.restore(found[-1], like=agent.init(key)).state
        policy = episodes.acting(agent, agent.actor_params(state), num_episodes, key)
        return episodes.Returns.of(episodes.returns(environment, policy))


def with_noise(own: Distribution, factor: float) -> Distribution:
    """A Gaussian's, whose samples lie so many times as far from its mean."""

    def sample(key: Array, outputs: Array) -> Array:
        mean, _ = distributions.mean_and_log_std(outputs)
        return mean + factor * (own.sample(key, outputs) - mean)

    return own._replace(sample=sample)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workdirs", type=pathlib.Path, nargs="+")
    parser.add_argument("--noise", default="1,0.5,0", help="factors (default 1,0.5,0)")
    parser.add_argument("--episodes", type=int, default=24, help="(default 24)")
    given = parser.parse_args()
    with asking.in_one_line(parser):
        check(
            given.episodes > 1, "--episodes: must be at least 2, for a standard error"
        )
        factors = _factors(given.noise)
        for path in given.workdirs:
            found = [played(path, factor, given.episodes) for factor in factors]
            cells = [f"x{n:g} {of}" for n, of in zip(factors, found, strict=True)]
            print(path, *cells, sep="  ", flush=True)


def _factors(written: str) -> list[float]:
    with contextlib.suppress(ValueError):
        factors = [float(word) for word in written.split(",")]
        if all(0 <= factor < 100 for factor in factors):
            return factors
    raise ConfigError(f"--noise={written}: write factors, as in --noise=1,0.5,0")


if __name__ == "__main__":
    sys.exit(asking.run(main))
