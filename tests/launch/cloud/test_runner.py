"""Launches on fake machines, whose hosts are folders with real processes in them."""

from __future__ import annotations

import pathlib
import signal

import pytest

from tests.launch.cloud import launches

SLOW = pytest.mark.slow
CREATED = "in the end: gcloud compute tpus queued-resources delete mine"


def test_a_launch_trains_on_every_host_fetches_the_workdir_and_deletes(launch):
    run = launch(launches.QUEUED)
    assert run.status() == 0, run.text
    assert run.things == []
    assert (run.workdir / "done").exists()
    assert "trains: -m stac catch --runtime=threads --agent=impala" in run.text
    for index in (0, 1):
        log = (run.folder / f"host{index}" / "stac-launch" / "log").read_text()
        expected = f"--coordinator=vm-0.z.c.p.internal:29500 --hosts=2 --host={index}"
        assert expected in log
    assert "--host=1" not in run.text, "the log of another host is shown"


@pytest.mark.parametrize(
    ("target", "order"),
    [
        (launches.GROUP, ["managed", "instance-templates", "resource-policies"]),
        (launches.JOBSET, ["jobset", "configmap"]),
    ],
)
def test_all_that_was_created_is_deleted_the_last_first(launch, target, order):
    run = launch(target)
    assert run.status() == 0, run.text
    assert run.things == []
    assert (run.workdir / "done").exists()
    deletes = [call for call in run.calls if " delete " in call]
    in_order = zip(order, deletes, strict=True)
    assert all(word in call for word, call in in_order), deletes
    for index in (0, 1):
        (log,) = (run.folder / f"host{index}").rglob("log")
        assert f"--hosts=2 --host={index}" in log.read_text()
    assert "--host=1" not in run.text, "the log of another host is shown"


@SLOW
def test_the_runs_status_is_the_launchs_and_the_last_lines_of_all_hosts_are_shown(
    launch,
):
    run = launch(launches.QUEUED, TRAINER_STATUS="3")
    assert run.status() == 3
    assert "--host=1" in run.text.partition("the last lines of every host")[2]
    assert (run.workdir / "done").exists()
    assert run.things == []


@pytest.mark.parametrize(
    "step",
    [
        "queued-resources create",
        pytest.param("install.sh", marks=SLOW),
        pytest.param("tar -C stac-launch -xf", marks=SLOW),
        pytest.param("setsid", marks=SLOW),
        pytest.param("echo reached", marks=SLOW),
    ],
)
def test_a_step_that_fails_ends_the_launch_and_all_is_deleted(launch, step):
    run = launch(launches.QUEUED, FAKE_FAIL=step)
    assert run.status() == 1
    assert "launch.cloud: failed: " in run.text
    assert CREATED in run.text
    assert run.things == []


@SLOW
def test_machines_that_are_refused_end_the_launch_and_the_request_is_deleted(launch):
    run = launch(launches.QUEUED, FAKE_STATE="FAILED")
    assert run.status() == 1
    assert "failed: waiting for the machines: it is FAILED" in run.text
    assert run.called(" ssh ") == 0
    assert run.things == []


@pytest.mark.parametrize(
    ("step", "number"),
    [
        ("queued-resources create", signal.SIGINT),
        pytest.param("install.sh", signal.SIGINT, marks=SLOW),
        pytest.param("install.sh", signal.SIGTERM, marks=SLOW),
        pytest.param("install.sh", signal.SIGHUP, marks=SLOW),
    ],
)
@pytest.mark.usefixtures("hang_ups_heard")
def test_a_signal_before_the_run_ends_the_launch_and_all_is_deleted(
    launch, step, number
):
    run = launch(launches.QUEUED, FAKE_HANG=step)
    run.wait_for(path="hangs")
    run.send(number)
    if "create" in step:  # that is not cut short by the first one
        run.wait_for("another Ctrl-C does not wait")
        run.send(number)
    assert run.status() == 128 + number, run.text
    assert "Traceback" not in run.text
    assert run.things == []


def test_ctrl_c_while_it_trains_saves_fetches_and_deletes(launch):
    run = launch(launches.QUEUED, TRAINER_TICKS="600")
    run.wait_for("trains: ")
    run.send(signal.SIGINT)
    assert run.status() == 0, run.text
    assert "\nsaves" in run.text
    assert (run.workdir / "checkpoint").exists()
    assert run.things == []


@SLOW
@pytest.mark.parametrize(
    ("target", "asks", "words"),
    [
        (launches.QUEUED, "kill -TERM", "trains: "),
        (launches.SLURM, "signal=TERM", "--host=1"),  # of the last task
    ],
)
def test_a_second_ctrl_c_leaves_the_run_and_still_deletes(launch, target, asks, words):
    run = launch(target, TRAINER_TICKS="600", FAKE_HANG=asks)
    run.wait_for(words)
    run.send(signal.SIGINT)
    run.wait_for(path="hangs")
    run.send(signal.SIGINT)
    assert run.status() == 130, run.text
    assert run.things == []


@SLOW
def test_a_connection_that_ends_is_made_again(launch):
    run = launch(launches.QUEUED, FAKE_FAIL="follow.sh", FAKE_TRIES="2")
    assert run.status() == 0, run.text
    assert run.called("status.sh") >= 1
    assert run.things == []


@pytest.mark.parametrize(
    ("words", "failing", "asked"),
    [
        pytest.param("\nsaves", {}, 1, id="it saves"),
        pytest.param(
            "asking the run to save",
            {"FAKE_FAIL": "kill -TERM", "FAKE_TRIES": "1"},
            2,
            id="it was not reached",
            marks=SLOW,
        ),
    ],
)
def test_after_a_connection_that_ends_a_run_that_saves_is_not_asked_again(
    launch, words, failing, asked
):
    run = launch(launches.QUEUED, TRAINER_TICKS="600", TRAINER_SAVES="2", **failing)
    run.wait_for("trains: ")
    run.send(signal.SIGINT)
    run.wait_for(words)
    run.cut("follow.sh")
    assert run.status() == 0, run.text
    assert run.called("follow.sh") == 2
    assert run.called("kill -TERM") == asked
    assert (run.workdir / "checkpoint").exists()


@SLOW
def test_a_host_that_cannot_be_reached_any_more_ends_the_launch(launch):
    run = launch(launches.QUEUED, FAKE_FAIL="(follow|status).sh")
    assert run.status() == 1
    assert "host 0 cannot be reached any more" in run.text
    assert run.things == []


@SLOW
def test_a_delete_that_fails_is_tried_again(launch):
    run = launch(launches.QUEUED, FAKE_STAYS="queued-resources", FAKE_TRIES="2")
    assert run.status() == 0, run.text
    assert run.called("queued-resources delete") == 3
    assert run.things == []


def test_what_cannot_be_deleted_is_named_with_the_command_and_the_rest_is_deleted(
    launch,
):
    run = launch(launches.GROUP, FAKE_STAYS="instance-templates")
    assert run.status() == 1
    assert run.called("instance-templates delete") == 4
    assert run.things == ["instance-templates"]
    last = run.text.splitlines()[-1]
    assert "instance template mine COULD NOT BE DELETED" in last
    assert "gcloud compute instance-templates delete mine" in last


def test_a_name_that_is_taken_is_refused_and_its_owner_is_left_alone(launch, tmp_path):
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "tpus-queued-resources").write_text("mine")
    run = launch(launches.QUEUED)
    assert run.status() == 1
    assert "there is a queued resource mine already" in run.text
    assert run.called(" delete ") + run.called(" create ") == 0
    assert run.things == ["tpus-queued-resources"]


@SLOW
def test_machines_that_exist_are_used_and_left(launch):
    run = launch((*launches.QUEUED, "--use"))
    assert run.status() == 0, run.text
    assert run.called(" delete ") + run.called(" create ") == 0
    assert (run.workdir / "done").exists()


@SLOW
def test_a_run_that_was_stopped_goes_on_where_it_was_by_the_same_command(
    launch, tmp_path: pathlib.Path
):
    target = (*launches.QUEUED, "--hosts=1", "--collect_minutes=0")
    command = ("launch.catch", "--agent=impala", "--total_frames=20_000_000")
    run = launch(target, command, launches.REAL_TRAINER)
    run.wait_for(" frames (")
    run.send(signal.SIGINT)
    assert run.status() == 0, run.text
    assert list((run.workdir / "checkpoints").iterdir())
    again = launch(target, command, launches.REAL_TRAINER)
    again.wait_for("continuing ")
    again.wait_for(" frames (")
    again.send(signal.SIGTERM)
    assert again.status() == 0, again.text
    assert again.things == []
