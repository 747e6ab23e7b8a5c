"""`python -m stac atari --game=pong`: the commands by one name, `stac` if installed."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from stac import launch
from stac.config import USER_ERROR, ConfigError, choose
from stac.runtime.faults import lines, shutdown

# Each is a module of `stac.launch` with a `main`.
COMMANDS = {
    "catch": "a tiny game, to see everything work within a minute",
    "gymnasium": "any environment of gymnasium, such as --env=CartPole-v1",
    "atari": "an Atari 2600 game, such as --game=pong",
    "control": "a task of the DeepMind Control Suite, such as --task=walker.walk",
    "realworld": "a task of the Real-World RL suite, such as --task=walker.walk",
}


def main() -> NoReturn:
    """Runs the command that `sys.argv` names, and ends the process."""
    shutdown.as_program(_run)


def _run() -> int:
    name, arguments = (sys.argv[1:2] or ["--help"])[0], sys.argv[2:]
    if name in ("--help", "-h", "help", "list"):
        rows = [f"  {command:<10} {what}" for command, what in COMMANDS.items()]
        usage = "stac COMMAND [--flag=value ...]; stac COMMAND --help lists its flags"
        lines.show("\n".join([usage, "", "Trains STAC, STACX or IMPALA on:", *rows]))
        return 0
    try:
        choose("command", name, COMMANDS)
    except ConfigError as error:
        lines.say(f"stac: {error}")
        return USER_ERROR
    command = importlib.import_module(f"{launch.__name__}.{name}")
    return int(command.main([f"stac {name}", *arguments]))


if __name__ == "__main__":
    main()
