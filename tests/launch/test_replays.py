"""A soft actor-critic's replay goes on with its run, in runtimes that save no more."""

from __future__ import annotations

import pathlib
import sys

import orbax.checkpoint as ocp
import pytest

from stac import snapshots
from stac.config import Config, changed
from stac.configs import mujoco
from stac.launch import start, threads
from tests.launch.runs import rows

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="dm_control has no wheels, nor mujoco"
)


def config(updates: int, numbers: dict[str, object]) -> Config:
    """Meta-SAC in short: ten steps and updates a call, at random until the third."""
    plain = mujoco.config(env="Hopper-v4", agent="meta_sac")
    few = {
        "agent.soft.minibatch": 8,
        "agent.soft.first_steps": 30,
        "agent.soft.initial_states": 8,
        "network.mlp_hiddens": (8,),
        "total_frames": 10 * updates,
    }
    return changed(plain, few | numbers)


@pytest.mark.parametrize(
    "runtime",
    [
        "threads",
        pytest.param("launchpad", marks=[pytest.mark.slow, pytest.mark.launchpad]),
    ],
)
def test_a_run_goes_on_with_its_replay(
    runtime: str, tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for updates in (20, 24):
        start.run(config(updates, {"runtime.name": runtime}), str(tmp_path))
    assert "continuing from update 20" in capfd.readouterr().out
    seen, kept, drawn, ring = snapshots.load(saved(tmp_path))
    ahead = drawn - 24  # samples that were taken before their update
    assert ahead == 0 if runtime == "threads" else ahead >= 0
    assert seen == 10 * drawn
    assert 200 < kept == len(ring.reward), "those of both parts"


def test_a_replay_that_is_not_saved_fills_again_before_anything_is_learned(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for updates in (8, 10):
        threads.run(config(updates, {"runtime.saved_replay_mb": 0}), tmp_path)
    printed = capfd.readouterr()
    assert "the replay begins empty: nothing of it was saved" in printed.err
    assert "leave out the replay, 108 MB when it is full: runtime.saved" in printed.out
    assert not (tmp_path / "checkpoints/10/acting").exists()
    losses = {row["updates"]: row["loss/critic"] for row in rows(tmp_path)}
    assert losses[8] > 0, "it had 80 steps"
    assert losses[10] is None, "it has 20, and learns from 30 on"


def saved(workdir: pathlib.Path) -> bytes:
    """The pickle in the newest checkpoint's replay."""
    step = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    packed = ocp.StandardCheckpointer().restore(step / "acting")["replay"]
    return packed.tobytes()[:-1].split(b"\n", 2)[2]
