"""Environment steps per second of SAC: ours, and a well-kept library's, in turn.

    python -m benchmarks.soft --env=Hopper-v4 --library=/path/to/its/python
    python -m benchmarks.soft --env=Hopper-v4 --library=… --returns=300000 --seed=1

The library is SBX (Stable Baselines in JAX, `pip install sbx-rl "gymnasium[mujoco]"`),
in an environment of its own. Both make one update of 256 transitions a step, in one
process each, and take turns: medians over rounds, and their ratio. Compiling and the
steps before the first update are left out. With --returns the library learns with the
numbers of our `sac`, and is scored as ours is: ten episodes of the mean action every
10,000 steps.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from stac.config import check
from stac.launch import cli
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir

FIRST = 1_000  # steps before the first update, of both
WARM = 500  # steps with updates, before the clock

START, EVERY, EPISODES = 10_000, 10_000, 10  # random steps; evaluations, as ours

# Learns for as many steps as each part has; a line a part: seconds, return or nan.
LIBRARY = """
import sys, time
import gymnasium
gymnasium.logger.min_level = gymnasium.logger.ERROR
from sbx import SAC
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
name, seed, first, episodes, *parts = sys.argv[1:]
build = lambda: Monitor(gymnasium.make(name))
agent = SAC("MlpPolicy", build(), learning_rate=3e-4, buffer_size=1_000_000,
            learning_starts=int(first), batch_size=256, tau=0.005, gamma=0.99,
            train_freq=1, gradient_steps=1, policy_kwargs={"net_arch": [256, 256]},
            seed=int(seed))
judge = build()
judge.reset(seed=1_000 + int(seed))
for index, part in enumerate(parts):
    began = time.time()
    agent.learn(int(part), reset_num_timesteps=index == 0)
    seconds = time.time() - began
    mean = float("nan")
    if int(episodes):
        mean, _ = evaluate_policy(agent, judge, int(episodes), deterministic=True)
    print(seconds, mean, flush=True)
"""


def main() -> None:
    """Prints a line a round, and the medians."""
    parser = cli.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--agent", default="sac", help="of ours")
    parser.add_argument("--library", default="", help="its Python; without it: ours")
    parser.add_argument("--steps", type=int, default=3_000, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--returns", type=int, default=0, help="steps that the library learns, scored"
    )
    parser.add_argument("--seed", type=int, default=1, help="of --returns")
    given = parser.parse_args()
    known = os.access(given.library, os.X_OK)
    check(
        known if given.library else not given.returns,
        f"--library={given.library}: no file",
    )
    if given.returns:
        learn(given.library, given.env, given.seed, given.returns)
        return
    rates: list[tuple[float, ...]] = []
    for _ in range(given.rounds):
        turn = [ours(given.env, given.agent, given.steps)]
        if given.library:
            turn.append(library(given.library, given.env, given.steps))
        rates.append(tuple(turn))
        print("steps/s  " + "  ".join(f"{rate:.1f}" for rate in turn), flush=True)
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    line = f"{given.env}: {given.agent} {medians[0]:.1f} steps/s"
    if given.library:
        line += f", SBX {medians[1]:.1f}, ratio {medians[0] / medians[1]:.2f}"
    print(line)


def ours(env: str, agent: str, steps: int) -> float:
    """Steps per second of a run in threads, from its rows after the first updates."""
    with tempfile.TemporaryDirectory() as folder:
        words = [
            *("-m", "launch.mujoco", f"--agent={agent}", f"--env={env}"),
            *("--runtime=threads", "--logger=none", f"--workdir={folder}"),
            *(f"--total_frames={FIRST + WARM + steps}", "--evaluate_every=0"),
            f"--config.agent.soft.first_steps={FIRST}",
            "--config.runtime.log_every_seconds=1",
        ]
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        rows = loggers.rows(pathlib.Path(folder, workdir.METRICS))
    rows = [row for row in rows if row["frames"] >= FIRST + WARM]
    # A row between two episodes is a frame of ours, and no step of the library's.
    began, ended = (row["frames"] - row["episodes"] for row in (rows[0], rows[-1]))
    return float(ended - began) / (rows[-1]["seconds"] - rows[0]["seconds"])


def library(python: str, env: str, steps: int) -> float:
    """Steps per second of the library's agent."""
    parts = started(python, env, 1, FIRST, 0, FIRST + WARM, steps)
    return steps / [seconds for seconds, _ in parts][-1]


def learn(python: str, env: str, seed: int, steps: int) -> None:
    """Prints returns of the library's mean action, as CSV, while it learns."""
    print("task,agent,seed,steps,mean_return,steps_per_second", flush=True)
    parts = [EVERY] * (steps // EVERY)
    for index, (seconds, mean) in enumerate(
        started(python, env, seed, START, EPISODES, *parts)
    ):
        done = EVERY * (index + 1)
        print(f"{env},sbx,{seed},{done},{mean:.1f},{EVERY / seconds:.1f}", flush=True)


def started(python: str, *words: str | int) -> Iterator[tuple[float, float]]:
    """The seconds and the return of each part of the library's run, as they come."""
    command = [python, "-c", LIBRARY, *map(str, words)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with subprocess.Popen(
        command, env=clean, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seconds, mean = map(float, line.split())
            yield seconds, mean
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, python)


if __name__ == "__main__":
    sys.exit(cli.run(main))
