"""Provokes faults in real runs of launch.catch, and prints what came of each.

    python -m benchmarks.faults --only=SIGTERM
    python -m benchmarks.faults --only="launchpad, SIGSTOP"

The runs and moments are those of tests/launch: one actor of 16 environments. A table in
Markdown, a row as it comes in. Nothing is judged here; where a fault could not be
provoked the row says so, and the exit status is 1.
"""

from __future__ import annotations

import os
import pathlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from stac import config as configuration
from stac.config import Config
from stac.environments import make
from stac.launch import cli, flags
from stac.launch.domains import DOMAINS
from tests.launch import moments, runs
from tests.launch.moments import Moment
from tests.launch.runs import Run

LONGEST_END = 120.0
HEAD = (
    *("fault", "runtime", "time to recovery (s)", "frames lost", "exit status"),
    *("time to end (s)", "left behind (processes, ports)"),
)
DRAINED_SECONDS = 0.6  # less than the pause before a first restart
EVERY = 2.0  # seconds between checkpoints, where that is what a fault costs

ALL = ("lockstep", "threads", "launchpad")
QUEUED = ("threads", "launchpad")
APART = ("launchpad",)


class Scene(NamedTuple):
    """A run, and what it was before the fault."""

    run: Run
    config: Config
    ports: set[int]  # on which it listened


class Row(NamedTuple):
    """What was observed: the columns after fault and runtime."""

    recovery: str
    lost: str
    status: int
    end: float
    left: str


class Case(NamedTuple):
    """A row of the table, in each of some runtimes."""

    fault: str
    runtimes: tuple[str, ...]
    moment: Moment
    provoke: Callable[[Run], float]  # returns when that was, in monotonic seconds
    observe: Callable[[Scene, float], Row]


def hear(run: Run) -> float:
    run.wait_for("actor/0 failed: OSError")
    return time.monotonic()


def terminate(run: Run) -> float:
    run.terminate()
    return time.monotonic()


def terminate_twice(run: Run) -> float:
    """Returns when the second signal was."""
    run.terminate()
    run.wait_for("SIGTERM: saving and leaving")
    time.sleep(1.0)
    return terminate(run)


def recovers(scene: Scene, at: float) -> Row:
    """An actor is started again: until the learner learns from it."""
    run, config = scene.run, scene.config
    run.wait_for("starting it again in 1 s")
    time.sleep(DRAINED_SECONDS)  # nobody acts; what was waiting is learned from
    before = len(moments.rows(run))
    moments.until(lambda: len(moments.rows(run)) > before, run)
    recovery = time.monotonic() - at
    unroll = config.batch.unroll_length * make.envs_per_actor(config)
    row = ends(scene, terminate(run))
    return row._replace(recovery=f"{recovery:.1f}", lost=f"<= {unroll} (an unroll)")


def ends(scene: Scene, at: float) -> Row:
    """The run ends."""
    status = scene.run.status(LONGEST_END)
    end = round(time.monotonic() - at, 1)
    processes, ports = scene.run.processes(), scene.ports & runs.ports_in_use()
    left = f"{len(processes)}, {len(ports)}"
    return Row("–", _lost(scene.run, scene.config), status, end, left)


def is_continued(scene: Scene, at: float) -> Row:
    """The run ends, and the same command goes on from its checkpoint."""
    run, row = scene.run, ends(scene, at)
    again = time.monotonic()
    following = Run(run.workdir, *run.flags)
    try:
        following.wait_for(f"continuing from update {runs.saved(run.workdir)[-1]}")
        following.wait_for("frames (")
        recovery = time.monotonic() - again
        following.terminate()
        following.status(LONGEST_END)
    finally:
        following.kill()
    return row._replace(recovery=f"{recovery:.1f}, the same command")


def _lost(run: Run, config: Config) -> str:
    """Frames learned since the checkpoint, and at most how many waited."""
    saved = max(runs.saved(run.workdir), default=0)
    learned = [int(row["updates"]) for row in moments.rows(run)]
    since = max([saved, *learned]) - saved
    per_update = configuration.frames_per_update(config, frames_per_step=1)
    lost = [f"{since * per_update:,} of {since:,} updates"] if since else []
    return " and ".join([*lost, f"<= {_most_waiting(config):,} that waited"])


def _most_waiting(config: Config) -> int:
    """Frames in the queue, the feeder, two updates in flight and actors' hands."""
    batch, runtime = config.batch, config.runtime
    acted = runtime.num_actors * make.envs_per_actor(config)
    held = configuration.queue_capacity(config) + 3 * batch.batch_size
    if runtime.name == "lockstep":  # an update, and what is left over
        held = 2 * batch.batch_size
    return (held + acted) * batch.unroll_length


def _saved(run: Run) -> None:
    run.wait_for(" updates")
    moments.until(lambda: runs.saved(run.workdir), run)
    time.sleep(EVERY / 2)


RAISING = Moment("", lambda run: None, early=moments.RAISES_ONCE)
SAVED = Moment("", _saved, (f"--config.runtime.checkpoint_every_seconds={EVERY}",))
WATCHED = moments.LEARNING._replace(flags=("--config.runtime.silence_seconds=5",))


def _kills(role: str, number: int = signal.SIGKILL) -> Callable[[Run], float]:
    def kill(run: Run) -> float:
        os.kill(run.processes(role)[0], number)
        return time.monotonic()

    return kill


def _killed(role: str) -> Case:
    fault = f"`kill -9` of the {role}, a checkpoint every {EVERY:g} s"
    return Case(fault, APART, SAVED, _kills(role), is_continued)


def _asked(runtimes: tuple[str, ...], moment: Moment) -> Case:
    return Case(f"SIGTERM {moment.name}", runtimes, moment, terminate, ends)


STOPS = _kills("actor", signal.SIGSTOP)
CASES = (
    Case("`kill -9` of an actor", APART, moments.LEARNING, _kills("actor"), recovers),
    Case("SIGSTOP of an actor, silence 5 s", APART, WATCHED, STOPS, recovers),
    Case("an environment raises once", ALL, RAISING, hear, recovers),
    _killed("learner"),
    _killed("queue"),
    _asked(ALL, moments.LEARNING),
    _asked(QUEUED, moments.FULL),
    _asked(QUEUED, moments.EMPTY),
    _asked(ALL, moments.HANGING),
    _asked(ALL, moments.COMPILING),
    _asked(ALL, moments.SAVING),
    _asked(ALL, moments.UPDATING),
    Case("a second SIGTERM, after 1 s", ALL, moments.UPDATING, terminate_twice, ends),
)


def measure(case: Case, runtime: str) -> Row:
    arguments = (f"--runtime={runtime}", moments.OFTEN)
    with tempfile.TemporaryDirectory() as folder:
        run = case.moment.run(pathlib.Path(folder), *arguments)
        try:
            config = flags.parse(["", *run.flags], DOMAINS["catch"]).config
            case.moment.reached(run)
            scene = Scene(run, config, run.ports())
            return case.observe(scene, case.provoke(run))
        finally:
            run.kill()


def chosen(only: str) -> Iterator[tuple[Case, str]]:
    for case in CASES:
        for runtime in case.runtimes:
            if all(word in f"{case.fault}, {runtime}" for word in only.split(", ")):
                yield case, runtime


def main() -> int:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="words of fault or runtime: a, b")
    only = parser.parse_args().only
    configuration.check(
        any(chosen(only)), f"--only={only}: no fault and runtime has these words"
    )
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)  # the tests': no user has it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # no run outlives this
    failed = 0
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|", flush=True)
    for case, runtime in chosen(only):
        try:
            cells = list(map(str, measure(case, runtime)))
        except Exception as error:  # noqa: BLE001 - the row says so
            failed += 1
            reason = "".join(str(error).strip().splitlines()[-1:])
            cells = [f"NOT MEASURED: {type(error).__name__}: {reason}"]
        print(f"| {' | '.join((case.fault, runtime, *cells))} |", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
