"""Agent steps per second of Atari: ours, and Sample Factory's APPO, in turn.

    python -m benchmarks.sample_factory --library=/path/to/its/python

The library has an environment of its own, of Python 3.11 (`pip install
sample-factory==2.1.1 "torch<2.4" ale-py`). It runs one process of environments per core
with 32 games each, asynchronously, and learns once from every batch of 640 steps, in
unrolls of 20, as ours does. Its normalisation is off, and V-trace too, which fails in
this release without a recurrent core. Rates leave out starting and compiling: medians
over rounds, and their ratios.
"""

from __future__ import annotations

import argparse
import os
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
from stac.launch import asking

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
    *("--env=atari_jamesbond", "--experiment=run", "--device=cpu", "--async_rl=True"),
    *(f"--num_workers={os.cpu_count()}", "--num_envs_per_worker=32"),
    *("--worker_num_splits=2", "--rollout=20", "--batch_size=640"),
    *("--num_batches_per_epoch=1", "--num_epochs=1"),
    *("--normalize_input=False", "--normalize_returns=False"),
    "--summaries_use_frameskip=False",
)
LINE = re.compile(r"\[(\d{4}-\S+ \S+)\]\[\d+\] .*Total num frames: (\d+)")
WAIT_SECONDS = 120.0  # for its first steps


def main() -> None:
    """Prints a line a round, and the medians."""
    parser = asking.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", required=True, help="its Python")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--agents", default="impala,stacx", help="of ours, in threads")
    parser.add_argument("--seconds", type=float, default=60.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    networks, agents = given.networks.split(","), given.agents.split(",")
    with asking.in_one_line(parser):
        check(set(networks) <= set(NETWORKS), f"--networks: of {', '.join(NETWORKS)}")
        check(os.access(given.library, os.X_OK), f"--library={given.library}: no file")
    for network in networks:
        rounds = []
        for _ in range(given.rounds):
            rounds.append([library(given.library, network, given.seconds)])
            what = throughput.What.read(f"atari:james_bond:{network}")
            for agent in agents:
                rate = throughput.runtime(what, "threads", agent, given.seconds, [])
                rounds[-1].append(rate.steps_per_second)
            print("steps/s  " + "".join(f"{x:10,.1f}" for x in rounds[-1]), flush=True)
        theirs, *ours = (statistics.median(column) for column in zip(*rounds, strict=True))
        line = f"{network}: {NETWORKS[network]} {theirs:,.1f} steps/s"
        for agent, rate in zip(agents, ours, strict=True):
            line += f"; {agent} {rate:,.1f}, ratio {rate / theirs:.2f}"
        print(line, flush=True)


def library(python: str, network: str, seconds: float) -> float:
    """Steps per second of the library, by the lines of its log."""
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(folder, "train.py")
        with open(script, "w", encoding="utf-8") as file:
            file.write(LIBRARY)
        words = [python, script, *FLAGS, f"--train_dir={folder}"]
        words.append(f"--encoder_conv_architecture={NETWORKS[network]}")
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        log = os.path.join(folder, "log")
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen(
                words, env=clean, stdout=output, stderr=output, start_new_session=True
            )
        try:
            return _rate(log, process, seconds)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _rate(log: str, process: subprocess.Popen, seconds: float) -> float:
    """Between the first line with steps and one at least `seconds` later."""
    deadline = time.monotonic() + WAIT_SECONDS + seconds
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(1)
        with open(log, encoding="utf-8") as file:
            found = [LINE.search(line) for line in file]
        rows = [
            (datetime.strptime(row[1], "%Y-%m-%d %H:%M:%S,%f"), int(row[2]))
            for row in found
            if row and int(row[2])
        ]
        if rows and (took := (rows[-1][0] - rows[0][0]).total_seconds()) >= seconds:
            return (rows[-1][1] - rows[0][1]) / took
    with open(log, encoding="utf-8") as file:
        raise RuntimeError(f"the library measured nothing: {file.read()[-2_000:]}")


if __name__ == "__main__":
    sys.exit(asking.run(main))
