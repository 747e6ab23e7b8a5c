"""Plays what runs of control have learned, also with less noise than they learned with.

    python -m stac.analysis.saved_policies runs/control/cartpole.balance/*

For each run's newest checkpoint, and each factor on the standard deviation of its
policy (0: the mean action): the mean return of `--episodes` whole episodes and its
standard error. All play from the same starts; a run's own returns lag, and were earned
by wider policies. Late rewards of Real-World RL are lost at the end of these first
episodes, where a run's later ones get their predecessors' (`buffers=faithful`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Iterator, Sequence

import jax

from stac import distributions
from stac.agents import actor_critic
from stac.agents.base import Agent
from stac.analysis import asking, episodes
from stac.analysis.episodes import Returns
from stac.config import Config, ConfigError, changed, check, flat
from stac.distributions import Distribution
from stac.environments import make
from stac.runtime.storage import checkpoints, workdir
from stac.types import Array, Params


def configuration(path: pathlib.Path) -> Config:
    """What the run in this workdir was asked to do.

    Raises:
      ConfigError: no run is there, or it is of another version's configuration.
    """
    place = path / workdir.CONFIG
    check(place.exists(), f"{path}: is no run's workdir: it has no {workdir.CONFIG}")
    told = flat(workdir.written(path))
    check(bool(told), f"{place}: is not a configuration")
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in told.items()
    }
    strange = values.keys() ^ flat(dataclasses.asdict(Config())).keys()
    check(not strange, f"{place}: is another version's: {', '.join(sorted(strange))}")
    return changed(Config(), values)


def played(
    path: pathlib.Path, factors: Sequence[float], num_episodes: int
) -> Iterator[Returns]:
    """Of the newest checkpoint in this workdir, for each factor on its noise.

    Raises:
      ConfigError: there is none, or its actions are not continuous.
    """
    config = configuration(path)
    check((path / workdir.CHECKPOINTS).is_dir(), f"{path}: nothing is saved there yet")
    spec = make.spec(config)
    check(spec.continuous, f"{path}: {config.environment.domain} has no noise")
    config = episodes.whole(config)
    own, key = actor_critic.own_distribution(config, spec), jax.random.PRNGKey(0)
    params = _newest(path, config, actor_critic.build(config, spec))
    for factor in factors:
        agent = actor_critic.build(config, spec, with_noise(own, factor))
        policy = episodes.acting(agent, params, num_episodes, key)
        # A new one, for it to begin with the same starts.
        with contextlib.closing(make.factory(config)(0, num_episodes)) as environment:
            yield Returns.of(episodes.returns(environment, policy))


def _newest(path: pathlib.Path, config: Config, agent: Agent) -> Params:
    """What an actor gets of the newest checkpoint."""
    place, keep = path / workdir.CHECKPOINTS, config.runtime.checkpoints_to_keep
    with contextlib.closing(checkpoints.Checkpoints(place, keep)) as saved:
        found = saved.steps()
        check(bool(found), f"{path}: nothing is saved there yet")
        like = agent.init(jax.random.PRNGKey(0))
        return agent.actor_params(saved.restore(found[-1], like=like).state)


def with_noise(own: Distribution, factor: float) -> Distribution:
    """A Gaussian's, whose samples lie so many times as far from its mean."""

    def sample(key: Array, outputs: Array) -> Array:
        mean, _ = distributions.mean_and_log_std(outputs)
        return mean + factor * (own.sample(key, outputs) - mean)

    return own._replace(sample=sample)


def main() -> None:
    parser = asking.Parser(description=__doc__.splitlines()[0])
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
            found = zip(factors, played(path, factors, given.episodes), strict=True)
            asking.row(str(path), (f"x{factor:g} {of}" for factor, of in found))


def _factors(written: str) -> list[float]:
    with contextlib.suppress(ValueError):
        factors = [float(word) for word in written.split(",")]
        if all(0 <= factor < 100 for factor in factors):
            return factors
    raise ConfigError(f"--noise={written}: write factors, as in --noise=1,0.5,0")


if __name__ == "__main__":
    sys.exit(asking.run(main))
