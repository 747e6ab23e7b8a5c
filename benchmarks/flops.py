"""XLA's own count of the FLOPs of one update: the cost of self-tuning.

    python -m benchmarks.flops

8/3 is the floor: an update without self-tuning is forward and backward (3 units), and
self-tuning adds the outer loss's forward and backward (3) and a tangent (2).
"""

from __future__ import annotations

import dataclasses
import sys

import jax
import numpy as np

from stac.agents import actor_critic, base
from stac.configs import atari as numbers
from stac.environments.base import EnvironmentSpec
from stac.launch import asking
from stac.runtime import assembly

SPEC = EnvironmentSpec((4, 84, 84), np.dtype(np.uint8), 18, False, 4)
PAIRS = (("impala", "stac"), ("impala_aux", "stacx"))


def count(agent: str, network: str, batch_size: int = 2) -> float:
    """FLOPs of one compiled update of an agent on Atari, n = 20."""
    config = numbers.config(agent=agent, network=network)
    sized = dataclasses.replace(config.batch, batch_size=batch_size)
    config = dataclasses.replace(config, batch=sized)
    built = actor_critic.build(config, SPEC)
    state = jax.eval_shape(built.init, jax.random.PRNGKey(0))
    step = jax.jit(lambda state, batch: built.update(state, batch, base.no_devices))
    compiled = step.lower(state, assembly.example(built, SPEC, config))
    cost = compiled.compile().cost_analysis()
    return (cost[0] if isinstance(cost, list) else cost)["flops"]


def main() -> None:
    parser = asking.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", default="deep,shallow")
    parser.add_argument("--batch_size", type=int, default=2)
    arguments = parser.parse_args()
    print(f"{'network':10} {'agent':12} {'GFLOP':>8} {'ratio':>6}")
    for network in arguments.networks.split(","):
        for pair in PAIRS:
            with asking.in_one_line(parser):
                flops = [count(agent, network, arguments.batch_size) for agent in pair]
            for agent, number in zip(pair, flops, strict=True):
                ratio = number / flops[0]
                print(f"{network:10} {agent:12} {number / 1e9:8.2f} {ratio:6.3f}")


if __name__ == "__main__":
    sys.exit(asking.run(main))
