"""Restoring an actor: k unrolls, and k more of another actor, are 2k unrolls."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

from stac.agents import actor_critic, base
from stac.config import BatchConfig, Config, NetworkConfig
from stac.environments import catch
from stac.environments.base import BatchedEnvironment
from stac.environments.vector import batched
from stac.runtime import actor
from stac.types import Experience
from tests.environments.vector import scripted
from tests.runtime import fakes

ENVS = 3
BATCH = {overlap: BatchConfig(2, 5, overlap) for overlap in (0, 1, 3)}


def catches(seed: int) -> BatchedEnvironment:
    return catch.Catch("features", seed, ENVS)


def moves(seed: int) -> BatchedEnvironment:
    """Continuous actions, and first episodes that are cut."""
    make = functools.partial(scripted.make, (9, 6))
    seeds = range(seed, seed + ENVS)
    return batched.Batched(make, seeds, stagger_steps=8, seed=seed)


@functools.cache
def learnt(environments, lstm_size: int) -> tuple[base.Agent, list[Any]]:
    """An agent, and the parameters of some updates."""
    environment = environments(0)
    environment.close()
    network = NetworkConfig(torso="mlp", mlp_hiddens=(8,), lstm_size=lstm_size)
    agent = actor_critic.build(Config(network=network), environment.spec)
    params = [
        agent.actor_params(agent.init(jax.random.PRNGKey(version)))
        for version in range(6)
    ]
    return agent, params


def built(environments, seed: int = 1, lstm_size: int = 4, overlap: int = 3):
    environment = environments(seed)
    agent, params = learnt(environments, lstm_size)
    acting = actor.Actor(agent, environment, BATCH[overlap], seed, index=2)
    return environment, acting, params


def unrolls(
    acting: actor.Actor, params: list[Any], versions: range
) -> list[Experience]:
    return [acting.unroll(version, params[version]) for version in versions]


def assert_equal(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for leaf, twin in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert (leaf.dtype, leaf.shape) == (twin.dtype, twin.shape)
        np.testing.assert_array_equal(leaf, twin)


@pytest.mark.parametrize("overlap", BATCH)
@pytest.mark.parametrize("lstm_size", [0, 4])
@pytest.mark.parametrize("environments", [catches, moves])
def test_k_unrolls_and_k_of_the_restored_are_2k_unrolls(
    environments, lstm_size, overlap
):
    named = {"lstm_size": lstm_size, "overlap": overlap}
    environment, whole, params = built(environments, **named)
    alone = unrolls(whole, params, range(6))
    environment.close()
    environment, first, _ = built(environments, **named)
    before = unrolls(first, params, range(3))
    snapshot = first.snapshot()
    after = unrolls(first, params, range(3, 6))
    environment.close()
    assert_equal(before + after, alone)  # taking it changed nothing
    environment, second, _ = built(environments, seed=77, **named)
    second.restore(snapshot)
    assert_equal(unrolls(second, params, range(3, 6)), alone[3:])
    environment.close()
    reported = [row for _, report in alone[3:] for row in report.episode_length.ravel()]
    assert max(reported) > 0  # of episodes that began before


def test_an_actor_that_has_not_acted_yet_has_a_snapshot_too():
    environment, whole, params = built(moves)
    environment_2, second, _ = built(moves, seed=77)
    second.restore(whole.snapshot())
    assert_equal(unrolls(whole, params, range(3)), unrolls(second, params, range(3)))
    environment.close(), environment_2.close()


def test_a_restored_actor_compiles_nothing_new():
    _, first, params = built(catches)
    unrolls(first, params, range(2))
    compiled = first._act._cache_size()
    _, second, _ = built(catches)
    second.restore(first.snapshot())
    unrolls(second, params, range(2, 4))
    assert second._act._cache_size() == compiled


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"overlap": 1}, "5 rows an unroll, 1 of them shared.*, not of 'an actor"),
        ({"lstm_size": 0}, r"core state \(\).*, not of"),
        ({"environments": moves}, "environments, observations"),
    ],
)
def test_another_actors_snapshot_is_refused_and_nothing_has_changed(other, message):
    _, first, params = built(catches)
    unrolls(first, params, range(2))
    snapshot = first.snapshot()
    named = {"environments": catches} | other
    _, refusing, params = built(**named)
    with pytest.raises(ValueError, match=message) as refusal:
        refusing.restore(snapshot)
    assert "\n" not in str(refusal.value)
    _, fresh, _ = built(**named)
    assert_equal(unrolls(refusing, params, range(2)), unrolls(fresh, params, range(2)))


def test_the_number_of_environments_may_not_change():
    agent = fakes.following_agent()
    pair = [
        actor.Actor(agent, catch.Catch("features", 0, envs), BATCH[0], 0, 0)
        for envs in (3, 4)
    ]
    with pytest.raises(ValueError, match=r"of 4 environments.*, not of .* of 3"):
        pair[1].restore(pair[0].snapshot())


def test_bytes_that_are_no_snapshot_are_refused_in_one_line():
    _, acting, _ = built(catches)
    for nonsense in (b"", b"\x00\n\xff\n", acting.snapshot()[:-1]):
        with pytest.raises(ValueError, match="snapshot of") as refusal:
            acting.restore(nonsense)
        assert "\n" not in str(refusal.value)


def test_an_actor_has_no_snapshot_where_its_environment_takes_none():
    acting, other = (
        actor.Actor(fakes.following_agent(), environment, BATCH[0], 0, 0)
        for environment in (fakes.Counting(ENVS), catch.Catch("features", 0, ENVS))
    )
    assert acting.snapshot() is None
    with pytest.raises(ValueError, match="takes no snapshots"):
        acting.restore(other.snapshot())
