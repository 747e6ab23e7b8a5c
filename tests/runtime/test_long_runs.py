"""A run of more frames than an int32 holds: counted, annealed, saved and continued."""

from __future__ import annotations

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from stac.agents import make as agents
from stac.config import BatchConfig, Config, ConfigError
from stac.configs import catch
from stac.environments import make as environments
from stac.runtime import actor, assembly, devices
from stac.runtime.faults import shutdown
from stac.runtime.logs import loggers, summary
from stac.runtime.storage import checkpoints, workdir
from stac.types import Experience

PER_UPDATE = 16 * 8
TOTAL = 3 * 2**31  # frames


@pytest.fixture(name="case", scope="module")
def _case() -> tuple[Config, devices.LearnerDevices, Experience]:
    """A small run, its learner, compiled once, and a batch."""
    config = dataclasses.replace(
        catch.config(agent="impala"), batch=BatchConfig(16, 8), total_frames=TOTAL
    )
    agent = agents.build(config, environments.spec(config))
    learners = devices.LearnerDevices(agent, jax.local_devices()[:1])
    players = environments.factory(config)(3, 16)
    player = actor.Actor(agent, players, config.batch, seed=5, index=0)
    return config, learners, player.unroll(0, agent.actor_params(learners.init(1)))


@pytest.mark.parametrize("frames", [2**31 + PER_UPDATE, TOTAL])
def test_frames_and_learning_rate_are_right_beyond_an_int32_and_at_the_end(
    frames: int,
    tmp_path: pathlib.Path,
    case: tuple[Config, devices.LearnerDevices, Experience],
) -> None:
    config, learners, batch = case
    ends = [frames // PER_UPDATE + more for more in (-1, 0)]  # of updates
    state = learners.init(1)._replace(updates=np.int32(ends[0] - 1))
    with workdir.prepare(tmp_path, config):
        begun = checkpoints.Checkpoints(tmp_path / workdir.CHECKPOINTS, keep=3)
        begun.save(ends[0] - 1, state, {"seconds": 1.0})
        begun.close()
    for updates in ends:
        with (
            workdir.prepare(tmp_path, config),
            assembly.open_learner(
                config, learners, tmp_path, lambda *_: None, shutdown.Stop()
            ) as learner,
        ):
            learner.step(batch)
            learner.settle()
            assert learner.save()
            assert learner.done == (updates * PER_UPDATE == TOTAL)
    rows = loggers.rows(tmp_path / workdir.METRICS)
    assert [row["frames"] for row in rows] == [frames - PER_UPDATE, frames]
    rates = [
        config.optimizer.learning_rate * (1 - (row["frames"] - PER_UPDATE) / TOTAL)
        for row in rows
    ]
    np.testing.assert_allclose([row["learning_rate"] for row in rows], rates, 0, 1e-9)
    assert bool(summary.finished(tmp_path, TOTAL)) == (frames == TOTAL)


def test_more_updates_than_their_counter_holds_are_refused() -> None:
    batch = BatchConfig(2, 5)
    Config(batch=batch, total_frames=10 * (2**31 - 1))
    with pytest.raises(ConfigError, match="total_frames=21474836471: must be at most"):
        Config(batch=batch, total_frames=10 * (2**31 - 1) + 1)
