"""Steps per second of control environments alone, in one thread and in processes.

    python -m benchmarks.control_environments --tasks=walker.walk,walker.walk:pixels

Both ways take turns, so that other work on the machine slows both. Prints environment
steps per second of one actor (a step of E environments counts E) with normally
distributed samples as actions: the median over rounds, and the best round.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time

import numpy as np

from stac.config import WORKERS, check
from stac.environments import control, make
from stac.environments.vector import batched
from stac.launch import asking

TASKS = "cartpole.balance,walker.walk,humanoid.walk,walker.walk:pixels"
WAYS = tuple(way for way in WORKERS if way != "auto")


def main() -> None:
    """Prints one line a task and number of environments."""
    parser = asking.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tasks", default=TASKS, help="task or task:pixels, …")
    parser.add_argument("--envs", default="24,32", help="so many, …")
    parser.add_argument("--threads", type=int, default=make.share_of_cores(1))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    given = parser.parse_args()
    counts = _counts(given.envs)
    print(f"{given.threads} processes; steps/s: median (best)")
    print(f"{'task':<24} {'E':>3}" + "".join(f"{way:>18}" for way in WAYS), flush=True)
    for task in given.tasks.split(","):
        for num_envs in counts:
            ways = [built(task, way, num_envs, given.threads) for way in WAYS]
            rounds = [
                [steps_per_second(way, given.seconds) for way in ways]
                for _ in range(given.rounds)
            ]
            for way in ways:
                way.close()
            cells = (
                f"{statistics.median(rates):>10,.0f} ({max(rates):,.0f})".rjust(18)
                for rates in zip(*rounds, strict=True)
            )
            print(f"{task:<24} {num_envs:>3}" + "".join(cells), flush=True)


def _counts(written: str) -> list[int]:
    counts = written.split(",")
    whole = all(count.isdecimal() and int(count) for count in counts)
    check(whole, f"--envs={written}: write whole numbers, as in --envs=24,32")
    return [int(count) for count in counts]


def built(task: str, way: str, num_envs: int, cores: int) -> batched.Batched:
    """Environments that have been warmed up."""
    name, _, observations = task.partition(":")
    environment = batched.Batched(
        functools.partial(control.environment, name, observations or "features"),
        range(num_envs),
        workers=way,
        cores=cores,
    )
    environment.reset()
    environment.step(np.zeros((num_envs, environment.spec.num_actions)))
    return environment


def steps_per_second(environment: batched.Batched, seconds: float) -> float:
    """One turn; the clock is read after whole steps of all E."""
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    steps, start = 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        environment.step(random.normal(size=shape))
        steps += environment.num_envs
    return steps / (time.perf_counter() - start)


if __name__ == "__main__":
    sys.exit(asking.run(main))
