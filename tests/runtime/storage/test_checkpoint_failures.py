"""Saves that fail are reported, leave nothing half-written, and may succeed later."""

from __future__ import annotations

import errno
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pytest

from stac.config import ConfigError
from stac.runtime.storage import checkpoints, disk
from tests.runtime.experiences import digest
from tests.runtime.storage.test_checkpoints import a_state, zeros_like

pytestmark = pytest.mark.faults


@pytest.fixture
def files(tmp_path: pathlib.Path) -> Iterator[checkpoints.Checkpoints]:
    """With one checkpoint, of step 1."""
    (tmp_path / "run").mkdir()
    saved = checkpoints.Checkpoints(tmp_path / "run" / "checkpoints", keep=2)
    saved.save(1, a_state(), {})
    yield saved
    saved.close()


def newest(files: checkpoints.Checkpoints) -> int:
    checkpoint = files.latest(zeros_like(a_state()))
    assert checkpoint is not None
    assert digest(checkpoint.state) == digest(a_state())
    return checkpoint.step


def test_a_save_that_has_no_room_is_not_begun(
    files: checkpoints.Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(leaf.nbytes for leaf in checkpoints.named(a_state()).values())
    needed = size + 1001 + checkpoints.MARGIN  # a byte more than it was given

    def usage(path: pathlib.Path) -> tuple[int, int, int]:
        return shutil._ntuple_diskusage(2**40, 2**40 - free, free)

    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", usage)
        patch.setattr(files._manager, "save", pytest.fail)
        free = needed - 1
        with pytest.raises(
            checkpoints.NotSaved,
            match=r"^No space left on device: 16 MiB are free, 16 MiB are needed$",
        ):
            files.save(2, a_state(), {}, {"actor_0": bytes(1000)})
    free = needed
    with monkeypatch.context() as patch:
        patch.setattr(disk.shutil, "disk_usage", usage)
        assert files.save(2, a_state(), {}, {"actor_0": bytes(1000)})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (
            ValueError("RESOURCE_EXHAUSTED: in /x [OS error 28: ENOSPC No space left]"),
            "No space left",
        ),
        (ValueError("odd\nlong story"), "ValueError: odd"),
    ],
)
def test_what_a_failed_save_began_is_removed_and_the_next_one_works(
    files: checkpoints.Checkpoints,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def begin_and_fail(step: int, args: object) -> None:
        (files.directory / f"{step}.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(files._manager, "save", begin_and_fail)
        with pytest.raises(checkpoints.NotSaved) as failure:
            files.save(2, a_state(), {})
    assert str(failure.value) == reason
    assert [path.name for path in files.directory.iterdir()] == ["1"]
    assert newest(files) == 1
    assert files.save(3, a_state(), {})
    assert newest(files) == 3


def test_a_removed_directory_is_made_again_but_not_a_disk_that_is_gone(
    files: checkpoints.Checkpoints, tmp_path: pathlib.Path
) -> None:
    shutil.rmtree(files.directory)
    assert files.save(2, a_state(), {})
    assert newest(files) == 2
    shutil.rmtree(tmp_path / "run")
    with pytest.raises(checkpoints.NotSaved, match=r"^No such file or directory$"):
        files.save(3, a_state(), {})
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    assert files.save(4, a_state(), {})
    assert newest(files) == 4


def test_a_disk_that_is_gone_is_a_save_that_failed(
    files: checkpoints.Checkpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*given: object, **named: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(pathlib.Path, "glob", gone)
    monkeypatch.setattr(files._manager, "save", gone)
    with pytest.raises(checkpoints.NotSaved, match="Input/output error"):
        files.save(9, a_state(), {})


def test_a_trial_leaves_nothing_behind(files: checkpoints.Checkpoints) -> None:
    files.try_to_save(a_state())
    assert [path.name for path in files.directory.iterdir()] == ["1"]
    assert newest(files) == 1


def test_a_directory_that_takes_no_files_is_known_from_the_trial(
    files: checkpoints.Checkpoints,
) -> None:
    shutil.rmtree(files.directory)
    files.directory.write_text("a file, not a directory")
    with pytest.raises(ConfigError, match="no checkpoint can be saved in ") as refusal:
        files.try_to_save(a_state())
    assert str(refusal.value).endswith("; name another --workdir")
    assert "\n" not in str(refusal.value)


def test_a_disk_too_small_for_the_state_is_known_from_the_trial(
    files: checkpoints.Checkpoints,
) -> None:
    free = shutil.disk_usage(files.directory).free
    huge = a_state()._replace(
        params={"w": np.broadcast_to(np.float32(0), (free // 4, 2))}
    )
    with pytest.raises(ConfigError, match=r"No space left on device: .* are needed"):
        files.try_to_save(huge)
