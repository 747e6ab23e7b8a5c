"""Runs that saved a network before its first update."""

from __future__ import annotations

import pathlib

import jax

from stac.agents import actor_critic
from stac.config import Config
from stac.environments import make
from stac.runtime.storage import checkpoints, workdir


def saved(
    place: pathlib.Path, config: Config, seed: int, folder: str = workdir.CHECKPOINTS
) -> None:
    """Makes such a run's workdir."""
    workdir.prepare(place, config).close()
    agent = actor_critic.build(config, make.spec(config))
    kept = checkpoints.Checkpoints(place / folder, keep=1)
    kept.save(7, agent.init(jax.random.PRNGKey(seed)), {})
    kept.close()
