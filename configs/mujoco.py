"""MuJoCo's locomotion in gymnasium: the tasks of SAC and Meta-SAC.

Meta-SAC (Wang and Ni, 2020) used the v2 tasks. Hopper-v4, Walker2d-v4 and Humanoid-v4
have their shapes; v5 has other rewards.
"""

from __future__ import annotations

import dataclasses

from stac.config import Config
from stac.configs import gymnasium

# Table 2 of Meta-SAC: steps, and the temperature of SAC-v1.
STEPS = {
    "Ant": 3_000_000,
    "Hopper": 1_000_000,
    "Humanoid": 10_000_000,
    "Walker2d": 3_000_000,
}
TEMPERATURES = {"Humanoid": 0.05}


def config(env: str = "Hopper-v4", agent: str = "meta_sac") -> Config:
    """A run of one task, as long as Meta-SAC's.

    Args:
      env: an id as `stac.environments.gymnasium.task` returns it.
      agent: a row of `stac.agents.make`.
    """
    name = env.rpartition(":")[2].partition("-")[0]
    config = gymnasium.config(env, agent)
    soft = config.agent.soft
    if soft.temperature == "fixed":
        soft = dataclasses.replace(soft, alpha=TEMPERATURES.get(name, soft.alpha))
    return dataclasses.replace(
        config,
        agent=dataclasses.replace(config.agent, soft=soft),
        total_frames=STEPS.get(name, 1_000_000),
    )
