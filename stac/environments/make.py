"""From a configuration to environments: one table, one row per domain.

A domain's simulator is imported when its environment is built, so that nobody needs
ale-py to play catch.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from stac import config as configuration
from stac.config import Config
from stac.environments import base

# field: the domains that read it
_ONLY = {
    "challenges": ("realworld",),
    "protocol": ("atari",),
    "stagger": ("control", "realworld"),
    "workers": ("control", "realworld"),
}
STAGGER_STEPS = 1000  # the length of every episode of the suite's benchmark


def _atari(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import atari

    environment = config.environment
    return atari.Atari(
        environment.task,
        seed,
        num_envs,
        protocol=environment.protocol,
        threads=environment.threads or share_of_cores(config.runtime.num_actors),
        restorable=config.runtime.name == "lockstep",  # which resumes exactly
    )


def _catch(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import catch

    return catch.Catch(config.environment.task, seed, num_envs)


def _control(config: Config, seed: int, num_envs: int) -> base.BatchedEnvironment:
    from stac.environments import control

    chosen = config.environment
    make = functools.partial(control.environment, chosen.task, chosen.observations)
    return _batched(make, config, seed, num_envs)


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
        threads=environment.threads or share_of_cores(config.runtime.num_actors),
        stagger_steps=STAGGER_STEPS if environment.stagger else 0,
        seed=int(cuts.generate_state(1)[0]),
    )


Builder = Callable[[Config, int, int], base.BatchedEnvironment]
DOMAINS: dict[str, Builder] = {
    "atari": _atari,
    "catch": _catch,
    "control": _control,
    "realworld": _realworld,
}


def factory(config: Config) -> base.EnvironmentFactory:
    """Returns what builds the configured environment from (seed, num_envs).

    It pickles, and reads the cores of the machine on which it is called.

    Raises:
      ConfigError: an unknown domain; `spec` and the factory itself also refuse an
        unknown task.
    """
    domain = configuration.choose("domain", config.environment.domain, DOMAINS)
    _check_unused(domain, config.environment)
    return functools.partial(DOMAINS[domain], config)


def unused(domain: str) -> list[str]:
    """Fields of the environment's configuration that are other domains' alone."""
    return [name for name, readers in _ONLY.items() if domain not in readers]


def _check_unused(domain: str, environment: configuration.EnvironmentConfig) -> None:
    """Refuses what the user set and this domain would pass over."""
    plain = configuration.EnvironmentConfig()
    for name in unused(domain):
        readers = " and ".join(f"launch.{reader}" for reader in _ONLY[name])
        configuration.check(
            getattr(environment, name) == getattr(plain, name),
            f"environment.{name} is for {readers} alone: leave it out",
        )


def spec(config: Config) -> base.EnvironmentSpec:
    """What networks must know; builds one environment and closes it again.

    Raises:
      ConfigError: an unknown domain, task or protocol.
    """
    environment = factory(config)(0, 1)
    try:
        return environment.spec
    finally:
        environment.close()


def share_of_cores(actors: int) -> int:
    """Threads for each of `actors` on this machine: its cores shared out, or 1."""
    if hasattr(os, "sched_getaffinity"):  # Linux: the cores this process may use
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, cores // actors)
