"""`python -m launch.mujoco --agent=meta_sac --env=Hopper-v4`: MuJoCo's locomotion."""

from __future__ import annotations

import functools

from stac.configs import mujoco as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.mujoco",
    summary="locomotion in MuJoCo, such as --env=Hopper-v4",
    flags={"env": ("Hopper-v4", "Ant, HalfCheetah, Hopper, Humanoid, Walker2d, …")},
    config=numbers.config,
    tasks="stac.environments.gymnasium:mujoco_tasks",
    task="stac.environments.gymnasium:task",
    agent="meta_sac",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
