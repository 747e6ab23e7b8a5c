"""The loggers that a user names; wandb's with the real library, offline."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from stac.config import Config, ConfigError
from stac.runtime.logs import trackers
from tests import conftest

# Two starts of one run, in processes of their own: wandb's settings hold for a process.
WRITES = """
import pathlib, sys
from stac.config import Config
from stac.runtime.logs import trackers
place = pathlib.Path(sys.argv[1])
loggers = trackers.build("wandb", place, Config(), 0)
[logger] = loggers.values()
for frames in (100, 50):
    logger.write({"frames": frames, "episode_return": float("nan"), "loss/value": 2.0})
logger.close()
logger.close()
"""


def test_names_are_read_once_each_and_none_is_none():
    assert trackers.names("tensorboard") == ["tensorboard"]
    assert trackers.names("tensorboard, tensorboard") == ["tensorboard"]
    assert trackers.names("none") == []
    assert trackers.build("none", pathlib.Path("x"), Config(), 0) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "name tensorboard, wandb, none"),
        ("tensorbord", "tensorboard"),
        ("none,tensorboard", "none stands alone"),
    ],
)
def test_what_is_no_logger_is_refused_with_the_names(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        trackers.names(text)


def test_a_library_that_is_missing_is_refused_with_the_cure(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = trackers.TRACKERS["wandb"]._replace(library="not_there")
    monkeypatch.setitem(trackers.TRACKERS, "wandb", row)
    with pytest.raises(ConfigError, match=r"not_there is not installed: pip install"):
        trackers.names("wandb")
    (tmp_path / "not_there").mkdir()  # as wandb leaves one where it runs
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="not installed"):
        trackers.names("wandb")


def environment(home: pathlib.Path, **variables: str) -> dict[str, str]:
    """That of a user of whom wandb knows nothing."""
    kept = {name: text for name, text in os.environ.items() if "WANDB" not in name}
    return {**kept, "HOME": str(home), **variables}


def test_wandb_writes_into_the_workdir_alone_and_continues_its_run(tmp_path):
    home, place = tmp_path / "home", tmp_path / "run"
    home.mkdir()
    place.mkdir()
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-c", WRITES, str(place)],
            cwd=conftest.ROOT,
            env=environment(home, WANDB_MODE="offline"),
            check=True,
            capture_output=True,
            text=True,
        )
        assert ended.stdout + ended.stderr == ""
    identity = (place / "wandb" / "id").read_text()
    starts = sorted((place / "wandb").glob(f"offline-run-*-{identity}"))
    assert 1 <= len(starts) <= 2  # of the same second, they share a folder
    [*_, written] = starts
    assert b"loss/value" in (written / f"run-{identity}.wandb").read_bytes()
    assert [*home.iterdir()] == []
    command = ["ps", "-eo", "args"]
    running = subprocess.run(command, capture_output=True, text=True, check=True)
    assert str(place) not in running.stdout


def test_wandb_without_a_login_is_refused_in_a_line_and_leaves_nothing(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    place = tmp_path / "run"
    flags = ("--runtime=lockstep", "--agent=impala", "--logger=wandb")
    ended = subprocess.run(
        [sys.executable, "-m", "launch.catch", *flags, f"--workdir={place}"],
        cwd=conftest.ROOT,
        env=environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2, ended.stderr
    [line] = ended.stderr.splitlines()
    assert "wandb login" in line
    assert "WANDB_MODE=offline" in line
    assert not place.exists()
