"""Catch's numbers: no paper's, chosen so that every agent learns it within a minute."""

from __future__ import annotations

from stac.agents.make import agent_config
from stac.config import (
    BatchConfig,
    Config,
    EnvironmentConfig,
    NetworkConfig,
    OptimizerConfig,
    Outer,
    RuntimeConfig,
)


def config(task: str = "features", agent: str = "stacx") -> Config:
    """A run that ends in perfect play.

    Args:
      task: one of `stac.environments.catch.TASKS`.
      agent: a row of `stac.agents.make`.
    """
    return Config(
        agent=agent_config(agent, outer=Outer(gamma=0.99)),
        network=NetworkConfig(
            torso="shallow" if task == "pixels" else "mlp",
            head_hidden=32,
            mlp_hiddens=(64, 64),
        ),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        batch=BatchConfig(batch_size=16, unroll_length=10),
        environment=EnvironmentConfig(domain="catch", task=task),
        runtime=RuntimeConfig(num_actors=2, envs_per_actor=16, log_every_seconds=1.0),
        total_frames=300_000,
    )
