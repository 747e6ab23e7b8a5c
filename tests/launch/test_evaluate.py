"""launch.evaluate, and the evaluator beside training in runs of one process."""

from __future__ import annotations

import contextlib
import importlib
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from stac.config import Config
from stac.configs import atari, catch, control, gymnasium
from stac.environments import make, pictures
from stac.evaluation import episodes, policies, protocols, scores, trivial_policies
from stac.launch import evaluate, threads
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir
from tests import refusals
from tests.conftest import ROOT
from tests.evaluation.saving import saved
from tests.launch import endings
from tests.launch.test_threads import tiny, with_runtime
from tests.programs import python

TASK = "cartpole.balance"


def run(*arguments: str) -> None:
    assert evaluate.main(["launch.evaluate", *arguments]) == 0


def test_evaluations_beside_training_change_no_bit_of_it(
    tmp_path: pathlib.Path,
) -> None:
    plain = tiny("lockstep", 12)
    config = with_runtime(plain, evaluate_every=60, evaluate_episodes=5, keep_best=True)
    with workdir.prepare(tmp_path / "beside", config):
        threads.run(config, tmp_path / "beside")
    rows = loggers.rows(tmp_path / "beside" / workdir.EVALUATIONS)
    assert (rows[0]["updates"], rows[-1]["updates"]) == (0, 12)
    assert len(rows) > 1
    for row in rows:
        assert set(row) == {"frames", "updates", "evaluation/episodes"} | {
            f"evaluation/{way}/{what}"
            for way in ("sampled", "greedy")
            for what in ("return", "error")
        }
        assert row["frames"] == row["updates"] * 20
    documented = (ROOT / "docs" / "metrics.md").read_text().split("## Evaluations")[1]
    for name in rows[0]:
        assert f"`{re.sub('sampled|greedy', '<way>', name)}`" in documented
    events = list((tmp_path / "beside").glob("events.out.tfevents.*"))
    assert any(b"evaluation/greedy/return" in path.read_bytes() for path in events)
    best = policies.load(tmp_path / "beside", best=True)
    top = max(rows, key=lambda row: row["evaluation/sampled/return"])
    assert best.updates == top["updates"]
    # The last row is what anybody gets who plays the saved policy.
    played = scores.beside(config)(
        12, policies.load(tmp_path / "beside").params, lambda: None
    )
    assert rows[-1] | played == rows[-1]
    threads.run(plain, tmp_path / "alone")
    assert endings.of(tmp_path / "beside") == endings.of(tmp_path / "alone")
    assert not (tmp_path / "alone" / workdir.EVALUATIONS).exists()


def test_a_saved_policy_earns_what_it_earned_before_it_was_saved(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = gymnasium.config("Pendulum-v1", "impala")
    saved(tmp_path / "run", config, seed=0)
    run(str(tmp_path / "run"), "--noise=1,0.5", "--episodes=2")
    path, update, noisy, calmer = capsys.readouterr().out.strip().split("  ")
    assert (path, update) == (str(tmp_path / "run"), "update 7")

    config = protocols.evaluated(config)
    with contextlib.closing(make.factory(config)(0, 2)) as environment:
        policy = trivial_policies.untrained(config, environment, seed=0)
        earned = episodes.Returns.of(episodes.returns(environment, policy))
    assert noisy == f"sampled {earned}"
    assert calmer.startswith("x0.5 ")
    assert calmer.split()[1] != noisy.split()[1]


def test_runs_are_scored_and_filmed_and_the_numbers_are_written(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    place, other, film = (tmp_path / name for name in ("run", "other", "x.mp4"))
    saved(place, catch.config(agent="impala"), seed=0)
    saved(place, catch.config(agent="impala"), seed=1, folder=workdir.BEST)
    saved(other, catch.config(agent="stac"), seed=0)
    run(f"--workdir={place}", str(other), "--episodes=8", "--seed=3")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [str(place), str(other)]
    pattern = r".*  update 7  sampled -?\d\.\d+ ± \d\.\d+  greedy -?\d\.\d+ ± \d\.\d+"
    assert all(re.fullmatch(pattern, line) for line in lines)

    content = json.loads((place / workdir.EVALUATION).read_text())
    returns = scores.score(policies.load(place), policies.STILL, 8, seed=3)
    assert content["returns"]["greedy"] == returns.tolist()
    assert content["evaluation/greedy/return"] == returns.mean()
    assert (content["checkpoint"], content["seed"]) == ("checkpoints/7", 3)
    assert content["evaluation/episodes"] == 8

    run(str(place), "--best", "--episodes=2", f"--video={film}")
    written, _ = capsys.readouterr().out.splitlines()
    assert re.fullmatch(rf"written: {film}, one episode, sampled, return -?1", written)
    content = json.loads((place / workdir.EVALUATION).read_text())
    assert content["checkpoint"] == "best/7"
    (place / workdir.EVALUATION).unlink()
    (place / workdir.EVALUATION).mkdir()  # cannot be written
    line = refusals.of(
        evaluate.main, [str(place), str(other), "--episodes=2"], monkeypatch, capsys
    )
    assert f"{place / workdir.EVALUATION}" in line
    assert frames(film) == (320, 640, 10)
    monkeypatch.setattr(episodes, "MOST_STEPS", 8)
    line = refusals.of(
        evaluate.main, [str(place), f"--video={film}"], monkeypatch, capsys
    )
    assert "an episode has not ended after 8 steps" in line


def frames(film: pathlib.Path) -> tuple[int, int, int]:
    """Width, height and number of a film's pictures, as ffmpeg decodes them."""
    program = importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe()
    words = (program, "-i", str(film), "-f", "rawvideo", "-pix_fmt", "gray", "-")
    decoded = subprocess.run(words, capture_output=True, check=True)
    (size,) = re.findall(rb"Video: h264.* (\d{2,})x(\d{2,})", decoded.stderr)
    width, height = map(int, size)
    return width, height, len(decoded.stdout) // (width * height)


@pytest.mark.parametrize("domain", ["atari", "control"])
def test_pictures_are_of_the_rows_that_any_other_environment_gives(domain: str) -> None:
    config = atari.config("breakout", "impala", "shallow")
    if domain == "control":
        config = control.config(TASK, "impala")
    config = protocols.evaluated(config)
    film = pictures.filmed(config, seed=4)
    with (
        contextlib.closing(film.environment) as filmed,
        contextlib.closing(make.factory(config)(4, 1)) as other,
    ):
        row = filmed.reset()
        np.testing.assert_array_equal(row.observation, other.reset().observation)
        shown = [film.picture(row)]
        for step in range(10):
            action = np.array([1 if step % 2 else 3])
            if filmed.spec.continuous:
                action = np.ones((1, 1))
            row = filmed.step(action)
            np.testing.assert_array_equal(
                row.observation, other.step(action).observation
            )
            shown.append(film.picture(row))
    sizes = {picture.shape for picture in shown}
    assert sizes == {(420, 320, 3) if domain == "atari" else (360, 480, 3)}
    assert {picture.dtype for picture in shown} == {np.dtype(np.uint8)}
    assert (shown[0] != shown[-1]).any()
    assert len(np.unique(shown[-1].reshape(-1, 3), axis=0)) > 4  # colours


@pytest.fixture(scope="module")
def workdirs(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of a run, of one that has saved nothing, and of a damaged one."""
    folder = tmp_path_factory.mktemp("workdirs")
    workdir.prepare(folder / "begun", Config()).close()
    workdir.prepare(folder / "damaged", Config()).close()
    (folder / "damaged" / workdir.CONFIG).write_text("{bad")
    saved(folder / "run", catch.config(agent="impala"), seed=0)
    return folder


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "launch.evaluate: name a run: launch.evaluate WORKDIR"),
        (["nowhere"], "nowhere: is no run's workdir: it has no config.json"),
        (
            ["--workdir=~/nowhere"],
            f"{pathlib.Path.home()}/nowhere: is no run's workdir",
        ),
        (["begun"], "begun: nothing is saved there yet"),
        (["run", "--best"], "run: no best checkpoint is there: train with --best"),
        (["run", "--noise=loud"], "--noise=loud: write factors, as in --noise=1,0"),
        (["run", "--noise=-1"], "--noise=-1: write factors, as in --noise=1,0"),
        (["run", "--noise=1"], "its actions are discrete and have no noise: leave"),
        (["run", "--episodes=1"], "--episodes: must be at least 2, for a standard"),
        (["run", "begun", "--video=x.mp4"], "--video: films one run: name only one"),
        (["run", "--video=x.gif"], "--video=x.gif: must end in .mp4"),
        (["run", "--video=no/x.mp4"], "--video=no/x.mp4: there is no such directory"),
        (["damaged"], "damaged/config.json: is not a configuration"),
        (["run", "--epsiodes=3"], "unrecognized arguments: --epsiodes=3"),
    ],
)
def test_a_wrong_line_is_refused_in_one_line(
    arguments: list[str],
    line: str,
    workdirs: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workdirs)
    assert line in refusals.of(evaluate.main, arguments, monkeypatch, capsys)


def test_a_library_that_is_missing_for_a_film_is_named_with_the_cure(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved(tmp_path / "run", gymnasium.config("CartPole-v1", "impala"), seed=0)
    arguments = [str(tmp_path / "run"), "--video=x.mp4"]
    monkeypatch.setitem(sys.modules, "pygame", None)
    line = refusals.of(evaluate.main, arguments, monkeypatch, capsys)
    assert 'pip install "gymnasium[classic-control]"' in line
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    line = refusals.of(evaluate.main, arguments, monkeypatch, capsys)
    assert "pip install 'stac-rl[video]'" in line


def test_a_wrong_line_comes_without_the_seconds_of_jax() -> None:
    code = (
        "import sys; from stac.launch import evaluate\n"
        "status = evaluate.main(['launch.evaluate'])\n"
        "print('jax' in sys.modules)\n"
        "sys.exit(status)"
    )
    ended = python("-c", code)
    assert (ended.returncode, ended.stdout) == (2, "False\n")
