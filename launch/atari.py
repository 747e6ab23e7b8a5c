"""`python -m launch.atari --agent=stacx --game=james_bond`: the paper on Atari."""

from __future__ import annotations

import functools

from stac.configs import atari as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown

DOMAIN = flags.Domain(
    program="launch.atari",
    summary="an Atari 2600 game, such as --game=pong",
    flags={
        "game": ("james_bond", "any of ale-py's games, in any usual spelling"),
        "network": ("deep", "deep (the paper's) or shallow (for a CPU)"),
    },
    config=numbers.config,
    tasks="stac.environments.atari:games",
    task="stac.environments.atari:rom_id",
)
main = functools.partial(flags.main, start.run, DOMAIN)

if __name__ == "__main__":
    shutdown.as_program(main)
