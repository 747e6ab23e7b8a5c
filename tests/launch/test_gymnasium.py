"""The command for gymnasium's environments: what it asks, refuses, and learns."""

from __future__ import annotations

import pathlib

import pytest

from stac.launch import flags, start
from stac.launch.domains import DOMAINS
from tests.launch.runs import rows

pytestmark = pytest.mark.usefixtures("elsewhere")

OWN = "tests.environments.own_environments"
SHORT = ("--runtime=lockstep", "--num_actors=1", "--envs_per_actor=4")
SMALL = (*SHORT, "--config.batch.batch_size=4", "--config.batch.unroll_length=8")


def ran(*arguments: str) -> int:
    return flags.main(start.run, DOMAINS["gymnasium"], ["x", *arguments])


def test_a_run_of_an_environment_that_does_not_pickle_continues_with_new_episodes(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    task = f"{OWN}:Unpicklable-v3"
    run = (f"--env={task}", "--agent=impala", *SMALL, f"--workdir={tmp_path / 'r'}")
    assert ran(*run, "--total_frames=300") == 0
    assert "begin anew" not in capfd.readouterr().err
    config = tmp_path / "r" / "config.json"
    config.write_text(config.read_text().replace('": 300', '": 600'))
    assert ran(*run, "--total_frames=600") == 0
    line = f"episodes begin anew: {task} takes no snapshots"
    assert line in capfd.readouterr().err
    assert rows(tmp_path / "r")[-1]["frames"] >= 600


def test_what_cannot_be_played_is_refused_in_one_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert ran("--env=Taxi-v4", *SMALL) == 2
    printed = capfd.readouterr().err
    message = "Taxi-v4: its observations are Discrete, not a Box"
    assert printed.startswith(f"launch.gymnasium: {message}")
    assert printed.count("\n") == 1
    assert not pathlib.Path("runs").exists()


@pytest.mark.slow
def test_impala_learns_to_balance_the_cartpole(tmp_path: pathlib.Path) -> None:
    run = ("--agent=impala", "--runtime=lockstep", "--seed=1")
    assert ran("--env=CartPole-v1", *run, f"--workdir={tmp_path / 'run'}") == 0
    every = [row["episode_return"] for row in rows(tmp_path / "run")]
    returns = [each for each in every if each is not None]  # null before one has ended
    assert returns[0] < 100
    assert max(returns) >= 475
