"""One update of the real agent is the same on 1, 2 and 4 devices."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from stac.agents import actor_critic, variants
from stac.config import AgentConfig, BatchConfig, Config, NetworkConfig
from stac.environments.base import EnvironmentSpec
from stac.runtime import devices
from stac.types import Trajectory

SPEC = EnvironmentSpec((6,), np.dtype(np.float32), 3, False, 1)
BATCH, ROWS = 8, 6


def agent(name):
    row = variants.VARIANTS[name]
    return actor_critic.build(
        Config(
            agent=AgentConfig(heads=row.heads, self_tuned=",".join(row.self_tuned)),
            network=NetworkConfig(torso="mlp", mlp_hiddens=(16,), head_hidden=16),
            batch=BatchConfig(batch_size=BATCH, unroll_length=ROWS),
        ),
        SPEC,
    )


def batch(seed):
    """Trajectories that differ in size, so that a share of them is not the whole."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(0.1, 3.0, BATCH, dtype=np.float32)[:, None]
    columns = (BATCH, ROWS - 1)
    return Trajectory(
        observation=rng.normal(size=(BATCH, ROWS, 6)).astype(np.float32),
        first=rng.random((BATCH, ROWS)) < 0.1,
        action=rng.integers(0, 3, size=columns).astype(np.int32),
        behaviour_log_prob=np.full(columns, -1.1, np.float32),
        reward=rng.normal(size=columns).astype(np.float32) * scale,
        discount=(rng.random(columns) > 0.1).astype(np.float32),
        core_state=(),
    )


def after(made, count, updates=3):
    learners = devices.LearnerDevices(made, count, BATCH)
    states, rows = learners.replicate(learners.init(seed=0)), []
    for seed in range(updates):
        states, metrics = learners.update(states, batch(seed))
        rows.append(learners.fetch_metrics(metrics))
    return learners.fetch(states), rows


@pytest.mark.parametrize("name", ["impala_aux", "stac", "stacx"])
def test_updates_on_one_two_and_four_devices_agree(name):
    made = agent(name)
    expected, rows = after(made, 1)
    for count in (2, 4):
        actual, others = after(made, count)
        for a, b in zip(
            jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        for row, other in zip(rows, others, strict=True):
            assert set(row) == set(other)
            for key in row:
                np.testing.assert_allclose(
                    other[key], row[key], rtol=1e-3, atol=1e-4, err_msg=key
                )
        # Adam's steps hide the size of a metagradient: compare it by itself.
        for key in [key for key in rows[0] if key.startswith("metagradient/")]:
            np.testing.assert_allclose(
                others[0][key], rows[0][key], rtol=1e-4, atol=1e-6, err_msg=key
            )
