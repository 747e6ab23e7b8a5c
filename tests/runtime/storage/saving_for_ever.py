"""Saves checkpoints without end in forked processes, to be killed at it.

Each line of standard input, `directory first_step`, starts a process that prints its
own number, then each step when it is saved. When it is dead, a line `dead` follows.
What takes seconds, importing Orbax, is done once and before there are any threads.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading

import numpy as np

from stac.runtime.storage import checkpoints
from tests.runtime.storage.test_checkpoints import a_state

KEEP = 2


def state(step: int):
    """What is saved as this step, 40 kB."""
    rows = np.arange(10_000, dtype=np.float32) + step
    return a_state()._replace(params={"rows": rows}, updates=np.int32(step))


def acting(step: int) -> dict[str, bytes]:
    return {"actor_0": bytes([step % 251]) * 1000}


def save_for_ever(directory: str, first: int) -> None:
    say(os.getpid())
    writer = checkpoints.Checkpoints(directory, KEEP)
    for step in itertools.count(first):
        writer.save(step, state(step), {"episodes": step}, acting(step))
        say(step)


def say(what: object) -> None:
    os.write(1, f"{what}\n".encode())


def main() -> None:
    for line in sys.stdin:
        directory, first = line.split()
        assert threading.active_count() == 1
        child = os.fork()
        if child == 0:
            save_for_ever(directory, int(first))
        os.waitpid(child, 0)
        say("dead")


if __name__ == "__main__":
    main()
