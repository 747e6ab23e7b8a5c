"""The table of agents: a row for each name of `--agent`.

A family is a function that builds its agents from a configuration and the spec of their
environments. To add one, write that function and give its agents rows here. The command
line reads this table without JAX: a family is imported when it is built.

IMPALA is STACX with one head and nothing self-tuned. Fig. 2(a) compares these four
rows; the bars of Fig. 2(b) are the last two with a smaller `self_tuned`.
"""

from __future__ import annotations

import pkgutil
from typing import Any, NamedTuple

from stac.agents import base
from stac.config import METAPARAMETERS, AgentConfig, Config, choose
from stac.environments.base import EnvironmentSpec


class Variant(NamedTuple):
    """One row."""

    heads: int  # P: the acting head, and the auxiliary ones
    self_tuned: tuple[str, ...]  # names of stac.config.metaparameter_table
    family: str = "stac.agents.actor_critic:build"  # "module:function"


VARIANTS: dict[str, Variant] = {
    "impala": Variant(heads=1, self_tuned=()),
    "impala_aux": Variant(heads=3, self_tuned=()),
    "stac": Variant(heads=1, self_tuned=METAPARAMETERS),
    "stacx": Variant(heads=3, self_tuned=METAPARAMETERS),
}


def agent_config(name: str, **changes: Any) -> AgentConfig:
    """The row `name`, with a domain's numbers on top.

    Raises:
      ConfigError: there is no such row.
    """
    heads, self_tuned, _ = VARIANTS[choose("agent", name, VARIANTS)]
    tuned = ",".join(self_tuned)
    return AgentConfig(name=name, heads=heads, self_tuned=tuned, **changes)


def build(config: Config, spec: EnvironmentSpec) -> base.Agent:
    """Builds the configured agent for environments like `spec`.

    Raises:
      ConfigError: there is no such agent, or it does not fit the environments.
    """
    row = VARIANTS[choose("agent", config.agent.name, VARIANTS)]
    agent: base.Agent = pkgutil.resolve_name(row.family)(config, spec)
    return agent
