"""`python -m launch.catch`: the whole system on a game that is learned in seconds."""

from __future__ import annotations

from collections.abc import Iterable

from stac.configs import catch as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _tasks() -> Iterable[str]:
    from stac.environments import catch

    return catch.TASKS


DOMAIN = flags.Domain(
    program="launch.catch",
    summary="trains on catch, a tiny game, to see everything work within a minute.",
    flags={"task": ("features", "features (a flat grid) or pixels")},
    config=numbers.config,
    played=_tasks,
)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    return flags.main(start.run, DOMAIN, argv)


if __name__ == "__main__":
    shutdown.as_program(main)
