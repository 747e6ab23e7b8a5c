"""A learner and its workdir: what a save keeps is what the next start begins with."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

import jax
import pytest

from stac.config import BatchConfig, Config, ConfigError
from stac.runtime import assembly, devices
from stac.runtime.faults import shutdown
from stac.runtime.learner import Learner
from stac.runtime.storage import checkpoints, disk, workdir
from tests.runtime import fakes
from tests.runtime.experiences import numbered

CONFIG = Config(batch=BatchConfig(batch_size=4), total_frames=10**6)


@contextlib.contextmanager
def opened(
    path: pathlib.Path, acting: assembly.Acting = lambda updates: None
) -> Iterator[Learner]:
    learners = devices.LearnerDevices(fakes.counting_agent(10), jax.local_devices()[:1])
    with (
        workdir.prepare(path, CONFIG),
        assembly.open_learner(
            CONFIG, learners, path, lambda *_: None, shutdown.Stop(), acting
        ) as learner,
    ):
        yield learner


def learn(learner: Learner, updates: int) -> None:
    """And saves after each."""
    for _ in range(updates):
        learner.step(numbered(range(4), reward=1.0))
        learner.settle()
        assert learner.save()


def test_each_save_keeps_what_the_actors_are_in_and_the_next_start_gives_it_back(
    tmp_path: pathlib.Path,
) -> None:
    moments: list[int] = []

    def acting(updates: int) -> dict[str, bytes]:
        moments.append(updates)
        return {"actor_0": b"after %d" % updates}

    with opened(tmp_path, acting) as learner:
        assert learner.acting == {}
        learn(learner, 2)
    assert moments == [1, 2]
    with opened(tmp_path) as learner:
        assert (learner.updates, learner.acting) == (2, {"actor_0": b"after 2"})
        learn(learner, 1)
    with opened(tmp_path) as learner:
        assert (learner.updates, learner.acting) == (3, {})


def test_actors_that_cannot_tell_their_states_cost_the_learner_nothing(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def acting(updates: int) -> dict[str, bytes]:
        raise RuntimeError("the game crashed")

    with opened(tmp_path, acting) as learner:
        learn(learner, 1)
    output = capsys.readouterr().out
    line = "saved without the states of actors: RuntimeError: the game crashed"
    assert line in output
    with opened(tmp_path) as learner:
        assert (learner.updates, learner.acting) == (1, {})


def test_where_a_replay_finds_no_room_the_learner_is_saved_alone(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    check_room = disk.check_room

    def small(directory: pathlib.Path, needed: int) -> None:
        check_room(directory, needed if needed < checkpoints.MARGIN + 10**6 else 2**80)

    monkeypatch.setattr(disk, "check_room", small)
    with opened(tmp_path, lambda updates: {"replay": bytes(10**6)}) as learner:
        learn(learner, 1)
    assert "the replay: No space left on device" in capsys.readouterr().out
    with opened(tmp_path) as learner:
        assert (learner.updates, learner.acting) == (1, {})


def test_a_damaged_checkpoint_is_named_and_the_run_comes_by_there_again(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as learner:
        learn(learner, 3)
    (tmp_path / "checkpoints" / "3" / "counters" / "metadata").write_bytes(b"{")
    capsys.readouterr()
    with opened(tmp_path) as learner:
        assert learner.updates == 2
        learn(learner, 1)
    lines = capsys.readouterr().out.splitlines()
    (damage,) = [line for line in lines if line.startswith("checkpoint 3 in ")]
    assert damage.endswith("checkpoints.damaged/3; checkpoint 2 is used instead")
    assert lines[lines.index(damage) + 1] == "continuing from update 2"
    with opened(tmp_path) as learner:
        assert learner.updates == 3


def test_where_all_are_damaged_the_run_is_refused_and_where_none_is_it_begins_anew(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(tmp_path) as learner:
        learn(learner, 1)
    (tmp_path / workdir.METRICS).write_text("{}\n")
    (tmp_path / "checkpoints" / "1" / "counters" / "metadata").write_bytes(b"{")
    with (
        pytest.raises(ConfigError, match="all stay where they are: checkpoint 1"),
        opened(tmp_path),
    ):
        pass
    capsys.readouterr()
    shutil.rmtree(tmp_path / "checkpoints" / "1")
    with opened(tmp_path) as learner:
        assert learner.updates == 0
    lines = capsys.readouterr().out.splitlines()
    assert "no checkpoint is there: starting from the beginning" in lines
