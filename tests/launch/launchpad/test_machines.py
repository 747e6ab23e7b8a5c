"""A learner and three machines of actors: network namespaces with a cable to each.

The machines share the cores of one. So each step of the game takes 20 ms in which no
core works, and the actors set the speed of the run, as machines of their own would.

    pytest -m slow -s tests/launch/launchpad/test_machines.py

prints the figures of docs/scaling.md.
"""

from __future__ import annotations

import itertools
import pathlib
import signal
import time
from collections.abc import Iterator

import pytest

from stac.launch.launchpad import join
from tests.launch.machines import Machine
from tests.launch.runs import (
    END_SECONDS,
    LONG,
    Run,
    early,
    game,
    rows,
    wait_for_actors,
)

pytestmark = [pytest.mark.faults, pytest.mark.launchpad, pytest.mark.slow]

CUT_SECONDS = 30.0
MEASURED_SECONDS = 12.0
PORT = 7000


@pytest.fixture
def machines() -> Iterator[tuple[Machine, ...]]:
    """A learner's, and three with a cable to it."""
    learner = Machine("learner")
    others = [Machine(f"host{number}", learner) for number in (1, 2, 3)]
    for number, other in enumerate(others, 1):
        learner.cable(other, number)
    yield (learner, *others)
    for machine in (learner, *others):
        machine.close()


def speed(run: Run, seconds: float = MEASURED_SECONDS) -> float:
    """Frames per second that are learned in so many seconds from now."""
    first = len(rows(run.workdir))
    time.sleep(seconds)
    measured = rows(run.workdir)[first:]
    frames = measured[-1]["frames"] - measured[0]["frames"]
    return frames / (measured[-1]["seconds"] - measured[0]["seconds"])


def test_training_goes_on_while_machines_are_cut_off_and_killed(
    start, tmp_path: pathlib.Path, machines, capsys
):
    learners, *others = machines
    slow = early(tmp_path / "early", game("time.sleep(0.02)"))
    learner = start(
        tmp_path / "run",
        "--num_actors=0",
        f"--listen=0.0.0.0:{PORT}",
        f"--total_frames={LONG}",
        within=learners.within,
    )
    learner.wait_for("starting to listen at 0.0.0.0:7000")
    learner.wait_for("building the learner")
    hosts = [
        start(
            None,
            f"--connect=10.77.{number}.1:{PORT}",
            "--num_actors=1",
            program="launch.actors",
            path=slow,
            within=other.within,
        )
        for number, other in enumerate(others, 1)
    ]
    figures = {}
    wait_for_actors(learner, host1=1, host2=1, host3=1)
    figures["three machines"] = speed(learner)

    learners.ip("link set c1 down")
    went = time.monotonic()
    gone = wait_for_actors(learner, host1=0, host2=1, host3=1)
    assert gone < join.SILENCE_SECONDS + 5
    figures["one is cut off"] = speed(learner, CUT_SECONDS - gone)
    time.sleep(max(0.0, went + CUT_SECONDS - time.monotonic()))
    learners.ip("link set c1 up")
    back = wait_for_actors(learner, host1=1, host2=1, host3=1)
    hosts[0].wait_for("10.77.1.1:7000 is lost: no answer; the actors stop")
    figures["it is back"] = speed(learner)

    hosts[1].behead()
    lost = wait_for_actors(learner, host1=1, host2=0, host3=1)
    assert lost < join.SILENCE_SECONDS + 5
    figures["one is killed"] = speed(learner)
    assert hosts[1].status(END_SECONDS) == -signal.SIGKILL

    learner.terminate()
    assert learner.status(END_SECONDS) == 0
    for host in (hosts[0], hosts[2]):
        host.wait_for(f":{PORT} is lost: ")
        host.terminate()
        assert host.status(END_SECONDS) == 0
    assert [host.processes() for host in (learner, *hosts)] == [[]] * 4
    assert "Traceback" not in "".join(run.text for run in (learner, *hosts))
    learned = [row["updates"] for row in rows(learner.workdir)]
    for before, after in itertools.pairwise(learned):
        assert after > before
    with capsys.disabled():
        print(f"\nframes/s: { {name: round(rate) for name, rate in figures.items()} }")
        print(f"s until counted out: {gone:.0f}, back after the cut: {back:.0f},")
        print(f"until a killed one is counted out: {lost:.1f}")
    two_thirds = figures["three machines"] * 2 / 3
    assert figures["one is cut off"] == pytest.approx(two_thirds, rel=0.25)
    assert figures["it is back"] == pytest.approx(figures["three machines"], rel=0.25)
    assert figures["one is killed"] == pytest.approx(two_thirds, rel=0.25)
