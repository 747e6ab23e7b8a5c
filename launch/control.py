"""`python -m launch.control --agent=stacx --task=walker.walk`: the Control Suite."""

from __future__ import annotations

from stac.configs import control as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _task(name: str) -> str:
    from stac.environments import control  # imports dm_control to know its tasks

    return control.task(name)


def _tasks() -> list[str]:
    from stac.environments import control

    return control.tasks()


DOMAIN = flags.Domain(
    program="launch.control",
    summary="trains STAC, STACX or IMPALA on a task of the DeepMind Control Suite.",
    flags={
        "task": ("walker.walk", "domain.task, in any usual spelling; list names all"),
        "observations": ("features", "features or pixels (84x84 RGB of one camera)"),
    },
    config=numbers.config,
    played=_tasks,
    task=_task,
)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    return flags.main(start.run, DOMAIN, argv)


if __name__ == "__main__":
    shutdown.as_program(main)
