"""Uniform draws of single transitions per second: our ring, and a Reverb table.

    python -m benchmarks.replay --seconds=10

Transitions have Hopper-v4's shape. The ring, of a million, gives ten minibatches of 256
a call, as for an update. The table (uniform sampler, first in first out), of 20,000,
gives items of one transition through `reverb.Client.sample`, asked for 256 and for
4,096 at a time.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np

from stac.agents import base
from stac.config import check
from stac.launch import cli
from stac.runtime.queues import reverb_import
from stac.runtime.queues.replay import Replay
from stac.types import Transition

FEATURES, ACTIONS, MINIBATCH = 11, 3, 256


def some(count: int) -> Transition:
    """[count, ...]"""
    random = np.random.default_rng(1)
    shapes = ((FEATURES,), (ACTIONS,), (), (), (FEATURES,))
    return Transition(
        *(random.normal(size=(count, *x)).astype(np.float32) for x in shapes)
    )


def ring(room: int) -> Iterator[int]:
    """Transitions that a call draws."""
    size = base.ReplaySize(room, 1, 10 * MINIBATCH, MINIBATCH)
    replay = Replay(size, 1, np.zeros((0, FEATURES), np.float32))
    replay._keep(some(room))
    while True:
        yield len(replay._draw().ready)


def table(room: int, at_once: int) -> Iterator[int]:
    """Transitions that a call draws."""
    reverb = reverb_import.load()
    server = reverb.Server(
        [
            reverb.Table(
                "replay",
                sampler=reverb.selectors.Uniform(),
                remover=reverb.selectors.Fifo(),
                max_size=room,
                rate_limiter=reverb.rate_limiters.MinSize(1),
            )
        ]
    )
    client = reverb.Client(f"localhost:{server.port}")
    with client.trajectory_writer(num_keep_alive_refs=1) as writer:
        for number, row in enumerate(zip(*some(room), strict=True)):
            writer.append(dict(zip(Transition._fields, row, strict=True)))
            parts = {k: column[-1:] for k, column in writer.history.items()}
            writer.create_item("replay", 1.0, parts)
            if not number % 50:
                writer.flush()  # Reverb warns of more
    while True:
        yield sum(1 for _ in client.sample("replay", at_once, emit_timesteps=False))


def main() -> None:
    """Prints a line for each way."""
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0, help="each")
    given = parser.parse_args()
    check(given.seconds > 0, f"--seconds={given.seconds}: must be positive")
    ways = {
        "ring": ring(10**6),
        "Reverb, 256 at once": table(20_000, 256),
        "Reverb, 4,096 at once": table(20_000, 4_096),
    }
    for name, draws in ways.items():
        next(draws)
        began, drawn = time.perf_counter(), 0
        while time.perf_counter() - began < given.seconds:
            drawn += next(draws)
        rate = drawn / (time.perf_counter() - began)
        print(f"{name:24} {rate:12,.0f} transitions/s, {rate / MINIBATCH:8,.1f} of 256")


if __name__ == "__main__":
    sys.exit(cli.run(main))
