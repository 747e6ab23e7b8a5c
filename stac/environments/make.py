"""From a configuration to environments: a table with a row per domain.

A domain's library is imported when its environment is built, so that catch does not
need ale-py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from stac import config as configuration
from stac import cores
from stac.config import Config, EnvironmentConfig
from stac.environments import base

# Fields of the environment's configuration and the domains that read them.
_ONLY = {
    "challenges": ("realworld",),
    "minimal_actions": ("minatar",),
    "protocol": ("atari",),
    "ramping": ("minatar",),
    "stagger": ("control", "realworld"),
    "sticky_actions": ("minatar",),
    "threads": ("atari", "control", "gymnasium", "realworld"),
    "workers": ("control", "gymnasium", "realworld"),
}
_AT_ONCE = 16  # environments that look at the beginnings of episodes
STAGGER_STEPS = 1000  # the length of every episode of the suite's benchmark


def _atari(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import atari, atari_replay

    environment = config.environment
    saved = config.runtime.name == "lockstep"  # the one that saves episodes
    game = atari_replay.RestorableAtari if saved else atari.Atari
    return game(
        environment.task,
        seed,
        num_envs,
        protocol=environment.protocol,
        threads=_cores(config),
    )


def _catch(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import catch

    return catch.Catch(config.environment.task, seed, num_envs)


def _control(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import control

    chosen = config.environment
    make = functools.partial(control.environment, chosen.task, chosen.observations)
    return _batched(make, config, seed, num_envs)


def _gymnasium(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import gymnasium

    chosen = config.environment
    return gymnasium.Gymnasium(
        chosen.task, seed, num_envs, workers=chosen.workers, cores=_cores(config)
    )


def _minatar(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import minatar

    chosen = config.environment
    return minatar.MinAtar(
        chosen.task,
        seed,
        num_envs,
        sticky_actions=chosen.sticky_actions,
        ramping=chosen.ramping,
        minimal_actions=chosen.minimal_actions,
    )


def _realworld(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments.realworld import suite

    chosen = config.environment
    configuration.check(
        chosen.observations == "features",
        "environment.observations: the Real-World RL tasks have features only",
    )
    make = functools.partial(suite.environment, chosen.task, chosen.challenges)
    return _batched(make, config, seed, num_envs)


def _batched(
    make: Callable[[int], Any], config: Config, seed: int, num_envs: int
) -> base.BatchedEnvironment:
    """E dm_env environments with unrelated seeds."""
    from stac.environments.vector import batched

    environment = config.environment
    seeds, cuts = np.random.SeedSequence(seed).spawn(2)
    return batched.Batched(
        make,
        [int(word) for word in seeds.generate_state(num_envs)],
        workers=environment.workers,
        cores=_cores(config),
        stagger_steps=STAGGER_STEPS if environment.stagger else 0,
        seed=int(cuts.generate_state(1)[0]),
    )


Builder = Callable[[Config, int, int], base.BatchedEnvironment]
DOMAINS: dict[str, Builder] = {
    "atari": _atari,
    "catch": _catch,
    "control": _control,
    "gymnasium": _gymnasium,
    "minatar": _minatar,
    "realworld": _realworld,
}


def factory(config: Config) -> base.EnvironmentFactory:
    """Returns the function that builds the environments from (seed, num_envs).

    It pickles, and counts the cores of the machine on which it is called.

    Raises:
      ConfigError: an unknown domain. An unknown task is refused by the returned
        function, and by `spec`.
    """
    domain = configuration.choose("domain", config.environment.domain, DOMAINS)
    return functools.partial(DOMAINS[domain], config)


def reads(domain: str, field: str) -> bool:
    """Whether the domain reads a field, such as "environment.ramping"."""
    name = field.removeprefix("environment.").partition(".")[0]
    return not field.startswith("environment.") or domain in _ONLY.get(name, [domain])


def spec(config: Config) -> base.EnvironmentSpec:
    """The sizes and bounds of an environment, which is built and closed again.

    Raises:
      ConfigError: an unknown domain, task or protocol, or an environment that cannot be
        built here.
    """
    return spec_of(config.environment)


@functools.lru_cache(maxsize=1)  # a start of a run asks three times
def spec_of(environment: EnvironmentConfig) -> base.EnvironmentSpec:
    """`spec` by all that it depends on."""
    alone = dataclasses.replace(environment, workers="serial")
    config = Config(environment=alone)
    of_a_user = environment.domain == "gymnasium"
    with (
        building(environment.task) if of_a_user else contextlib.nullcontext(),
        contextlib.closing(factory(config)(0, 1)) as built,
    ):
        if of_a_user:
            from stac.environments import gymnasium

            gymnasium.try_out(environment.task)
        return built.spec


@contextlib.contextmanager
def building(task: str) -> Iterator[None]:
    """Turns what a user's environment raises while it is built into a ConfigError."""
    try:
        yield
    except configuration.ConfigError:
        raise
    except Exception as error:  # it may raise anything
        raise base.refusal(f"{task} cannot be built", error) from error


def first_observations(config: Config, seed: int, count: int) -> np.ndarray:
    """[count, ...] observations with which episodes begin; some environments see them.

    Args:
      config: of the run.
      seed: of the environments, which are built and closed again.
      count: how many; 0 builds none.
    """
    if not count:
        return np.zeros((0, 1), np.float32)
    # Some episodes begin sooner than worker processes do.
    alone = dataclasses.replace(config.environment, workers="serial")
    build = factory(dataclasses.replace(config, environment=alone))
    with contextlib.closing(build(seed, min(count, _AT_ONCE))) as environment:
        seen = [
            np.array(environment.reset().observation)
            for _ in range(-(-count // environment.num_envs))
        ]
    return np.concatenate(seen)[:count]


def envs_per_actor(config: Config) -> int:
    """E: what is set, else 16 where an actor has one core, and 32 elsewhere.

    16 load in half the time and act with newer parameters, but fewer rows share the
    cost of a call (docs/performance.md, "Starting"). Lockstep does not look at cores,
    so that a seed gives the same run on every machine.
    """
    if given := config.runtime.envs_per_actor:
        return given
    alone = share_of_cores(config.runtime.num_actors) == 1
    return 16 if alone and config.runtime.name != "lockstep" else 32


def _cores(config: Config) -> int:
    """Threads or processes for each actor."""
    return config.environment.threads or share_of_cores(config.runtime.num_actors)


def share_of_cores(actors: int) -> int:
    """Threads for each of `actors` on this machine: its cores shared out, or 1."""
    return max(1, cores.usable() // max(1, actors))
