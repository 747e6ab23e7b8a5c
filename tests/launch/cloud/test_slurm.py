"""The Slurm script under a Slurm that starts real processes on this machine."""

from __future__ import annotations

import os
import signal

import pytest

from tests.launch.cloud import launches

SLOW = pytest.mark.slow


@SLOW
def test_every_task_trains_with_its_own_index_and_the_job_is_gone(launch):
    run = launch(launches.SLURM)
    assert run.status() == 0, run.text
    for index in (0, 1):
        expected = f"--coordinator=node0:20014 --hosts=2 --host={index}"
        assert expected in run.text, "the tasks' lines come through the job's log"
    assert run.called("sbatch --wait --partition=gpu") == 1
    assert (run.workdir / "done").exists()
    assert run.things == []


@SLOW
def test_the_jobs_status_is_the_launchs(launch):
    run = launch(launches.SLURM, TRAINER_STATUS="3")
    assert run.status() == 3
    assert run.things == []


def test_the_warning_before_the_jobs_end_saves_and_queues_it_again(launch):
    run = launch(launches.SLURM, TRAINER_TICKS="20")
    run.wait_for("--host=1")
    pid = int((run.folder / "job.pid").read_text())
    os.kill(pid, signal.SIGUSR1)
    run.wait_for("\nsaves")
    assert run.status() == 0, run.text
    assert run.called("scontrol requeue 7") == 1
    assert run.text.count("--host=1") == 2, "it was started again by the same command"
    assert run.called("sbatch") == 1
    assert run.things == []


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=SLOW)]
)
def test_ctrl_c_saves_and_the_job_is_gone(launch, number):
    run = launch(launches.SLURM, TRAINER_TICKS="600")
    run.wait_for("--host=1")
    run.send(number)
    assert run.status() == 0, run.text
    assert run.text.count("\nsaves") == 2
    assert run.called("scontrol requeue") == 0
    assert run.things == []


@SLOW
def test_two_tasks_really_train_and_save_at_the_same_update(launch):
    command = ("launch.catch", "--agent=impala", "--num_actors=1")
    run = launch(
        launches.SLURM,
        (*command, "--total_frames=20_000_000"),
        launches.REAL_TRAINER,
        FAKE_NODES="127.0.0.1",
        FAKE_JOB=str(os.getpid()),
    )
    run.wait_for(" frames (")
    run.send(signal.SIGINT)
    assert run.status() == 0, run.text
    assert "asking the run to save" in run.text
    assert list((run.workdir / "checkpoints").iterdir())
    assert run.things == []
