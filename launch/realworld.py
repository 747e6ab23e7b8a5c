"""`python -m launch.realworld --agent=stac --task=cartpole.swingup --challenge=hard`.

The Real-World RL suite, each challenge also on its own:
`--challenge=none --config.environment.challenges.action_delay=3`.
"""

from __future__ import annotations

import functools
from typing import Any

from stac.config import Config
from stac.configs import realworld as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _config(task: str, **rest: Any) -> Config:
    from stac.environments.realworld import suite

    return numbers.config(task=suite.task(task), **rest)


DOMAIN = flags.Domain(
    program="launch.realworld",
    summary="a task of the Real-World RL suite, such as --task=walker.walk",
    flags={
        "task": ("cartpole.swingup", "in any usual spelling; list names all four"),
        "challenge": ("easy", "none, or all of them together: easy, medium or hard"),
    },
    config=_config,
    tasks="stac.environments.realworld.suite:TASKS",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
