"""Frames per second of the environment alone and of the three runtimes, side by side.

    python -m benchmarks.throughput --seconds=60 --game=james_bond

Each runtime is the real command in a process of its own. Its rate is taken between the
first and the last row of metrics.jsonl, so that start-up and compiling are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np

from stac.config import Config, EnvironmentConfig, RuntimeConfig
from stac.environments import make

FRAMES_PER_STEP = 4
START_SECONDS = 300.0  # for starting and compiling, not measured


class Rate(NamedTuple):
    name: str
    frames_per_second: float
    updates: int
    learner_waits: float  # share of the learner's time


def environment_alone(game: str, num_envs: int, threads: int, seconds: float) -> Rate:
    """Random actions, no network."""
    config = Config(
        environment=EnvironmentConfig(task=game, threads=threads),
        runtime=RuntimeConfig(num_actors=1),
    )
    environment = make.factory(config)(0, num_envs)
    environment.reset()
    actions = np.random.default_rng(0).integers(
        0, environment.spec.num_actions, size=(1000, num_envs), dtype=np.int32
    )
    start, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        environment.step(actions[steps % 1000])
        steps += 1
    environment.close()
    rate = steps * num_envs * FRAMES_PER_STEP / elapsed
    return Rate(f"environment alone, {threads} threads", rate, 0, 0.0)


def runtime(
    name: str, network: str, agent: str, game: str, seconds: float, extra: list[str]
) -> Rate:
    """The real command, interrupted after it has learned for `seconds`."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        command = [
            *(sys.executable, "-m", "launch.atari", f"--agent={agent}"),
            *(f"--game={game}", f"--network={network}", f"--runtime={name}"),
            *(f"--workdir={workdir}", "--config.runtime.log_every_seconds=1"),
            *extra,
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            rows = _rows_of(workdir / "metrics.jsonl", process, seconds)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    first, last = rows[0], rows[-1]
    frames = last["frames"] - first["frames"]
    return Rate(
        f"{name}, {network}, {agent}",
        frames / (last["seconds"] - first["seconds"]),
        last["updates"] - first["updates"],
        float(np.mean([row["learner_waits"] for row in rows[1:]])),
    )


def _rows_of(
    metrics: pathlib.Path, process: subprocess.Popen, seconds: float
) -> list[dict]:
    """Rows after the third update, when everything is compiled, for `seconds`."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        text = metrics.read_text() if metrics.exists() else ""
        rows = [json.loads(line) for line in text.splitlines()]
        rows = [row for row in rows if row["updates"] >= 3]
        if len(rows) > 2 and rows[-1]["seconds"] - rows[0]["seconds"] >= seconds:
            return rows
        if rows:  # it runs: now only the measurement is waited for
            deadline = max(deadline, time.monotonic() + seconds + 60)
    raise RuntimeError(f"nothing was measured; the command ended {process.poll()}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--game", default="james_bond")
    parser.add_argument("--agents", default="stacx")
    parser.add_argument("--networks", default="shallow,deep")
    parser.add_argument("--runtimes", default="lockstep,threads,launchpad")
    arguments, extra = parser.parse_known_args()
    print(f"{'what':40} {'frames/s':>9} {'agent steps/s':>14} {'learner waits':>14}")
    for threads in (1, os.cpu_count() or 1):
        show(environment_alone(arguments.game, 32, threads, seconds=10.0))
    for network in arguments.networks.split(","):
        for agent in arguments.agents.split(","):
            for name in arguments.runtimes.split(","):
                show(
                    runtime(
                        name, network, agent, arguments.game, arguments.seconds, extra
                    )
                )


def show(rate: Rate) -> None:
    steps = rate.frames_per_second / FRAMES_PER_STEP
    waits = f"{rate.learner_waits:14.0%}" if rate.updates else f"{'-':>14}"
    print(
        f"{rate.name:40} {rate.frames_per_second:9,.0f} {steps:14,.0f} {waits}",
        flush=True,
    )


if __name__ == "__main__":
    main()
