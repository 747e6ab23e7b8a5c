"""The four agents of the paper (Fig. 2), each a row of `stac.agents.variants`."""

from __future__ import annotations

from typing import Any

from stac.agents.variants import VARIANTS
from stac.config import AgentConfig, choose


def agent(name: str, **changes: Any) -> AgentConfig:
    """Heads and what is self-tuned from the row `name`; a domain's numbers on top.

    Raises:
      ConfigError: there is no such row.
    """
    row = VARIANTS[choose("agent", name, VARIANTS)]
    return AgentConfig(
        name=name, heads=row.heads, self_tuned=",".join(row.self_tuned), **changes
    )
