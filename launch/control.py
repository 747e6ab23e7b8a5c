"""`python -m launch.control --agent=stacx --task=walker.walk`: the Control Suite."""

from __future__ import annotations

import functools

from stac.configs import control as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.control",
    summary="a task of the DeepMind Control Suite, such as --task=walker.walk",
    flags={
        "task": ("walker.walk", "domain.task, in any usual spelling; list names all"),
        "observations": ("features", "features or pixels (84x84 RGB of one camera)"),
    },
    config=numbers.config,
    tasks="stac.environments.control:tasks",
    task="stac.environments.control:task",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
