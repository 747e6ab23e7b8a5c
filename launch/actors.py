"""`python -m launch.actors --connect=HOST:PORT`: acts for a learner elsewhere.

The learner runs with `--runtime=launchpad --listen=HOST:PORT`, and says what is played.
"""

from __future__ import annotations

from stac.config import check
from stac.launch import cli, flags, listening
from stac.runtime.faults import shutdown

_ABOUT = """Acts for a learner on another machine, which says what is played. Ctrl-C
leaves its run, which goes on."""
_MOST_ACTORS = 65536  # as of runtime.num_actors


def _main(name: str, arguments: list[str]) -> int:
    parser = cli.Parser(prog=name, description=_ABOUT)
    words = parser.add_argument
    meaning = "HOST:PORT that the learner's --listen names"
    words("--connect", required=True, metavar="HOST:PORT", help=meaning)
    meaning = "number of actors; one for each core by default"
    words("--num_actors", type=int, default=0, help=meaning)
    given = parser.parse_args(arguments)
    in_range = 0 <= given.num_actors <= _MOST_ACTORS
    check(in_range, f"--num_actors={given.num_actors}: must be in [0, {_MOST_ACTORS}]")
    check(
        flags.default_runtime() == "launchpad",
        "Launchpad is not installed (it needs Linux and Python 3.10), and its actors"
        " alone can join",
    )
    from stac.launch.launchpad import remote

    return remote.run(listening.parse("connect", given.connect), given.num_actors)


main = cli.script("launch.actors", _main)

if __name__ == "__main__":
    shutdown.as_program(main)
