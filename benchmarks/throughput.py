"""Steps per second of environments alone and of the three runtimes, side by side.

    python -m benchmarks.throughput --seconds=60
    python -m benchmarks.throughput control:walker.walk:features --agents=impala,stacx

Runs are named command:task:variant, where the variant is Atari's network, control's
observations or the real world's challenge. Each runtime is the real command
in a process of its own. Its rate is taken between rows of metrics.jsonl, from when all
actors act, so that start-up and compiling are left out. Flags that are not this
program's go to the commands.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from stac.config import Config, check
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.launch import cli, flags
from stac.launch.domains import DOMAINS, Domain
from stac.runtime.logs import loggers

# Commands whose second flag is the variant: network, observations or challenge.
COMMANDS = ("atari", "control", "realworld")
ATARI = ["atari:james_bond:shallow", "atari:james_bond:deep"]
START_SECONDS = 300.0  # for starting and compiling, not measured
ALONE_SECONDS = 10.0
BUILDING_SECONDS = 0.4  # for an environment of the actors after the first, at most


class Rate(NamedTuple):
    name: str
    steps_per_second: float  # an agent's; on Atari four frames each
    updates: int
    learner_waits: float  # share of the learner's time


class What(NamedTuple):
    """command:task:variant, read."""

    name: str
    domain: Domain
    flags: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> What:
        parts = name.split(":")
        check(
            len(parts) == 3 and parts[0] in COMMANDS,
            f"{name}: write <command>:<task>:<variant>, the command one of"
            f" {', '.join(COMMANDS)}",
        )
        command, task, variant = parts
        domain = DOMAINS[command]
        first, second = domain.flags
        return cls(name, domain, (f"--{first}={task}", f"--{second}={variant}"))

    def check(self, agents: list[str], runtimes: list[str], extra: list[str]) -> None:
        """Raises what the commands would refuse, before anything is measured."""
        for agent, name in itertools.product(agents, runtimes):
            config = self.config(f"--agent={agent}", f"--runtime={name}", *extra)
            make.spec(config)

    def config(self, *extra: str) -> Config:
        """The command's configuration with these flags."""
        return flags.parse(["", *self.flags, *extra], self.domain).config


def alone(what: What, threads: int) -> Rate:
    """The environments of one actor, random actions, no network."""
    config = what.config("--runtime=threads", "--num_actors=1")
    chosen = dataclasses.replace(config.environment, threads=threads)
    config = dataclasses.replace(config, environment=chosen)
    environment = make.factory(config)(0, make.envs_per_actor(config))
    actions = random_actions(environment.spec, environment.num_envs)
    environment.reset()
    environment.step(next(actions))
    start, steps = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < ALONE_SECONDS:
        environment.step(next(actions))
        steps += environment.num_envs
    environment.close()
    return Rate(f"{what.name}, alone, {threads} cores", steps / elapsed, 0, 0.0)


def random_actions(spec: EnvironmentSpec, envs: int) -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    while True:
        if spec.continuous:
            yield random.normal(size=(envs, spec.num_actions))
        else:
            yield random.integers(0, spec.num_actions, size=envs, dtype=np.int32)


def runtime(
    what: What, name: str, agent: str, seconds: float, extra: list[str]
) -> Rate:
    """The real command, interrupted after it has learned for `seconds`."""
    config = what.config(f"--agent={agent}", f"--runtime={name}", *extra)
    others = config.runtime.num_actors - 1
    building = BUILDING_SECONDS * make.envs_per_actor(config) * others
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        command = [
            *(sys.executable, "-m", what.domain.program, f"--agent={agent}"),
            *(*what.flags, f"--runtime={name}", f"--workdir={workdir}"),
            *("--config.runtime.log_every_seconds=1", *extra),
        ]
        process = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        try:
            rows = _rows_of(workdir / "metrics.jsonl", process, building, seconds)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    first, last = rows[0], rows[-1]
    frames = last["frames"] - first["frames"]
    repeat = make.spec(config).frames_per_step
    return Rate(
        f"{what.name}, {name}, {agent}",
        frames / repeat / (last["seconds"] - first["seconds"]),
        last["updates"] - first["updates"],
        float(np.mean([row["learner_waits"] for row in rows[1:]])),
    )


def _rows_of(
    metrics: pathlib.Path, process: subprocess.Popen, building: float, seconds: float
) -> list[dict]:
    """Rows for `seconds`, from `building` after the third update on.

    Then everything is compiled, and the actors after the first have begun.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.5)
        rows = loggers.rows(metrics) if metrics.exists() else []
        rows = [row for row in rows if row["updates"] >= 3]
        rows = [row for row in rows if row["seconds"] >= rows[0]["seconds"] + building]
        if len(rows) > 2 and rows[-1]["seconds"] - rows[0]["seconds"] >= seconds:
            return rows
        if rows:  # it runs: now only the measurement is waited for
            deadline = max(deadline, time.monotonic() + seconds + 60)
    raise RuntimeError(f"nothing was measured; the command ended {process.poll()}")


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    example = "any number of command:task:variant, such as control:walker.walk:features"
    parser.add_argument("what", nargs="*", default=ATARI, help=example)
    long = "each measurement (default 60)"
    parser.add_argument("--seconds", type=float, default=60.0, help=long)
    comma = "separated by commas (default %(default)s)"
    parser.add_argument("--agents", default="stacx", help=comma)
    here = ",".join(dict.fromkeys(("lockstep", "threads", flags.default_runtime())))
    parser.add_argument("--runtimes", default=here, help=comma)
    arguments, extra = parser.parse_known_args()
    agents, runtimes = arguments.agents.split(","), arguments.runtimes.split(",")
    measured = [What.read(name) for name in arguments.what]
    for what in measured:
        what.check(agents, runtimes, extra)
    print(f"{'what':48} {'agent steps/s':>14} {'learner waits':>14}")
    for what in measured:
        for threads in sorted({1, os.cpu_count() or 1}):
            show(alone(what, threads))
        for agent, name in itertools.product(agents, runtimes):
            show(runtime(what, name, agent, arguments.seconds, extra))


def show(rate: Rate) -> None:
    waits = f"{rate.learner_waits:14.0%}" if rate.updates else f"{'-':>14}"
    print(f"{rate.name:48} {rate.steps_per_second:14,.0f} {waits}", flush=True)


if __name__ == "__main__":
    sys.exit(cli.run(main))
