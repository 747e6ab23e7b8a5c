"""From a configuration to an agent: one table, a row per family.

A family is the function that builds its agents. To add one, write that function, and
give each name of `--agent` a row here and a row of `stac.agents.variants.VARIANTS`,
which the command line reads without JAX.
"""

from __future__ import annotations

from collections.abc import Callable

from stac.agents import actor_critic, base, variants
from stac.config import Config, choose
from stac.environments.base import EnvironmentSpec

Builder = Callable[[Config, EnvironmentSpec], base.Agent]
FAMILIES: dict[str, Builder] = {
    **dict.fromkeys(variants.VARIANTS, actor_critic.build),  # IMPALA, STAC, STACX
}


def build(config: Config, spec: EnvironmentSpec) -> base.Agent:
    """Builds the configured agent for environments like `spec`.

    Raises:
      ConfigError: there is no such agent, or it does not fit the environments.
    """
    return FAMILIES[choose("agent", config.agent.name, FAMILIES)](config, spec)
