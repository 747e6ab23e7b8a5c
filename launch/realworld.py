"""`python -m launch.realworld --agent=stac --task=cartpole.swingup --challenge=hard`.

The Real-World RL suite, each challenge also on its own:
`--challenge=none --config.environment.challenges.action_delay=3`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stac.config import Config
from stac.configs import realworld as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _config(task: str, **rest: Any) -> Config:
    from stac.environments.realworld import suite

    return numbers.config(task=suite.task(task), **rest)


def _tasks() -> Sequence[str]:
    from stac.environments.realworld import suite

    return suite.TASKS


DOMAIN = flags.Domain(
    program="launch.realworld",
    summary="trains STAC, STACX or IMPALA on a task of the Real-World RL suite.",
    flags={
        "task": ("cartpole.swingup", "in any usual spelling; list names all four"),
        "challenge": ("easy", "none, or all of them together: easy, medium or hard"),
    },
    config=_config,
    played=_tasks,
)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    return flags.main(start.run, DOMAIN, argv)


if __name__ == "__main__":
    shutdown.as_program(main)
