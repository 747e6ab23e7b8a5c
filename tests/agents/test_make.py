"""The table of agent families, and a second family in the place of the first."""

from __future__ import annotations

import json
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.agents import base, make
from stac.config import Config, ConfigError, changed, frames_per_update
from stac.configs import catch
from stac.environments.base import EnvironmentSpec
from stac.launch import threads
from stac.runtime.storage import workdir
from stac.types import ActorOutput, Array

SPEC = EnvironmentSpec((6,), np.dtype(np.float32), 3, False, 1)


def named(config: Config, name: str) -> Config:
    return changed(config, {"agent.name": name})


def test_an_agent_without_a_row_is_refused():
    with pytest.raises(ConfigError, match="stacy"):
        make.build(named(catch.config(), "stacy"), SPEC)


class Mean(NamedTuple):
    """The state of a family that learns nothing but the mean reward."""

    mean: Array
    updates: Array


def mean_reward(config: Config, spec: EnvironmentSpec, noise: float) -> base.Agent:
    """Acts at random; has a state, metrics and alerts of its own."""

    def act(params, key, observation, first, core_state):
        action = jax.random.randint(key, first.shape, 0, spec.num_actions)
        return ActorOutput(action, jnp.full(first.shape, params - 1.0)), core_state

    def update(state, trajectory, all_sum):
        mean = all_sum(trajectory.reward.mean())
        return Mean(mean, state.updates + 1), {"mean": mean}

    return base.Agent(
        init=lambda key: Mean(jnp.float32(0), jnp.int32(0)),
        initial_core_state=lambda envs: (),
        act=act,
        update=update,
        actor_params=lambda state: state.mean,
        frames_per_update=frames_per_update(config, spec.frames_per_step),
        watched=base.Watched(
            shown={"mean reward": "mean"},
            alerts=lambda row: (
                {"low": "the mean is below 2"} if row["mean"] < 2 else {}
            ),
        ),
    )


@pytest.mark.parametrize("runtime", ["lockstep", "threads"])
def test_a_second_family_is_a_row_and_no_change_of_the_runtimes(
    runtime, tmp_path: pathlib.Path, monkeypatch, capsys
):
    row = make.Variant(1, (), family=f"{__name__}:mean_reward")
    monkeypatch.setitem(make.VARIANTS, "mean_reward", row)
    config = catch.config(agent="mean_reward")
    small = {
        "runtime.name": runtime,
        "runtime.learner_devices": (0,),
        "runtime.log_every_seconds": 1e-9,
    }
    for updates in (3, 5):  # from the beginning, and from a checkpoint
        frames = updates * frames_per_update(config, 1)
        threads.run(changed(config, small | {"total_frames": frames}), tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert "continuing from update 3" in lines
    assert any("  mean reward -0.0" in line for line in lines)
    assert lines.count("the mean is below 2") == 2, "once in each of the two runs"
    metrics = (tmp_path / workdir.METRICS).read_text().splitlines()
    assert json.loads(metrics[-1])["mean"] < 0
    assert json.loads(metrics[-1])["updates"] == 5
