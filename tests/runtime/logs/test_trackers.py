"""The loggers that a user names; wandb's with the real library, offline."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys

import pytest

from stac.config import Config, ConfigError
from stac.runtime.logs import trackers
from tests import conftest
from tests.waiting import until

# Two parts of one run. A process of its own: wandb's settings hold for a process.
WRITES = """
import pathlib, sys, time
from stac.config import Config
from stac.runtime.logs import trackers
for part in range(2):
    time.sleep(part)  # wandb names folders by the second
    loggers = trackers.build("wandb", pathlib.Path(sys.argv[1]), Config(), 0)
    [logger] = loggers.values()
    for frames in (100, 50):
        logger.write({"frames": frames, "episode_return": float("nan"), "value": 2.0})
    logger.close()
    logger.close()
"""


def write(place: pathlib.Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs WRITES for a user of whom wandb knows nothing."""
    home = place.parent / "home"
    home.mkdir()
    place.mkdir()
    kept = {name: text for name, text in os.environ.items() if "WANDB" not in name}
    return subprocess.run(
        [sys.executable, "-c", WRITES, str(place)],
        cwd=conftest.ROOT,
        env={**kept, "HOME": str(home), **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def processes(folder: pathlib.Path) -> list[pathlib.Path]:
    """Those that have the folder's name in their environment."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.fsencode(folder) in (process / "environ").read_bytes():
                found.append(process)
    return found


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


def test_wandb_writes_into_the_workdir_alone_and_continues_its_run(tmp_path):
    place = tmp_path / "run"
    ended = write(place, WANDB_MODE="offline")
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    identity = (place / "wandb" / "id").read_text()
    first, second = (place / "wandb").glob(f"offline-run-*-{identity}")
    for part in (first, second):
        assert b"value" in (part / f"run-{identity}.wandb").read_bytes()
    assert [*(tmp_path / "home").iterdir()] == []
    until(lambda: not processes(tmp_path), why=lambda: processes(tmp_path))


def test_wandb_without_a_login_is_refused_with_the_cure_and_leaves_nothing(tmp_path):
    ended = write(tmp_path / "run")
    error = ended.stderr.splitlines()[-1]
    assert error.startswith(
        "stac.config.checks.ConfigError: --logger=wandb: No API key"
    )
    assert error.endswith("or set WANDB_MODE=offline")
    assert [*(tmp_path / "run").iterdir()] == []
