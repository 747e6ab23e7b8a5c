"""SIGTERM and Ctrl-C at the moments that are hard to leave; the ports of a run.

Lockstep is met by more signals in test_pre_emption.py, and a program that starts or
just learns in test_program.py.
"""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

import pytest

from stac.runtime.faults import shutdown
from tests.launch import endings, moments, runs
from tests.waiting import until

pytestmark = [pytest.mark.faults]

LEAVES_SECONDS = 30.0
AT_ONCE_SECONDS = 5.0
SAVED, LEFT = " is saved in ", "left while a computation was still running; update "
# (of the process queue, of the process learner, of all)
PORTS = {"launchpad": (1, 1, 2), "threads": (0, 0, 0), "lockstep": (0, 0, 0)}
SLOW = pytest.mark.slow


class Case(NamedTuple):
    """A signal, and the last words that are to follow it, one of them."""

    runtime: str
    moment: moments.Moment
    number: signal.Signals
    words: tuple[str, ...] = (SAVED,)
    seconds: float = LEAVES_SECONDS

    @classmethod
    def param(cls, *fields, marks=()):
        case = cls(*fields)
        marks = [*marks, pytest.mark.launchpad] if "pad" in case.runtime else marks
        name = f"{case.number.name}, {case.runtime}, {case.moment.name}"
        return pytest.param(case, id=name, marks=marks)


INT, TERM, USR1 = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
EITHER = (SAVED, LEFT)  # as fast as the machine is
UNBEGUN = (SAVED, shutdown.NOTHING)  # where the learner takes longer than the grace
END = runs.END_SECONDS
EARLY = (moments.BUILDING, moments.COMPILING)
CASES = [
    Case.param("threads", moments.BUILDING, INT, UNBEGUN, END),
    Case.param("lockstep", moments.BUILDING, INT, UNBEGUN, END, marks=[SLOW]),
    Case.param("threads", moments.COMPILING, INT, EITHER, END),
    Case.param("lockstep", moments.COMPILING, INT, EITHER, END, marks=[SLOW]),
    Case.param("threads", moments.FULL, TERM),
    Case.param("threads", moments.SAVING, INT),
    Case.param("threads", moments.LEARNING, USR1, marks=[SLOW]),
    Case.param("lockstep", moments.LEARNING, USR1, marks=[SLOW]),
    Case.param("threads", moments.EMPTY, TERM, marks=[SLOW]),
    Case.param("threads", moments.HANGING, INT, (LEFT,), marks=[SLOW]),
    Case.param("threads", moments.UPDATING, TERM, EITHER, marks=[SLOW]),
    Case.param("lockstep", moments.HANGING, TERM, (LEFT,), marks=[SLOW]),
    Case.param("lockstep", moments.UPDATING, INT, EITHER, marks=[SLOW]),
    Case.param("launchpad", moments.FULL, TERM),
    Case.param("launchpad", moments.COMPILING, INT, EITHER, marks=[SLOW]),
    Case.param("launchpad", moments.EMPTY, INT, marks=[SLOW]),
    Case.param("launchpad", moments.HANGING, TERM, marks=[SLOW]),
    Case.param("launchpad", moments.SAVING, TERM, marks=[SLOW]),
    Case.param("launchpad", moments.UPDATING, INT, EITHER, marks=[SLOW]),
]


def updates_saved(run: runs.Run) -> int:
    """Of the newest checkpoint, when all of it has been read."""
    directory = run.workdir / "checkpoints"
    assert not list(directory.glob("*.orbax*")), "something is half-written"
    return endings.of(run.workdir).step


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_is_told_to_end_saves_all_it_learned_and_is_gone(
    case, start, tmp_path
):
    run = case.moment.run(tmp_path, f"--runtime={case.runtime}", start=start)
    case.moment.reached(run)
    ports = tuple(len(run.ports(role)) for role in ("queue", "learner", ""))
    began = time.monotonic()
    run.interrupt() if case.number == INT else run.terminate(case.number)
    assert run.status(case.seconds) == 0, run.text
    print(f"left after {time.monotonic() - began:.1f} s: {run.lines[-1]}")
    assert run.processes() == []
    assert "Traceback" not in run.text
    assert ports == PORTS[case.runtime]
    assert run.text.count(f"{case.number.name}: saving and leaving") == 1
    assert any(word in run.lines[-1] for word in case.words), run.text
    if shutdown.NOTHING in run.lines[-1]:
        assert not runs.saved(run.workdir)
        return
    updates = updates_saved(run)
    learned = [row["updates"] for row in moments.rows(run)]
    assert updates >= max(learned, default=0)
    assert updates > 0 or case.moment in EARLY
    assert len(runs.saved(run.workdir)) == 1 or case.moment not in EARLY
    if SAVED in run.lines[-1]:
        assert f"update {updates:,} is saved in {run.workdir}" in run.lines[-1]
        assert "continue  " in run.text, run.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "runtime",
    ["lockstep", "threads", pytest.param("launchpad", marks=pytest.mark.launchpad)],
)
def test_a_second_signal_leaves_at_once(runtime, start, tmp_path):
    run = moments.UPDATING.run(tmp_path, f"--runtime={runtime}", start=start)
    moments.UPDATING.reached(run)
    run.terminate()
    run.wait_for("SIGTERM: saving and leaving (a second signal leaves at once)")
    time.sleep(1.0)
    run.terminate()
    assert run.status(AT_ONCE_SECONDS) == 128 + signal.SIGTERM
    # Children see their parent's end.
    until(lambda: not run.processes(), AT_ONCE_SECONDS, every=0.1)
    assert "Traceback" not in run.text


@pytest.mark.slow
@pytest.mark.parametrize(
    "runtime",
    ["lockstep", "threads", pytest.param("launchpad", marks=pytest.mark.launchpad)],
)
def test_environments_in_processes_of_their_own_open_no_port(runtime, start, tmp_path):
    small = ("--task=cartpole.balance", "--envs_per_actor=2", moments.FOREVER)
    small += (
        "--config.environment.workers=processes",
        "--config.environment.threads=2",
    )
    small += ("--config.batch.batch_size=2", "--config.runtime.queue_capacity=4")
    run = start(tmp_path, f"--runtime={runtime}", *small, program="launch.control")
    run.wait_for("frames (")
    others = {"launchpad": 4}.get(runtime, 1)  # parent, queue, learner, actor
    assert len(run.processes()) >= others + 2
    assert (
        tuple(len(run.ports(role)) for role in ("queue", "learner", ""))
        == (PORTS[runtime])
    )
    run.terminate()
    assert run.status(LEAVES_SECONDS) == 0
    assert run.processes() == []
