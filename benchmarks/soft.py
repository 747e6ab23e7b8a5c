"""Environment steps per second of SAC: ours, and a well-kept library's, in turn.

    python -m benchmarks.soft --env=Hopper-v4 --library=/path/to/its/python

The library is SBX (Stable Baselines in JAX, `pip install sbx-rl "gymnasium[mujoco]"`),
in an environment of its own. Both make one update of 256 transitions a step, in one
process each, and take turns: medians over rounds, and their ratio. Compiling and the
steps before the first update are left out.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from stac.launch import asking
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir

FIRST = 1_000  # steps before the first update, of both
WARM = 500  # steps with updates, before the clock

LIBRARY = """
import sys, time
import gymnasium
gymnasium.logger.min_level = gymnasium.logger.ERROR
from sbx import SAC
first, warm, steps = map(int, sys.argv[2:])
environment = gymnasium.make(sys.argv[1])
agent = SAC("MlpPolicy", environment, learning_rate=3e-4, buffer_size=1_000_000,
            learning_starts=first, batch_size=256, tau=0.005, gamma=0.99, train_freq=1,
            gradient_steps=1, policy_kwargs={"net_arch": [256, 256]}, seed=1)
agent.learn(first + warm)
began = time.time()
agent.learn(steps, reset_num_timesteps=False)
print(steps / (time.time() - began))
"""


def main() -> None:
    """Prints a line a round, and the medians."""
    parser = asking.Parser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="Hopper-v4")
    parser.add_argument("--agent", default="sac", help="of ours")
    parser.add_argument("--library", default="", help="its Python; without it: ours")
    parser.add_argument("--steps", type=int, default=3_000, help="of a turn")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
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
            f"--total_frames={FIRST + WARM + steps}",
            f"--config.agent.soft.first_steps={FIRST}",
            "--config.runtime.log_every_seconds=1",
        ]
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        rows = loggers.rows(pathlib.Path(folder, workdir.METRICS))
    rows = [row for row in rows if row["frames"] >= FIRST + WARM]
    # A row between two episodes is a frame of ours, and no step of the library's.
    steps = [row["frames"] - row["episodes"] for row in (rows[0], rows[-1])]
    return float(steps[1] - steps[0]) / (rows[-1]["seconds"] - rows[0]["seconds"])


def library(python: str, env: str, steps: int) -> float:
    """Steps per second of the library's agent."""
    words = [python, "-c", LIBRARY, env, str(FIRST), str(WARM), str(steps)]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, env=clean, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.exit(asking.run(main))
