"""`python -m launch.atari --agent=stacx --game=james_bond`: the paper on Atari."""

from __future__ import annotations

from stac.configs import atari as numbers
from stac.launch import flags, start
from stac.runtime.faults import shutdown


def _rom_id(game: str) -> str:
    from stac.environments import atari  # imports ale-py

    return atari.rom_id(game)


def _games() -> list[str]:
    from stac.environments import atari

    return atari.games()


DOMAIN = flags.Domain(
    program="launch.atari",
    summary="trains STAC, STACX or IMPALA on an Atari 2600 game.",
    flags={
        "game": ("james_bond", "any of ale-py's games, in any usual spelling"),
        "network": ("deep", "deep (the paper's) or shallow (for a CPU)"),
    },
    config=numbers.config,
    played=_games,
    task=_rom_id,
)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    return flags.main(start.run, DOMAIN, argv)


if __name__ == "__main__":
    shutdown.as_program(main)
