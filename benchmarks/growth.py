"""How cost grows with heads, batch, unroll, environments and actors: one figure.

    python -m benchmarks.growth --out=growth.png

Atari's shallow network; each number is varied alone, all else as by default. Updates
are of the learner alone, on a batch of zeros, and acting is an actor alone, both the
median of three; actors are whole runs in `threads`, one each.
"""

from __future__ import annotations

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks import throughput, update
from stac.agents import actor_critic
from stac.config import Config, check
from stac.configs import atari as numbers
from stac.environments import make
from stac.launch import cli
from stac.report import charts, figures
from stac.runtime.actor import Actor

AGENTS = {"impala_aux": "#2a78d6", "stacx": "#d64a2a"}  # nothing, and all, self-tuned
GAME = "james_bond"


def changed(agent: str, section: str, **changes: Any) -> Config:
    """Atari's numbers with the shallow network and one section changed."""
    config = numbers.config(GAME, agent, network="shallow")
    part = dataclasses.replace(getattr(config, section), **changes)
    return dataclasses.replace(config, **{section: part})


def updating(config: Config) -> float:
    """Milliseconds of an update."""
    return 1e3 * update.seconds(update.compiled(config).run)[0]


def update_of_a_step(config: Config) -> float:
    """Microseconds of an update for each of its transitions."""
    batch = config.batch
    return 1e3 * updating(config) / batch.batch_size / (batch.unroll_length - 1)


def acting(config: Config) -> float:
    """Agent steps per second of an actor alone."""
    agent = actor_critic.build(config, make.spec(config))
    envs = make.envs_per_actor(config)
    actor = Actor(agent, make.factory(config)(0, envs), config.batch, 0, 0)
    params = agent.actor_params(jax.jit(agent.init)(jax.random.PRNGKey(0)))
    seconds = update.seconds(lambda: actor.unroll(0, params))[0]
    actor.close()
    return envs * config.batch.unroll_length / seconds


def running(config: Config) -> float:
    """Agent steps per second of a whole run."""
    what = throughput.What.read(f"atari:{GAME}:shallow")
    actors = f"--num_actors={config.runtime.num_actors}"
    rate = throughput.runtime(what, "threads", config.agent.name, 10.0, [actors])
    return rate.steps_per_second


# (section, number, its values, unit, measurement)
PANELS: tuple[tuple[str, str, tuple[int, ...], str, Callable[[Config], float]], ...] = (
    ("agent", "heads", (1, 2, 3, 5, 8), "ms an update", updating),
    (
        "batch",
        "batch_size",
        (8, 16, 32, 64, 128, 256),
        "update: µs a step",
        update_of_a_step,
    ),
    ("batch", "unroll_length", (10, 20, 40, 80), "update: µs a step", update_of_a_step),
    ("runtime", "envs_per_actor", (1, 4, 16, 32, 64, 256), "acting: steps/s", acting),
    ("runtime", "num_actors", (1, 2, 4, 8), "whole run: steps/s", running),
)


def panel(
    section: str,
    number: str,
    values: tuple[int, ...],
    unit: str,
    measure: Callable[[Config], float],
) -> charts.Chart:
    """Measures a panel, a line printed for each value."""
    by_agent: dict[str, list[float]] = {agent: [] for agent in AGENTS}
    for value in values:
        for agent, measured in by_agent.items():
            measured.append(measure(changed(agent, section, **{number: value})))
        cells = "".join(f"{measured[-1]:14,.1f}" for measured in by_agent.values())
        print(f"{number:16} {value:6} {cells}  {unit}", flush=True)
    series = [
        charts.Series(agent, np.array(measured), colour=AGENTS[agent])
        for agent, measured in by_agent.items()
    ]
    return charts.Chart(number, number, unit, np.array(values), series)


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("growth.png"))
    known = ",".join(row[1] for row in PANELS)
    parser.add_argument("--only", default=known, help="of them (default %(default)s)")
    arguments = parser.parse_args()
    chosen = [row for row in PANELS if row[1] in arguments.only.split(",")]
    check(chosen, f"--only={arguments.only}: name some of {known}")
    check(arguments.out.parent.is_dir(), f"--out={arguments.out}: no such folder")
    print(f"{'number':16} {'value':>6} " + "".join(f"{agent:>14}" for agent in AGENTS))
    drawn = [panel(*row) for row in chosen]
    arguments.out.write_bytes(figures.png(figures.draw(drawn)))
    print(f"written: {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(cli.run(main))
