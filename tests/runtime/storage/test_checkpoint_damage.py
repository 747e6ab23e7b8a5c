"""Damaged checkpoints: seen, named, set aside; the one before is used."""

from __future__ import annotations

import errno
import itertools
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from stac.config import ConfigError
from stac.runtime.storage import checkpoints
from tests.runtime.experiences import digest
from tests.runtime.storage.test_checkpoints import a_state, zeros_like

pytestmark = pytest.mark.faults
ACTING = {"actor_0": bytes(range(200)), "queue": b""}


def saved(directory: pathlib.Path, *steps: int) -> None:
    writer = checkpoints.Checkpoints(directory, keep=3)
    for step in steps:
        writer.save(step, a_state(), {"episodes": step}, ACTING)
    writer.close()


def truncate(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:3])


def flip(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1 << 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, pathlib.Path.unlink])
@pytest.mark.parametrize("victim", ["state/d/*", "acting/*/*", "counters/*"])
def test_the_newest_is_set_aside_and_the_one_before_is_used(
    tmp_path: pathlib.Path, victim: str, damage: Callable[[pathlib.Path], None]
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1, 2)
    victims = [path for path in (files / "2").glob(victim) if path.is_file()]
    assert victims
    for path in victims:
        damage(path)

    lines: list[str] = []
    reader = checkpoints.Checkpoints(files, keep=3)
    checkpoint = reader.latest(zeros_like(a_state()), lines.append)

    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.counters, checkpoint.acting) == (
        1,
        {"episodes": 1},
        ACTING,
    )
    (line,) = lines
    assert line.startswith(f"checkpoint 2 in {files} cannot be read (")
    assert f"set aside in {tmp_path}/checkpoints.damaged/2; checkpoint 1 is us" in line
    assert "\n" not in line
    assert reader.steps() == [1]
    assert sorted(path.name for path in files.iterdir()) == ["1"]
    assert reader.save(2, a_state(), {}), "the run comes by there again"
    reader.close()


def test_no_flipped_bit_passes_for_what_was_saved(tmp_path: pathlib.Path) -> None:
    """One bit of each file in turn: what is restored is right, or the one before."""
    saved(tmp_path / "good", 1, 2)
    outcomes = set()
    state, number = digest(a_state()), itertools.count()
    files = [p for p in (tmp_path / "good" / "2").rglob("*") if p.is_file()]
    for path in files:
        copy = tmp_path / str(next(number))
        shutil.copytree(tmp_path / "good", copy)
        flip(copy / path.relative_to(tmp_path / "good"))
        reader = checkpoints.Checkpoints(copy, keep=3)
        checkpoint = reader.latest(zeros_like(a_state()))
        reader.close()
        assert checkpoint is not None
        assert digest(checkpoint.state) == state
        assert (checkpoint.counters, checkpoint.acting) == (
            {"episodes": checkpoint.step},
            ACTING,
        )
        outcomes.add((path.parts[-2], checkpoint.step))
    assert {("counters", 1), ("state", 1), ("acting", 1)} <= outcomes


def test_a_process_killed_before_the_sums_were_written_left_a_whole_checkpoint(
    tmp_path: pathlib.Path,
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1, 2)
    (files / "2" / "sums.json").unlink()
    reader = checkpoints.Checkpoints(files, keep=3)
    checkpoint = reader.latest(zeros_like(a_state()), pytest.fail)
    reader.close()
    assert checkpoint is not None
    assert (checkpoint.step, checkpoint.acting) == (2, ACTING)


def test_a_damaged_checkpoint_brings_no_traceback_to_the_terminal(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Orbax's threads write several where it reads a damaged array."""
    arrays = {f"w{number}": np.ones((300, 300)) for number in range(40)}
    state = a_state()._replace(params=arrays)
    files = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)
    for step in (1, 2):
        files.save(step, state, {})
    for path in (files.directory / "2" / "state" / "d").iterdir():
        truncate(path)
    checkpoint = files.latest(zeros_like(state))
    files.close()
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert capfd.readouterr().err == ""


def cut(files: pathlib.Path, *steps: int) -> None:
    for step in steps:
        truncate(files / str(step) / "counters" / "metadata")


def test_where_none_can_be_read_all_stay_where_they_are(tmp_path: pathlib.Path) -> None:
    """What is wrong with every one may be wrong with who reads: nothing is lost."""
    files = tmp_path / "checkpoints"
    saved(files, 1, 2, 3)
    cut(files, 1, 2, 3)
    lines: list[str] = []
    reader = checkpoints.Checkpoints(files, keep=3)
    with pytest.raises(checkpoints.Damaged, match="none of 3 checkpoints") as refusal:
        reader.latest(a_state(), lines.append)
    assert lines == []
    assert f"checkpoint 3 in {files} cannot be read (" in str(refusal.value)
    assert "to start from the beginning, name another --workdir" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert reader.steps() == [1, 2, 3]
    assert not (tmp_path / "checkpoints.damaged").exists()
    reader.close()


def test_each_damaged_one_is_named_and_of_those_at_one_start_all_are_kept(
    tmp_path: pathlib.Path,
) -> None:
    files, aside = tmp_path / "checkpoints", tmp_path / "checkpoints.damaged"
    (aside / "9").mkdir(parents=True)
    saved(files, 1, 2)
    writer = checkpoints.Checkpoints(files, keep=6)
    for step in (3, 4, 5, 6):
        writer.save(step, a_state(), {"episodes": step})
    cut(files, 3, 4, 5, 6)
    lines: list[str] = []
    checkpoint = writer.latest(a_state(), lines.append)
    writer.close()
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert [line.split(" in ")[0] for line in lines] == [
        f"checkpoint {step}" for step in (3, 4, 5, 6)
    ]
    assert all(line.endswith("checkpoint 2 is used instead") for line in lines)
    assert sorted(path.name for path in aside.iterdir()) == ["3", "4", "5", "6", "9"]


def test_a_second_damaged_one_of_the_same_number_replaces_the_first(
    tmp_path: pathlib.Path,
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1)
    reader = checkpoints.Checkpoints(files, keep=3)
    for _ in range(2):
        reader.save(2, a_state(), {"episodes": 2})
        truncate(files / "2" / "counters" / "metadata")
        checkpoint = reader.latest(a_state())
        assert checkpoint is not None
        assert checkpoint.step == 1
    reader.close()
    aside = tmp_path / "checkpoints.damaged"
    assert [path.name for path in aside.iterdir()] == ["2"]


def test_another_configuration_is_refused_and_stays_where_it_is(
    tmp_path: pathlib.Path,
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1, 2)
    truncate(files / "2" / "counters" / "metadata")
    reader = checkpoints.Checkpoints(files, keep=3)
    with pytest.raises(
        ConfigError, match="of another configuration or version: key is"
    ) as refusal:
        reader.latest(a_state()._replace(key=np.zeros(3, np.uint32)))
    reader.close()
    assert not isinstance(refusal.value, checkpoints.Damaged)
    assert sorted(path.name for path in files.iterdir()) == ["1", "2"]


def fail_to_read(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, step: int
) -> None:
    """Makes the files of one step raise when they are read."""
    read = pathlib.Path.read_bytes

    def fail(path: pathlib.Path) -> bytes:
        if str(step) in path.parts:
            raise error
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", fail)


def test_a_bad_sector_is_damage(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "checkpoints", 1, 2)
    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)
    fail_to_read(monkeypatch, OSError(errno.EIO, "Input/output error"), step=2)
    checkpoint = reader.latest(zeros_like(a_state()))
    assert checkpoint is not None
    assert checkpoint.step == 1
    reader.close()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
        OSError(errno.ESTALE, "Stale file handle"),
        OSError(errno.EMFILE, "Too many open files"),
    ],
)
def test_a_checkpoint_that_this_process_may_not_read_now_is_not_called_damaged(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    saved(tmp_path / "checkpoints", 1, 2)
    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)
    with monkeypatch.context() as patch:
        fail_to_read(patch, error, step=2)
        with pytest.raises(ConfigError, match="it stays where it is") as refusal:
            reader.latest(a_state())
    assert not isinstance(refusal.value, checkpoints.Damaged)
    assert reader.steps() == [1, 2]
    reader.close()


def test_a_whole_checkpoint_that_orbax_cannot_read_is_not_called_damaged(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "checkpoints", 1)
    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a format of another version")

    monkeypatch.setattr(reader._manager, "restore", fail)
    with pytest.raises(ConfigError, match="it stays where it is") as refusal:
        reader.latest(a_state())
    assert not isinstance(refusal.value, checkpoints.Damaged)
    reader.close()
