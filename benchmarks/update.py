"""The cost of one update: XLA's count of its FLOPs and temporaries, and its time.

    python -m benchmarks.update --networks=deep,control --seconds=20

8/3 is the floor of the ratio of FLOPs: an update without self-tuning is forward and
backward (3 units), and self-tuning adds the outer loss's forward and backward (3) and a
tangent (2). XLA counts the body of a loop once, so with an LSTM (control) it counts too
few. Two updates are timed in turn, on batches of zeros, and beside them a large product
on the same cores.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stac import config as settings
from stac.agents import actor_critic, base
from stac.config import Config
from stac.configs import atari, control
from stac.environments.base import EnvironmentSpec
from stac.launch import cli
from stac.runtime import assembly

SPEC = EnvironmentSpec((4, 84, 84), np.dtype(np.uint8), 18, False, 4)  # Atari's
WALKER = EnvironmentSpec((24,), np.dtype(np.float32), 6, True, 1)  # from features
PAIRS = (("impala", "stac"), ("impala_aux", "stacx"))
NETWORKS = ("deep", "shallow", "control")
_LARGE = 1024  # rows and columns of a large product


class Update(NamedTuple):
    """A compiled update."""

    run: Callable[[], object]
    flops: float
    temporaries: float  # MiB


def chosen(agent: str, network: str, batch_size: int) -> tuple[Config, EnvironmentSpec]:
    """The numbers of an agent on Atari, or on control from features."""
    settings.choose("networks", network, NETWORKS)
    if network == "control":
        numbers, spec = control.config(agent=agent), WALKER
    else:
        numbers, spec = atari.config(agent=agent, network=network), SPEC
    sized = dataclasses.replace(numbers.batch, batch_size=batch_size)
    return dataclasses.replace(numbers, batch=sized), spec


def compiled(config: Config, spec: EnvironmentSpec = SPEC) -> Update:
    """An update of a configuration, for a batch of zeros."""
    built = actor_critic.build(config, spec)
    batch = assembly.example(built, spec, config)
    initial: Callable[[], Any] = jax.jit(lambda: built.init(jax.random.PRNGKey(0)))
    step = jax.jit(lambda state, batch: built.update(state, batch, base.no_devices))
    program = step.lower(jax.eval_shape(initial), batch).compile()
    state = functools.cache(initial)  # built when it first runs

    def run() -> object:
        return jax.block_until_ready(program(state(), batch))

    cost = program.cost_analysis()
    temporaries = program.memory_analysis().temp_size_in_bytes / 2**20
    flops = (cost[0] if isinstance(cost, list) else cost)["flops"]
    return Update(run, flops, temporaries)


def seconds(*works: Callable[[], object], total: float = 0.0) -> list[float]:
    """Median seconds of each work, done in turn: three times, and until `total`."""
    for work in works:
        work()
    taken: list[list[float]] = [[] for _ in works]
    end = time.perf_counter() + total
    while len(taken[0]) < 3 or time.perf_counter() < end:
        for work, times in zip(works, taken, strict=True):
            began = time.perf_counter()
            work()
            times.append(time.perf_counter() - began)
    return [statistics.median(times) for times in taken]


def product() -> Callable[[], object]:
    """A large product of matrices."""
    multiply = jax.jit(lambda x: x @ x)
    x = jnp.ones((_LARGE, _LARGE))
    return lambda: jax.block_until_ready(multiply(x))


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="deep,shallow")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.0, help="0 times nothing")
    arguments = parser.parse_args()
    print(
        f"{'network':10} {'agent':12} {'GFLOP':>8} {'ratio':>6} {'MiB':>6}"
        + f" {'ms':>8} {'GFLOP/s, large product':>23}" * (arguments.seconds > 0)
    )
    for network in arguments.networks.split(","):
        for pair in PAIRS:
            updates = [
                compiled(*chosen(agent, network, arguments.batch_size))
                for agent in pair
            ]
            times: list[str] = ["", ""]
            if arguments.seconds > 0:
                works = [update.run for update in updates]
                *taken, large = seconds(*works, product(), total=arguments.seconds)
                rate = 2e-9 * _LARGE**3 / large
                times = [f"{1e3 * each:8.1f} {rate:23.0f}" for each in taken]
            for agent, update, timed in zip(pair, updates, times, strict=True):
                ratio = update.flops / updates[0].flops
                print(
                    f"{network:10} {agent:12} {update.flops / 1e9:8.2f} {ratio:6.3f}"
                    f" {update.temporaries:6.0f} {timed}".rstrip()
                )


if __name__ == "__main__":
    sys.exit(cli.run(main))
