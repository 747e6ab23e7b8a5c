"""MinAtar's numbers: the network is of the size of Young and Tian's (2019).

Learning rate, epsilon and the entropy's weight are IMPALA's best of fifteen settings,
on two games and a seed that no study uses, and then fixed for all agents
(docs/results_minatar.md).
"""

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


def config(game: str = "breakout", agent: str = "stacx") -> Config:
    """A run of one game, as long as those of Young and Tian (2019).

    Args:
      game: one of `stac.environments.minatar.GAMES`.
      agent: a row of `stac.agents.make`.
    """
    return Config(
        agent=agent_config(agent, outer=Outer(gamma=0.99)),
        network=NetworkConfig(torso="minatar", head_hidden=64),
        optimizer=OptimizerConfig(learning_rate=1e-2, rms_epsilon=1e-2),
        batch=BatchConfig(batch_size=32, unroll_length=20),
        environment=EnvironmentConfig(domain="minatar", task=game),
        runtime=RuntimeConfig(num_actors=2, envs_per_actor=32, log_every_seconds=2.0),
        total_frames=5_000_000,
    )
