"""`python -m launch.gymnasium --env=CartPole-v1`: any environment of gymnasium.

`--env=module:Id` imports a module of yours, which registers `Id`.
"""

from __future__ import annotations

from stac.configs import gymnasium as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _task(name: str) -> str:
    from stac.environments import gymnasium  # takes half a second

    return gymnasium.task(name)


def _tasks() -> list[str]:
    from stac.environments import gymnasium

    return gymnasium.tasks()


DOMAIN = flags.Domain(
    program="launch.gymnasium",
    summary="trains STAC, STACX or IMPALA on an environment of gymnasium.",
    flags={"env": ("CartPole-v1", "an id, or module:id; list names all")},
    config=numbers.config,
    played=_tasks,
    task=_task,
)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    return flags.main(start.run, DOMAIN, argv)


if __name__ == "__main__":
    shutdown.as_program(main)
