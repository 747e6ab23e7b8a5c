"""Gymnasium's numbers: no paper's. They are a start for small tasks with features."""

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
from stac.configs import soft


def config(env: str = "CartPole-v1", agent: str = "stacx") -> Config:
    """A run of one environment of gymnasium's registry.

    Args:
      env: an id as `stac.environments.gymnasium.task` returns it.
      agent: a row of `stac.agents.make`.
    """
    numbers = Config(
        agent=agent_config(
            agent,
            reward_clip=0.0,  # off: the rewards of an unknown task are left alone
            reduction="mean",
            outer=Outer(gamma=0.99, g_v=0.5, g_e=0.01),
        ),
        network=NetworkConfig(torso="mlp", head_hidden=64, mlp_hiddens=(64, 64)),
        optimizer=OptimizerConfig(learning_rate=3e-3, rms_epsilon=1e-3),
        batch=BatchConfig(batch_size=32, unroll_length=20),
        environment=EnvironmentConfig(domain="gymnasium", task=env),
        runtime=RuntimeConfig(num_actors=2, envs_per_actor=16, log_every_seconds=2.0),
        total_frames=500_000,
    )
    return soft.fitted(numbers)
