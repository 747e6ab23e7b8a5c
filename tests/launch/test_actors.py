"""`python -m launch.actors`: its command line, and machines that come and go."""

from __future__ import annotations

import socket

import pytest

from stac.launch import actors
from tests.launch.hosts.ports import free_pair
from tests.launch.runs import END_SECONDS, LONG, START_SECONDS, rows, wait_for_actors
from tests.programs import python

pytestmark = pytest.mark.faults

BAD = {
    "": "the following arguments are required: --connect: see --help",
    "--connect=nowhere": "--connect=nowhere: must be HOST:PORT, as in 10.0.0.5:7000,"
    " PORT up to 65534",
    "--connect=127.0.0.1:1": "cannot join a learner at 127.0.0.1:1: Connection refused",
    "--connect=:7 --num_actors=two": "argument --num_actors: invalid int value: 'two'",
    "--connect=:7 --num_actors=-1": "--num_actors=-1: must be in [0, 65536]",
    "--connect=:7 --num_actors=99999999": "--num_actors=99999999: must be in [0, 65536",
    "--connect=:7 --conect=:7000": "unrecognized arguments: --conect=:7000",
    "--connect=:7 10.0.0.5:7000": "unrecognized arguments: 10.0.0.5:7000",
}


@pytest.mark.launchpad
@pytest.mark.parametrize(("argument", "line"), BAD.items())
def test_a_bad_command_line_ends_with_status_2_and_one_line(argument, line, capfd):
    assert actors.main(["x", *argument.split()]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"launch.actors: {line}")


def test_without_launchpad_it_is_refused_in_one_line(monkeypatch, capfd):
    monkeypatch.setattr(actors.flags, "default_runtime", lambda: "threads")
    assert actors.main(["x", "--connect=10.0.0.5:7000"]) == 2
    assert capfd.readouterr().err.startswith(
        "launch.actors: Launchpad is not installed (it needs Linux and Python 3.10)"
    )


def test_it_says_how_it_is_used_also_as_a_part_of_stac():
    ended = python("-m", "stac", "actors", "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("usage: stac actors [-h] --connect HOST:PORT")


@pytest.mark.slow
@pytest.mark.launchpad
def test_a_machine_follows_its_learner_from_run_to_run_until_one_is_over(
    start, tmp_path
):
    port = free_pair()
    alone = (f"--listen={port}", "--num_actors=0")
    first = start(tmp_path / "first", *alone, f"--total_frames={LONG}")
    first.wait_for("building the learner")
    machine = start(
        None,
        f"--connect=127.0.0.1:{port}",
        "--num_actors=1",
        program="launch.actors",
    )
    machine.wait_for("actors 0 to 0, for impala on catch, features")
    wait_for_actors(first, **{socket.gethostname(): 1})
    first.terminate()
    assert first.status(END_SECONDS) == 0
    machine.wait_for(f"127.0.0.1:{port} is lost: ")

    flags = (*alone, "--agent=stac", "--total_frames=20000")
    second = start(tmp_path / "second", *flags)
    machine.wait_for("actors 0 to 0, for stac on catch, features")
    assert second.status(START_SECONDS) == 0
    assert machine.status(END_SECONDS) == 0
    assert machine.lines[-1] == f"127.0.0.1:{port}: the run is over"
    assert [run.processes() for run in (first, second, machine)] == [[]] * 3
    assert "Traceback" not in first.text + second.text + machine.text
    assert rows(tmp_path / "second")[-1]["actor_restarts"] == 0
