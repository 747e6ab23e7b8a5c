"""Checkpoints: every bit comes back, other trees and damaged files are refused."""

from __future__ import annotations

import collections
import logging
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.config import ConfigError
from stac.learning.update import State as LearnerState
from stac.runtime.storage import checkpoints
from tests.runtime.experiences import digest

Empty = collections.namedtuple("Empty", [])
RmsState = collections.namedtuple("RmsState", ["nu"])


def a_state(tuned: bool = True) -> LearnerState:
    """Parameters with slashes in their names, odd bits, and empty subtrees."""
    weights = np.array([[np.nan, -0.0, 1e-45], [np.inf, 1 / 3, -1.0]], np.float32)
    params = {"torso/~/linear": {"w": weights, "b": jnp.arange(3.0)}, "unused": {}}
    return LearnerState(
        params=params,
        optimizer=(Empty(), RmsState(nu=np.full((2, 3), 1 / 3))),
        metaparameters={"gamma": jnp.array([4.6, 4.5])} if tuned else {},
        meta_optimizer=(jnp.int32(7), {"m": np.zeros(2)}) if tuned else (),
        updates=np.int32(300),
        key=np.array([1, 2**32 - 1], np.uint32),
    )


def zeros_like(state: LearnerState) -> LearnerState:
    return jax.tree.map(lambda leaf: np.zeros_like(np.asarray(leaf)), state)


def saved(directory: pathlib.Path, *steps: int, keep: int = 3) -> None:
    writer = checkpoints.Checkpoints(directory, keep)
    for step in steps:
        writer.save(step, a_state(), {"seconds": 0.1, "episodes": step})
    writer.close()


@pytest.mark.parametrize("tuned", [True, False])
def test_every_bit_dtype_and_empty_subtree_comes_back(
    tmp_path: pathlib.Path, tuned: bool
) -> None:
    state = a_state(tuned)
    writer = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=2)
    assert writer.save(300, state, {"seconds": 0.1, "episodes": 2**53})
    writer.close()

    reader = checkpoints.Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoint = reader.latest(zeros_like(state))
    reader.close()

    assert checkpoint is not None
    assert checkpoint.step == 300
    assert checkpoint.counters == {"seconds": 0.1, "episodes": 2**53}
    assert jax.tree.structure(checkpoint.state) == jax.tree.structure(state)
    for was, now in zip(
        jax.tree.leaves(state), jax.tree.leaves(checkpoint.state), strict=True
    ):
        assert type(now) is np.ndarray
        assert (now.dtype, now.shape) == (np.asarray(was).dtype, np.shape(was))
        assert now.tobytes() == np.asarray(was).tobytes()


def test_what_belongs_to_the_actors_comes_back_with_the_state(
    tmp_path: pathlib.Path,
) -> None:
    acting = {"actor_0": bytes(range(256)), "queue": b"", "actor/1 ü": b"\0a\0\0"}
    writer = checkpoints.Checkpoints(tmp_path, keep=3)
    assert writer.save(1, a_state(), {"seconds": 0.5}, acting)
    assert writer.save(2, a_state(), {}, None)
    assert writer.save(3, a_state(), {}, {})
    writer.close()
    reader = checkpoints.Checkpoints(tmp_path, keep=3)
    read = [reader.restore(step, zeros_like(a_state())) for step in (1, 2, 3)]
    reader.close()
    assert [checkpoint.acting for checkpoint in read] == [acting, {}, {}]
    assert read[0].counters == {"seconds": 0.5}
    assert digest(read[0].state) == digest(a_state())


def test_without_a_checkpoint_there_is_none(tmp_path: pathlib.Path) -> None:
    reader = checkpoints.Checkpoints(tmp_path / "new", keep=1)
    assert reader.steps() == []
    assert reader.latest(a_state()) is None
    reader.close()


def test_only_the_newest_are_kept_and_a_step_is_written_once(
    tmp_path: pathlib.Path,
) -> None:
    writer = checkpoints.Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 30):
        assert writer.save(step, a_state(), {})
    assert not writer.save(30, a_state(), {})
    assert writer.steps() == [2, 30]
    assert writer.restore(2, a_state()).step == 2
    writer.close()
    writer.close()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"key": np.zeros(2, np.int32)},
            r"key is uint32 \[2\] there, int32 \[2\] here",
        ),
        (
            {"metaparameters": {"gamma": np.zeros(3, np.float32)}},
            r"metaparameters/gamma is float32 \[2\] there, float32 \[3\] here",
        ),
        (
            {"metaparameters": {}},
            r"metaparameters/gamma is float32 \[2\] there, absent here",
        ),
    ],
)
def test_another_configurations_checkpoint_is_refused_with_the_difference(
    tmp_path: pathlib.Path, changes: dict[str, object], difference: str
) -> None:
    saved(tmp_path, 1)
    reader = checkpoints.Checkpoints(tmp_path, keep=2)
    with pytest.raises(ConfigError, match=difference) as refusal:
        reader.latest(a_state()._replace(**changes))
    reader.close()
    assert not isinstance(refusal.value, checkpoints.Damaged)
    assert "\n" not in str(refusal.value)


def test_what_a_killed_save_left_is_cleared_and_never_read(
    tmp_path: pathlib.Path,
) -> None:
    saved(tmp_path, 1)
    half_written = tmp_path / "7.orbax-checkpoint-tmp" / "state"
    half_written.mkdir(parents=True)
    writer = checkpoints.Checkpoints(tmp_path, keep=2)
    assert writer.steps() == [1]
    assert writer.save(2, a_state(), {})
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_saving_says_nothing_but_errors_still_come_through(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("absl")
    with caplog.at_level(logging.DEBUG, logger="absl"):
        saved(tmp_path, 1, 2, 3, keep=1)
        reader = checkpoints.Checkpoints(tmp_path, keep=1)
        reader.latest(a_state())
        reader.close()
        assert [r for r in caplog.records if "/orbax/" in r.pathname] == []
        logger.warning("ours")
        logger.handle(logging.makeLogRecord(_orbax_error()))
        raised_anyway = "site-packages/orbax/checkpoint/_src/futures/future.py"
        logger.handle(logging.makeLogRecord(_orbax_error(raised_anyway)))
    assert [r.getMessage() for r in caplog.records] == ["ours", "a real one"]


def _orbax_error(
    path: str = "site-packages/orbax/checkpoint/x.py",
) -> dict[str, object]:
    return {
        "name": "absl",
        "levelno": logging.ERROR,
        "pathname": path,
        "msg": "a real one",
    }
