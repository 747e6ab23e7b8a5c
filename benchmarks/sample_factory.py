"""Agent steps per second of Atari: ours, and Sample Factory's APPO, in turn.

    python -m benchmarks.sample_factory --library=/path/to/its/python

The library has an environment of its own, of Python 3.11 (`pip install
sample-factory==2.1.1 "torch<2.4" ale-py`). It learns once from every batch of 640
steps, in unrolls of 20, as ours does. Its normalisation is off, and V-trace too, which
fails in this release without a recurrent core. It runs as it is meant to, a process of
32 games per core beside the learner's, and again in one process, where PyTorch takes
all cores; ratios are to the faster. Rates leave out starting and compiling: medians
over rounds.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime

from benchmarks import throughput
from stac.config import check
from stac.launch import cli

# Networks of ours and the library's name for its own of that kind.
NETWORKS = {"shallow": "convnet_impala", "deep": "resnet_impala"}
LIBRARY = """
import sys
import ale_py.registration
import gymnasium
from sf_examples.atari.train_atari import main
gymnasium.logger.min_level = gymnasium.logger.ERROR
ale_py.registration.register_v0_v4_envs()
if __name__ == "__main__":
    sys.exit(main())
"""
FLAGS = (
    *("--env=atari_jamesbond", "--experiment=run", "--device=cpu", "--rollout=20"),
    *("--num_envs_per_worker=32", "--batch_size=640", "--num_batches_per_epoch=1"),
    *("--num_epochs=1", "--normalize_input=False", "--normalize_returns=False"),
    "--summaries_use_frameskip=False",
)
MODES = {
    "processes": (
        *("--async_rl=True", "--worker_num_splits=2"),
        f"--num_workers={os.cpu_count()}",
    ),
    "serial": ("--serial_mode=True", "--async_rl=False", "--num_workers=1"),
}
LINE = re.compile(r"\[(\d{4}-\S+ \S+)\]\[\d+\] .*Total num frames: (\d+)")
WAIT_SECONDS = 120.0  # for its first steps


def main() -> None:
    """Prints a line a round, and the medians."""
    parser = cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", required=True, help="its Python")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--agents", default="impala,stacx", help="of ours, in threads")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the library ends, too
    networks = given.networks.split(",")
    check(set(networks) <= set(NETWORKS), f"--networks: of {', '.join(NETWORKS)}")
    check(os.access(given.library, os.X_OK), f"--library={given.library}: no file")
    for network in networks:
        compare(network, given)


def compare(network: str, given: argparse.Namespace) -> None:
    """Takes turns, a line a round; prints medians and ratios."""
    agents = given.agents.split(",")
    what = throughput.What.read(f"atari:james_bond:{network}")
    rounds = []
    for _ in range(given.rounds):
        turn = [library(given.library, network, mode, given.seconds) for mode in MODES]
        for agent in agents:
            rate = throughput.runtime(what, "threads", agent, given.seconds, [])
            turn.append(rate.steps_per_second)
        rounds.append(turn)
        print("steps/s  " + "".join(f"{rate:10,.1f}" for rate in turn), flush=True)
    medians = [statistics.median(column) for column in zip(*rounds, strict=True)]
    theirs, ours = medians[: len(MODES)], medians[len(MODES) :]
    cells = [f"{mode} {rate:,.1f}" for mode, rate in zip(MODES, theirs, strict=True)]
    for agent, rate in zip(agents, ours, strict=True):
        cells.append(f"{agent} {rate:,.1f} (ratio {rate / max(theirs):.2f})")
    print(f"{network}, {NETWORKS[network]}: {'; '.join(cells)}", flush=True)


def library(python: str, network: str, mode: str, seconds: float) -> float:
    """Steps per second of the library, by the lines of its log."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        script, log = folder / "train.py", folder / "log"
        script.write_text(LIBRARY)
        words = [python, str(script), *FLAGS, *MODES[mode], f"--train_dir={folder}"]
        words.append(f"--encoder_conv_architecture={NETWORKS[network]}")
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        with log.open("w") as output:
            process = subprocess.Popen(
                words, env=clean, stdout=output, stderr=output, start_new_session=True
            )
        try:
            return _rate(log, process, seconds)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _rate(log: pathlib.Path, process: subprocess.Popen, seconds: float) -> float:
    """Between the first batch that a line reports and one at least `seconds` later."""
    deadline = time.monotonic() + WAIT_SECONDS + 2 * seconds
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(1)
        batches: dict[int, datetime] = {}  # when its number of steps was first reported
        for at, steps in LINE.findall(log.read_text()):
            when = datetime.strptime(at, "%Y-%m-%d %H:%M:%S,%f")
            batches.setdefault(int(steps), when)
        batches.pop(0, None)
        if batches:
            first, last = min(batches), max(batches)
            took = (batches[last] - batches[first]).total_seconds()
            if took >= seconds:
                return (last - first) / took
    raise RuntimeError(f"the library measured nothing: {log.read_text()[-2_000:]}")


if __name__ == "__main__":
    sys.exit(cli.run(main))
