"""The paper's agent on 1 to 8 devices: the global batch is the contract."""

from __future__ import annotations

import dataclasses
import functools

import jax
import numpy as np
import pytest

from stac.agents import actor_critic, base
from stac.config import BatchConfig, Config
from stac.configs import catch as numbers
from stac.environments import make
from stac.runtime import actor, devices
from stac.types import LearnerState, Trajectory

UPDATES = 5
BATCH_SIZE = 24


def small(agent: str) -> Config:
    """Catch's agent made small, with an LSTM and overlapping trajectories."""
    config = numbers.config(agent=agent)
    return dataclasses.replace(
        config,
        network=dataclasses.replace(
            config.network, mlp_hiddens=(8,), head_hidden=8, lstm_size=4
        ),
        batch=BatchConfig(batch_size=BATCH_SIZE, unroll_length=12, overlap=2),
    )


def play(config: Config, agent: base.Agent, state: LearnerState) -> list[Trajectory]:
    """Batches as the actor makes them, episodes ending inside."""
    environment = make.factory(config)(3, BATCH_SIZE)
    player = actor.Actor(agent, environment, config.batch, seed=5, index=0)
    params = jax.tree.map(np.asarray, agent.actor_params(state))
    return [player.unroll(0, params).trajectory for _ in range(UPDATES)]


@functools.cache
def learns(name: str, count: int) -> devices.LearnerDevices:
    """So many devices, and what is compiled for them."""
    agent = agents(name)
    return devices.LearnerDevices(agent, jax.devices()[:count])


@functools.cache
def agents(name: str) -> base.Agent:
    return actor_critic.build(small(name), make.spec(small(name)))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("stacx", (6,)),
        pytest.param("stacx", (2, 3, 4, 8), marks=pytest.mark.slow),
        pytest.param("impala_aux", (2, 8), marks=pytest.mark.slow),
    ],
)
def test_updates_on_several_devices_equal_those_on_one(name, counts):
    first = learns(name, 1).init(seed=1)
    batches = play(small(name), agents(name), first)
    assert any(batch.first[:, 1:].any() for batch in batches)
    ends = []
    for count in (1, *counts):
        learners = learns(name, count)
        states = learners.replicate(first)
        for batch in batches:
            states, metrics = learners.update(states, batch)
        ends.append(learners.fetch((states, metrics)))
    moved = [
        np.abs(a - b).max()
        for a, b in zip(
            jax.tree.leaves(first.params),
            jax.tree.leaves(ends[0][0].params),
            strict=True,
        )
    ]
    assert max(moved) > 1e-3
    for other in ends[1:]:
        # Metrics sum hundreds of terms of either sign: their own tolerance.
        for part, (rtol, atol) in enumerate([(1e-5, 1e-5), (1e-4, 1e-5)]):
            one, several = ends[0][part], other[part]
            leaves = zip(jax.tree.leaves(one), jax.tree.leaves(several), strict=True)
            for a, b in leaves:
                np.testing.assert_allclose(b, a, rtol=rtol, atol=atol)


def test_a_bad_number_on_one_device_is_passed_over_by_all():
    learners = learns("stacx", 6)
    first = learners.init(seed=1)
    batch = play(small("stacx"), agents("stacx"), first)[0]
    batch.reward[0, 3] = np.nan
    states, metrics = learners.update(learners.replicate(first), batch)
    assert metrics["skipped"] == 1
    for old, new in zip(jax.tree.leaves(first), jax.tree.leaves(states), strict=True):
        counts = new.dtype == np.int32 and old.ndim == 0 and (np.asarray(new) > 0).all()
        for shard in new.addressable_shards:
            assert counts or np.array_equal(shard.data, old)
