"""Seconds from the command to the first row of metrics.jsonl.

    python -m benchmarks.start --rounds=3

Commands of Atari (James Bond) begin with an empty cache of compiled programs, and then
begin again with what the start before left there.
"""

from __future__ import annotations

import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from stac import compiled
from stac.config import check
from stac.launch import cli, flags
from stac.launch.domains import DOMAINS

COMMANDS = (
    "--agent=impala --network=shallow --runtime=threads",
    "--agent=impala --network=shallow --runtime=threads --num_actors=1",
    "--agent=impala --network=shallow --runtime=launchpad",
    "--agent=impala --network=shallow --runtime=launchpad --num_actors=1",
    "--agent=stacx --network=deep --runtime=launchpad",
)
MOST_SECONDS = 300.0


def main() -> None:
    """Prints a line for each command: the first start, the later ones, their median."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--commands", default=";".join(COMMANDS), help="flags, separated by semicolons"
    )
    parser.add_argument("--rounds", type=int, default=3, help="later starts")
    given = parser.parse_args()
    commands = [text.split() for text in given.commands.split(";")]
    check(given.rounds > 0, f"--rounds={given.rounds}: must be at least 1")
    for words in commands:
        flags.parse(["", "--game=james_bond", *words], DOMAINS["atari"])
    print(f"{'flags':68} {'first':>6} {'median':>7}  later starts")
    for words in commands:
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            environment.pop(compiled.VARIABLE, None)
            first, *later = (start(words, environment) for _ in range(1 + given.rounds))
        seconds = "  ".join(f"{x:.1f}" for x in later)
        line = f"{' '.join(words):68} {first:6.1f} {statistics.median(later):7.1f}"
        print(f"{line}  {seconds}", flush=True)


def start(words: list[str], environment: dict[str, str]) -> float:
    """Seconds to the first row; the run is then interrupted."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = pathlib.Path(folder, "run", "metrics.jsonl")
        command = [sys.executable, "-m", "launch.atari", "--game=james_bond", *words]
        began = time.monotonic()
        process = subprocess.Popen(
            [*command, f"--workdir={metrics.parent}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            while time.monotonic() < began + MOST_SECONDS and process.poll() is None:
                if metrics.exists() and metrics.stat().st_size:
                    return time.monotonic() - began
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    raise RuntimeError(f"no row was written; the command ended {process.poll()}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
