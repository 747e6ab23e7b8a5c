"""Moments of a run's life at which something may happen to it, and how they come about.

A moment is reached by flags and by code that Python runs at its start (`early`), and is
seen in what the run prints and writes: who waits for one knows that it was there.
"""

from __future__ import annotations

import pathlib
import time
from collections.abc import Callable
from typing import NamedTuple

from tests import waiting
from tests.launch import runs
from tests.launch.runs import START_SECONDS, Run

FOREVER = "--total_frames=20_000_000"


class Moment(NamedTuple):
    """One of a run of launch.catch."""

    name: str
    reached: Callable[[Run], object]  # waits for it
    flags: tuple[str, ...] = ()
    early: str = ""  # code

    def run(
        self,
        folder: pathlib.Path,
        *flags: str,
        start: Callable[..., Run] = Run,
    ) -> Run:
        """A run that will come to it, in <folder>/run."""
        path = runs.early(folder / "early", self.early) if self.early else None
        return start(folder / "run", FOREVER, *self.flags, *flags, path=path)


def until(condition: Callable[[], object], run: Run) -> None:
    """Waits for it; fails where the run ends before."""
    waiting.until(
        condition, START_SECONDS, lambda: run.text, every=0.005, over=lambda: run.over
    )


def rows(run: Run) -> list[dict[str, float]]:
    return runs.rows(run.workdir)


def _learning(run: Run) -> None:
    run.wait_for("1 update")


def _full(run: Run) -> None:
    """The queue holds its 16; in launchpad the feeder soon has another batch of 16."""
    until(lambda: any(row["queue_size"] >= 16 for row in rows(run)[1:]), run)
    time.sleep(0.2)  # the learner has just taken a batch


def _empty(run: Run) -> None:
    until(lambda: any((row["learner_waits"] or 0) > 0.8 for row in rows(run)[-1:]), run)


def _hanging(run: Run) -> None:
    run.wait_for("waiting for trajectories")


def _building(run: Run) -> None:
    run.wait_for("building the learner")


def _compiling(run: Run) -> None:
    run.wait_for("compiling the update")
    time.sleep(0.5)


def _saving(run: Run) -> None:
    run.wait_for("1 update")
    place = run.workdir / "checkpoints"
    until(lambda: any(place.glob("*.orbax-checkpoint-tmp*")), run)


def _updating(run: Run) -> None:
    """One that follows the first, which also compiles."""
    run.wait_for("frames (")
    before = next(at for at, line in enumerate(run.lines) if "frames (" in line)
    run.wait_for("an update begins", before)
    time.sleep(0.5)


OFTEN = "--config.runtime.log_every_seconds=0.2"
WIDE = "--config.network.mlp_hiddens=(1024,1024)"
WIDER = "--config.network.mlp_hiddens=(2048,2048)"

# An update takes as long as ten unrolls, or a step of the game as ten updates: one side
# waits for the other nearly all the time.
SLOW_LEARNER = """
import time
from stac.runtime import devices

def update(self, *arguments, _update=devices.LearnerDevices.update):
    time.sleep(0.5)
    return _update(self, *arguments)

devices.LearnerDevices.update = update
"""
SLOW_GAME = runs.game("time.sleep(0.1)")
HANGING_GAME = runs.game("if steps > 100: time.sleep(600)")
RAISES_ONCE = runs.game('if steps == 1000: raise OSError("the game crashed")')
# What another test compiled would be read in a moment.
NOTHING_KEPT = """
import os
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""
"""
ANNOUNCED_UPDATES = """
from stac.runtime import devices

def update(self, *arguments, _update=devices.LearnerDevices.update):
    print("an update begins", flush=True)
    return _update(self, *arguments)

devices.LearnerDevices.update = update
"""
# 32,000 frames an update, which two cores take ten seconds for.
LONG_UPDATES = (
    *(WIDER, "--envs_per_actor=64", "--config.batch.batch_size=320"),
    *("--config.batch.unroll_length=100", "--config.runtime.queue_capacity=320"),
)

LEARNING = Moment("while it learns", _learning)
FULL = Moment("with a full queue", _full, (OFTEN,), SLOW_LEARNER)
EMPTY = Moment("with an empty queue", _empty, (OFTEN,), SLOW_GAME)
HANGING = Moment("with an environment that hangs", _hanging, (), HANGING_GAME)
BUILDING = Moment("while it builds the learner", _building)
COMPILING = Moment("while it compiles", _compiling, ("--agent=stacx",), NOTHING_KEPT)
SAVING = Moment(
    "during a save",
    _saving,
    (WIDE, "--config.runtime.checkpoint_every_seconds=0.001"),
)
UPDATING = Moment("in a long update", _updating, LONG_UPDATES, early=ANNOUNCED_UPDATES)
