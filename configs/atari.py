"""Atari's numbers: the Atari columns of Tables 2 and 3 of Zahavy et al. (2020).

These are the defaults of `stac.config`, each there with its source.
"""

from __future__ import annotations

from stac.agents.make import agent_config
from stac.config import Config, EnvironmentConfig, NetworkConfig, choose

NETWORKS = ("deep", "shallow")  # the paper's; IMPALA's small one, for a CPU


def config(
    game: str = "james_bond", agent: str = "stacx", network: str = "deep"
) -> Config:
    """The paper's run of one game.

    Args:
      game: the game's name as `stac.environments.atari` spells it.
      agent: a row of `stac.agents.make`.
      network: one of `NETWORKS`.

    Raises:
      ConfigError: there is no such agent or network.
    """
    return Config(
        agent=agent_config(agent),
        network=NetworkConfig(torso=choose("network", network, NETWORKS)),
        environment=EnvironmentConfig(domain="atari", task=game),
    )
