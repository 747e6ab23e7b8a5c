"""The Real-World RL challenges of one run, each on its own (Dulac-Arnold et al. 2020).

The combined easy, medium and hard are rows of `configs/realworld.py`; every number
here can also be set alone: `--config.environment.challenges.action_delay=3`.
"""

from __future__ import annotations

import dataclasses

from stac.checks import choose

BUFFERS = ("faithful", "reset")


@dataclasses.dataclass(frozen=True)
class Challenges:
    """What stands between a task and the agent; the defaults are no challenge."""

    buffers: str = "faithful"  # the original's: delays run on over episodes; or "reset"
    action_delay: int = 0  # control steps

    def __post_init__(self) -> None:
        choose("environment.challenges.buffers", self.buffers, BUFFERS)
