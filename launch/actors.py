"""`python -m launch.actors --connect=HOST:PORT`: acts for a learner elsewhere.

The learner runs with `--runtime=launchpad --listen=HOST:PORT`, and says what is played.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags as absl_flags

from stac.config import ConfigError, check
from stac.launch import flags, listening
from stac.runtime.faults import shutdown

SUMMARY = "(none: its actors join a learner on another machine)"
_HELP = """{start}: acts for a learner on another machine

  --connect          HOST:PORT that the learner's --listen names
  --num_actors       actors; one for each core by default

The learner says what is played. Ctrl-C leaves its run, which goes on."""

_MOST_ACTORS = 65536  # as of runtime.num_actors


def main(argv: Sequence[str] | None = None) -> int:
    """Reads the command line and acts; returns the exit status."""
    argv = sys.argv if argv is None else argv
    name = flags.program(argv, "launch.actors")
    return flags.exit_status(name, lambda: _run(name, argv[1:]))


def _run(name: str, arguments: Sequence[str]) -> int:
    values = absl_flags.FlagValues()
    absl_flags.DEFINE_string("connect", "", "", flag_values=values)
    absl_flags.DEFINE_integer("num_actors", 0, "", 0, _MOST_ACTORS, flag_values=values)
    absl_flags.DEFINE_boolean("help", False, "", flag_values=values, short_name="h")
    try:
        rest = values(["", *arguments])[1:]
    except absl_flags.Error as error:
        raise ConfigError(str(error).removeprefix("flag ")) from None
    if values["help"].value:
        start = name if name.startswith("stac ") else f"python -m {name}"
        raise flags.Help(_HELP.format(start=start))
    check(not rest, f"unexpected argument {rest and rest[0]!r}: write --name=value")
    check(values["connect"].value, "--connect=HOST:PORT is missing: see --help")
    check(
        flags.default_runtime() == "launchpad",
        "Launchpad is not installed (it needs Linux and Python 3.10), and its actors"
        " alone can join",
    )
    from stac.launch.launchpad import remote

    address = listening.parse("connect", str(values["connect"].value))
    return remote.run(address, int(values["num_actors"].value or 0))


if __name__ == "__main__":
    shutdown.as_program(main)
