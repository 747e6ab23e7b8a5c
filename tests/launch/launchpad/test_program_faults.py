"""Launchpad programs whose processes die or stop: what goes on, and what ends how."""

from __future__ import annotations

import os
import pathlib
import signal

import pytest

from stac.config import Config, ConfigError
from stac.runtime.storage import workdir
from tests.launch import moments
from tests.launch.moments import OFTEN
from tests.launch.runs import (
    FAIL_SECONDS,
    LONG,
    START_SECONDS,
    Run,
    early,
    game,
    ports_in_use,
    rows,
    saved,
)
from tests.waiting import until

pytestmark = [pytest.mark.launchpad, pytest.mark.faults]

FOREVER = f"--total_frames={LONG}"
SILENCE = "--config.runtime.silence_seconds=5"


def kill(run: Run, role: str, number: signal.Signals = signal.SIGKILL) -> int:
    """Sends a signal to the process of a role; how many lines were said before."""
    before_lines = len(run.lines)
    os.kill(run.processes(role)[0], number)
    return before_lines


def learns_on(run: Run, workdir: pathlib.Path, restarts: int = 1) -> None:
    """Waits until so many restarts are known, and for ten more updates."""
    moments.until(lambda: rows(workdir)[-1]["actor_restarts"] >= restarts, run)
    before = rows(workdir)[-1]["updates"]
    moments.until(lambda: rows(workdir)[-1]["updates"] >= before + 10, run)


def test_an_actor_that_is_killed_starts_again_and_the_run_goes_on(start, tmp_path):
    run = start(tmp_path, FOREVER, OFTEN)
    run.wait_for("1 update")
    others = run.processes("learner") + run.processes("queue")
    before_lines = kill(run, "actor")
    run.wait_for(
        "actor/0 was killed by SIGKILL; starting it again in 1 s (1 of 10 in 10 min)",
        before_lines,
    )
    learns_on(run, tmp_path)
    assert run.processes("learner") + run.processes("queue") == others
    run.terminate()
    assert run.status(FAIL_SECONDS) == 0
    assert run.processes() == []
    assert rows(tmp_path)[-1]["actor_restarts"] == 1


@pytest.mark.slow
def test_an_actor_that_is_stopped_is_named_killed_and_starts_again(start, tmp_path):
    run = start(tmp_path, FOREVER, OFTEN, SILENCE)
    run.wait_for("1 update")
    before_lines = kill(run, "actor", signal.SIGSTOP)
    run.wait_for(
        "actor/0 gave no sign of life for 5 s; starting it again in 1 s", before_lines
    )
    learns_on(run, tmp_path)
    run.terminate()
    assert run.status(FAIL_SECONDS) == 0
    assert run.processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("role", ["learner", "queue"])
def test_the_death_of_learner_or_queue_ends_the_run_and_it_is_continued(
    start, tmp_path, role
):
    flags = ("--total_frames=150000", "--config.runtime.checkpoint_every_seconds=0.5")
    run = start(tmp_path, *flags)
    run.wait_for("frames/s")
    ports = run.ports()
    assert len(ports) >= 2
    kill(run, role)
    assert run.status(FAIL_SECONDS) == 1
    assert run.processes() == []
    assert not ports & ports_in_use()
    assert run.lines[-1] == f"{role}/0 was killed by SIGKILL: the run is stopped"
    [*_, updates] = saved(tmp_path)
    assert 0 < updates < 150_000 // 160, "it was to be killed before its end"

    run = start(tmp_path, *flags)
    assert run.status(START_SECONDS) == 0
    assert f"continuing from update {updates}" in run.lines
    assert run.processes() == []


@pytest.mark.slow
def test_the_death_of_the_command_itself_costs_nothing_that_was_learned(
    start, tmp_path
):
    run = start(tmp_path, FOREVER)
    run.wait_for("frames/s")
    updates, ports = rows(tmp_path)[-1]["updates"], run.ports()
    run.behead()
    with pytest.raises(ConfigError, match=r"another run \(process \d+\) is writing"):
        workdir.prepare(tmp_path, Config())
    # Those go a moment later.
    until(lambda: not (run.processes() or ports & ports_in_use()), FAIL_SECONDS)
    assert saved(tmp_path)[-1] >= updates
    with pytest.raises(ConfigError, match="of another configuration"):
        workdir.prepare(tmp_path, Config())


# Not once for all: an actor begins again in the same process.
FLAKY_GAME = game('if steps % 100 == 0: raise OSError("the game crashed")')


@pytest.mark.slow
def test_an_actor_that_fails_begins_again_with_a_writer_of_its_own(start, tmp_path):
    broken = early(tmp_path / "broken", FLAKY_GAME)
    flags = (FOREVER, OFTEN, "--config.batch.overlap=5")
    run = start(tmp_path / "run", *flags, path=broken)
    failed = "actor/0 failed: OSError: the game crashed (sitecustomize.py:8)"
    run.wait_for(f"{failed}; starting it again in 2 s (2 of 10 in 10 min)")
    learns_on(run, tmp_path / "run", restarts=2)
    run.terminate()
    assert run.status(FAIL_SECONDS) == 0
    assert run.processes() == []
    assert rows(tmp_path / "run")[-1]["actor_restarts"] >= 2


HANGING_GAME = game(
    'if steps > 100 and __import__("os").environ["STAC_RESTARTS"] == "0":'
    " time.sleep(600)"
)


@pytest.mark.slow
def test_an_actor_whose_environment_hangs_is_a_new_process(start, tmp_path):
    broken = early(tmp_path / "broken", HANGING_GAME)
    run = start(tmp_path / "run", FOREVER, OFTEN, SILENCE, path=broken)
    run.wait_for("actor/0 gives no sign of life for 5 s in step (sitecustomize.py:")
    learns_on(run, tmp_path / "run")
    run.terminate()
    assert run.status(FAIL_SECONDS) == 0
    assert run.processes() == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_an_environments_process_that_dies_or_stops_costs_its_actor_a_life(
    start, tmp_path, number
):
    small = ("--task=cartpole.balance", "--envs_per_actor=2", SILENCE)
    small += (
        "--config.environment.workers=processes",
        "--config.environment.threads=2",
    )
    small += ("--config.batch.batch_size=2", "--config.runtime.queue_capacity=4")
    run = start(tmp_path, FOREVER, OFTEN, *small, program="launch.control")
    run.wait_for("frames/s")
    workers = run.processes("actor", worker=True)
    assert len(workers) == 2
    os.kill(workers[0], number)
    run.wait_for(
        "actor/0 " + ("failed: WorkerError" if number == 9 else "gives no sign")
    )
    learns_on(run, tmp_path)
    assert len(run.processes("actor", worker=True)) == 2
    assert not set(workers) & set(run.processes())
    run.terminate()
    assert run.status(FAIL_SECONDS) == 0
    assert run.processes() == []
