"""`python -m launch.minatar --agent=stacx --game=breakout`: MinAtar's five games."""

from __future__ import annotations

import functools

from stac.configs import minatar as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.minatar",
    summary="MinAtar, five small games that are learned in minutes",
    flags={"game": ("breakout", "asterix, breakout, freeway, seaquest, …")},
    config=numbers.config,
    tasks="stac.environments.minatar:GAMES",
    task="stac.environments.minatar:task",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
