"""`python -m launch.catch`: the whole system on a game that is learned in seconds."""

from __future__ import annotations

import functools

from stac.configs import catch as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.catch",
    summary="a tiny game, to see everything work within a minute",
    flags={"task": ("features", "features (a flat grid) or pixels")},
    config=numbers.config,
    tasks="stac.environments.catch:TASKS",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
