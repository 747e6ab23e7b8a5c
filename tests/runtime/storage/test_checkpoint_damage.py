"""Damaged checkpoints: seen, named, set aside; the one before is used."""

from __future__ import annotations

import itertools
import pathlib
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from stac.config import ConfigError
from stac.runtime.storage import aside, checkpoints, leaves
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

    said: list[str] = []
    reader = checkpoints.Checkpoints(files, keep=3)
    found = reader.latest(zeros_like(a_state()), said.append)

    assert found is not None
    assert (found.step, found.counters, found.acting) == (1, {"episodes": 1}, ACTING)
    (line,) = said
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
    state, number = leaves.digest(a_state()), itertools.count()
    files = [p for p in (tmp_path / "good" / "2").rglob("*") if p.is_file()]
    for path in files:
        copy = tmp_path / str(next(number))
        shutil.copytree(tmp_path / "good", copy)
        flip(copy / path.relative_to(tmp_path / "good"))
        reader = checkpoints.Checkpoints(copy, keep=3)
        found = reader.latest(zeros_like(a_state()))
        reader.close()
        assert found is not None
        assert leaves.digest(found.state) == state
        assert (found.counters, found.acting) == ({"episodes": found.step}, ACTING)
        outcomes.add((path.parts[-2], found.step))
    assert {("counters", 1), ("state", 1), ("acting", 1)} <= outcomes


@pytest.mark.parametrize("what", ["state", "acting", "counters"])
def test_bits_that_only_the_digest_can_tell_apart_are_seen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Whole and well-formed in Orbax's eyes, and not what was saved."""
    saved(tmp_path / "checkpoints", 1)
    other = {
        "state": (a_state()._replace(frames=np.int32(192_001)), {}, ACTING),
        "acting": (a_state(), {}, ACTING | {"queue": b"\0"}),
        "counters": (a_state(), {"episodes": 1}, ACTING),
    }
    digest = checkpoints._digest(
        leaves.named(a_state()), leaves.pack(ACTING), {"episodes": 2}
    )
    monkeypatch.setattr(checkpoints, "_digest", lambda *_: digest)
    writer = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)
    state, counters, acting = other[what]
    writer.save(2, state, counters or {"episodes": 2}, acting)
    monkeypatch.undo()
    said: list[str] = []
    found = writer.latest(zeros_like(a_state()), said.append)
    writer.close()
    assert found is not None
    assert found.step == 1
    assert "its bits are not those that were saved" in said[0]


def cut(files: pathlib.Path, *steps: int) -> None:
    for step in steps:
        truncate(files / str(step) / "counters" / "metadata")


def test_where_none_can_be_read_all_stay_where_they_are(tmp_path: pathlib.Path) -> None:
    """What is wrong with every one may be wrong with who reads: nothing is lost."""
    files = tmp_path / "checkpoints"
    saved(files, 1, 2, 3)
    cut(files, 1, 2, 3)
    said: list[str] = []
    reader = checkpoints.Checkpoints(files, keep=3)
    with pytest.raises(checkpoints.Damaged, match="none of 3 checkpoints") as refusal:
        reader.latest(a_state(), said.append)
    assert said == []
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
        writer.save(step, a_state(), {})
    cut(files, 3, 4, 5, 6)
    said: list[str] = []
    found = writer.latest(a_state(), said.append)
    writer.close()
    assert found is not None
    assert found.step == 2
    assert [line.split(" in ")[0] for line in said] == [
        f"checkpoint {step}" for step in (3, 4, 5, 6)
    ]
    assert all(line.endswith("checkpoint 2 is used instead") for line in said)
    assert sorted(path.name for path in aside.iterdir()) == ["3", "4", "5", "6", "9"]


def test_a_second_damaged_one_of_the_same_number_finds_a_place(
    tmp_path: pathlib.Path,
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1)
    reader = checkpoints.Checkpoints(files, keep=3)
    for _ in range(3):
        reader.save(2, a_state(), {})
        truncate(files / "2" / "counters" / "metadata")
        found = reader.latest(a_state())
        assert found is not None
        assert found.step == 1
    reader.close()
    aside = tmp_path / "checkpoints.damaged"
    assert sorted(path.name for path in aside.iterdir()) == ["2", "2-2", "2-3"]
    assert all((aside / name / "state").is_dir() for name in ("2", "2-2", "2-3"))


def test_only_so_many_damaged_ones_are_kept(tmp_path: pathlib.Path) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1)
    reader = checkpoints.Checkpoints(files, keep=3)
    steps = range(2, 5 + aside.KEPT)
    for step in steps:
        reader.save(step, a_state(), {})
        truncate(files / str(step) / "counters" / "metadata")
        reader.latest(a_state())
    reader.close()
    kept = sorted(
        int(path.name) for path in files.with_name("checkpoints.damaged").iterdir()
    )
    assert kept == list(steps)[-aside.KEPT - 1 :], "those of before, and the one now"


def test_another_configuration_is_refused_and_stays_where_it_is(
    tmp_path: pathlib.Path,
) -> None:
    files = tmp_path / "checkpoints"
    saved(files, 1, 2)
    truncate(files / "2" / "counters" / "metadata")
    reader = checkpoints.Checkpoints(files, keep=3)
    with pytest.raises(ConfigError, match="of another configuration: key is") as told:
        reader.latest(a_state()._replace(key=np.zeros(3, np.uint32)))
    reader.close()
    assert not isinstance(told.value, checkpoints.Damaged)
    assert sorted(path.name for path in files.iterdir()) == ["1", "2"]


def test_a_bad_sector_is_damage(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path / "checkpoints", 1, 2)
    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)
    restore = reader._manager.restore

    def fail(step: int, **arguments: object) -> object:
        if step == 2:
            raise ValueError("cannot read [OS error 5: EIO Input/output error]")
        return restore(step, **arguments)

    monkeypatch.setattr(reader._manager, "restore", fail)
    found = reader.latest(zeros_like(a_state()))
    assert found is not None
    assert found.step == 1
    reader.close()


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"),
        MemoryError(),
        OSError(116, "Stale file handle [ESTALE]"),
        ValueError(
            "UNAVAILABLE: cannot open [OS error 24: EMFILE Too many open files]"
        ),
    ],
)
def test_what_this_process_may_not_read_now_is_not_called_damaged(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    saved(tmp_path / "checkpoints", 1, 2)
    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=3)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(reader._manager, "restore", fail)
        with pytest.raises(ConfigError, match="it stays where it is") as told:
            reader.latest(a_state())
    assert not isinstance(told.value, checkpoints.Damaged)
    assert reader.steps() == [1, 2]
    reader.close()
