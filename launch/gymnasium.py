"""`python -m launch.gymnasium --env=CartPole-v1`: any environment of gymnasium.

`--env=module:Id` imports a module of yours, which registers `Id`.
"""

from __future__ import annotations

import functools

from stac.configs import gymnasium as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.gymnasium",
    summary="any environment of gymnasium, such as --env=CartPole-v1",
    flags={"env": ("CartPole-v1", "an id, or module:id; list names all")},
    config=numbers.config,
    tasks="stac.environments.gymnasium:tasks",
    task="stac.environments.gymnasium:task",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
