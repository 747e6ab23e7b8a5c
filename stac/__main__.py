"""`python -m stac atari --game=pong`: the commands by one name, `stac` if installed."""

from __future__ import annotations

import importlib
import sys
from typing import Any, NoReturn

from stac import compiled, huge_pages, launch
from stac.config import USER_ERROR, ConfigError, choose
from stac.runtime.faults import lines, shutdown

# Each is a module of `stac.launch` with a `main`, and a `DOMAIN` or a `SUMMARY`.
COMMANDS = (
    *("catch", "gymnasium", "minatar", "atari", "control", "realworld", "mujoco"),
    *("actors", "evaluate", "report", "sweep", "doctor"),
)


def main() -> NoReturn:
    """Runs the command that `sys.argv` names, and ends the process."""
    huge_pages.begin_again()
    compiled.keep()
    shutdown.as_program(_run)


def _run() -> int:
    sys.path.insert(0, "")  # as with `python -m`: --env=module:Id may be right here
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help", "list"):
        rows = [f"  {command:<10} {_summary(command)}" for command in COMMANDS]
        usage = "stac COMMAND [--flag=value ...]; stac COMMAND --help lists its flags"
        lines.show("\n".join([usage, "", "Trains an agent on:", *rows]))
        return 0
    try:
        choose("command", name, COMMANDS)
    except ConfigError as error:
        lines.say(f"stac: {error}")
        return USER_ERROR
    return int(_module(name).main([f"stac {name}", *arguments]))


def _summary(command: str) -> str:
    module = _module(command)
    return str(module.DOMAIN.summary if hasattr(module, "DOMAIN") else module.SUMMARY)


def _module(command: str) -> Any:
    return importlib.import_module(f"{launch.__name__}.{command}")


if __name__ == "__main__":
    main()
