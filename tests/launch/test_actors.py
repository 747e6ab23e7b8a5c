"""`python -m launch.actors`: its command line, and machines that come and go."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from stac.launch import actors
from tests import conftest
from tests.launch.runs import END_SECONDS, LONG, START_SECONDS, Run, rows

pytestmark = pytest.mark.faults

BAD = {
    "": "--connect=HOST:PORT is missing: see --help",
    "--connect=nowhere": "--connect=nowhere: must be HOST:PORT, as in 10.0.0.5:7000",
    "--connect=127.0.0.1:1": "cannot join a learner at 127.0.0.1:1: Connection refused",
    "--num_actors=two": "--num_actors=two: ",
    "--num_actors=-1": "--num_actors=-1: ",
    "--conect=:7000": "Unknown command line flag 'conect'. Did you mean: connect ?",
    "10.0.0.5:7000": "unexpected argument '10.0.0.5:7000': write --name=value",
}


@pytest.mark.launchpad
@pytest.mark.parametrize(("argument", "line"), BAD.items())
def test_a_bad_command_line_ends_with_status_2_and_one_line(argument, line, capfd):
    assert actors.main(["x", *filter(None, [argument])]) == 2
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
    ended = subprocess.run(
        [sys.executable, "-m", "stac", "actors", "--help"],
        cwd=conftest.ROOT,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("stac actors: acts for a learner on another machine")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return min(server.getsockname()[1], 65533)


def wait_for_actors(run: Run, count: int, since: int) -> None:
    """Waits until the learner's metrics count so many on this machine."""
    name = f"actors/{socket.gethostname()}"
    while rows(run.workdir)[-1:] == [] or rows(run.workdir)[-1].get(name) != count:
        run.wait_for(" updates", since)
        since = len(run.lines)
    assert rows(run.workdir)[-1]["updates"] > 0


@pytest.mark.slow
@pytest.mark.launchpad
def test_machines_join_die_and_join_again_until_the_run_is_over(start, tmp_path):
    port = free_port()
    listen = f"--listen={port}"

    def join(*options: str) -> Run:
        connect = f"--connect=127.0.0.1:{port}"
        return start(None, connect, *options, program="launch.actors")

    learner = start(tmp_path / "first", listen, f"--total_frames={LONG}")
    learner.wait_for("compiling the update")
    first = join("--num_actors=2")
    first.wait_for("2 acting, 1 to 2, for impala on catch, features")
    wait_for_actors(learner, 2, 0)

    first.behead()
    wait_for_actors(learner, 0, len(learner.lines))
    assert first.status(END_SECONDS) == -signal.SIGKILL
    assert first.processes() == []

    second = join("--num_actors=1")
    second.wait_for("1 acting, 3 to 3,")
    wait_for_actors(learner, 1, len(learner.lines))
    learner.terminate()
    assert learner.status(END_SECONDS) == 0
    second.wait_for(f"127.0.0.1:{port} is lost: ")

    flags = ("--num_actors=0", "--agent=stac", "--total_frames=50000")
    another = start(tmp_path / "second", listen, *flags)
    second.wait_for("1 acting, 0 to 0, for stac on catch, features")
    assert another.status(START_SECONDS) == 0
    assert second.status(END_SECONDS) == 0
    assert second.lines[-1] == f"127.0.0.1:{port}: the run is over"
    assert [run.processes() for run in (learner, another, second)] == [[]] * 3
    text = learner.text + another.text + second.text
    assert "Traceback" not in text
    assert rows(tmp_path / "second")[-1]["frames"] >= 50_000
    assert rows(tmp_path / "second")[-1]["actor_restarts"] == 0
