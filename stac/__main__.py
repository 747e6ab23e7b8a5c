"""`python -m stac atari --game=pong`: the commands by one name, `stac` if installed."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from stac import compiled, huge_pages, launch
from stac.config import USER_ERROR, ConfigError, choose
from stac.launch import domains
from stac.runtime.faults import lines, shutdown

# Each command is a module of `stac.launch` with a `main`.
TRAINING = {row.name: row.summary for row in domains.DOMAINS.values()}
OTHERS = {
    "actors": "acts for a learner on another machine",
    "evaluate": "scores what a run has learned, and films it",
    "report": "compares runs, on one page",
    "sweep": "runs a study of the paper, many runs, and compares them",
    "doctor": "says what works on this machine, and what is missing",
}
COMMANDS = (*TRAINING, *OTHERS)


def main() -> NoReturn:
    """Runs the command that `sys.argv` names, and ends the process."""
    huge_pages.begin_again()
    compiled.keep()
    shutdown.as_program(_run)


def _run() -> int:
    sys.path.insert(0, "")  # as with `python -m`: --env=module:Id may be right here
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help", "list"):
        usage = "stac COMMAND [--flag=value ...]; stac COMMAND --help lists its flags"
        trains, others = _rows(TRAINING), _rows(OTHERS)
        parts = [usage, "", "Trains an agent on:", *trains, "", "Other commands:"]
        lines.to_stdout("\n".join([*parts, *others]))
        return 0
    if name == "--version":
        lines.to_stdout(f"stac {importlib.metadata.version('stac-rl')}")
        return 0
    try:
        choose("command", name, COMMANDS)
    except ConfigError as error:
        lines.to_stderr(f"stac: {error}")
        return USER_ERROR
    module: Any = importlib.import_module(f"{launch.__name__}.{name}")
    return int(module.main([f"stac {name}", *arguments]))


def _rows(commands: Mapping[str, str]) -> list[str]:
    return [f"  {name:<10} {summary}" for name, summary in commands.items()]


if __name__ == "__main__":
    main()
