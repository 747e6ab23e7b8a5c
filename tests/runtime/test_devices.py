"""The learner's devices: k of them do what one would, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac import config
from stac.agents import base
from stac.runtime import devices
from tests.runtime import fakes
from tests.runtime.experiences import numbered

DEVICES = pytest.mark.parametrize("count", [1, 2, 4])


def batch(size=8):
    trajectory = numbered(range(size), rows=4).trajectory
    random = np.random.default_rng(0)
    return trajectory._replace(reward=random.normal(size=(size, 3)).astype(np.float32))


def tuning_agent():
    """The pattern of the real update, on six numbers.

    An inner loss summed over a batch, a step that is not linear in the gradient, an
    outer loss at the stepped parameters, and a metagradient through the step.
    """

    def inner_loss(w, eta, reward):
        return jnp.sum(jnp.tanh(reward * w) * jnp.exp(eta) + (reward - w) ** 2)

    def update(state, trajectory, all_sum):
        def loss_after_step(eta):
            gradient = all_sum(
                jax.grad(inner_loss)(state.params, eta, trajectory.reward)
            )
            params = state.params - 0.3 * gradient / jnp.sqrt(gradient**2 + 100.0)
            return jnp.sum(jnp.cos(trajectory.reward * params)), params

        eta = state.metaparameters["eta"]
        metagradient, params = jax.grad(loss_after_step, has_aux=True)(eta)
        metagradient = all_sum(metagradient)
        state = state._replace(
            params=params, metaparameters={"eta": eta - 0.1 * metagradient}
        )
        return state, {"metagradient": jnp.linalg.norm(metagradient)}

    return fakes.following_agent()._replace(update=update)


def tuning_state():
    return fakes.learner_state()._replace(
        params=np.array([0.5, -1.0, 2.0], np.float32),
        metaparameters={"eta": np.array([0.1, -0.4, 0.7], np.float32)},
    )


@DEVICES
def test_a_metagradient_through_the_sum_is_that_of_one_device_with_the_batch(count):
    agent, state = tuning_agent(), tuning_state()
    alone, metrics = jax.jit(lambda s, t: agent.update(s, t, base.no_devices))(
        state, batch()
    )
    learners = devices.LearnerDevices(agent, count, 8)
    states, several = learners.update(learners.replicate(state), batch())
    assert float(metrics["metagradient"]) > 0.01
    assert learners.fetch_metrics(several)["metagradient"] == pytest.approx(
        float(metrics["metagradient"]), rel=1e-5
    )
    for field in ("params", "metaparameters"):
        for a, b in zip(
            jax.tree.leaves(getattr(alone, field)),
            jax.tree.leaves(getattr(learners.fetch(states), field)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@DEVICES
def test_all_replicas_stay_equal(count):
    learners = devices.LearnerDevices(tuning_agent(), count, 8)
    states = learners.replicate(tuning_state())
    for _ in range(3):
        states, _ = learners.update(states, batch())
    for leaf in jax.tree.leaves(states):
        replicas = np.asarray(leaf)
        assert len(replicas) == count
        assert (replicas == replicas[:1]).all()


@DEVICES
def test_a_state_survives_the_way_to_the_devices_and_back_bit_for_bit(count):
    learners = devices.LearnerDevices(tuning_agent(), count, 4)
    state = tuning_state()._replace(updates=np.int32(7), key=np.uint32([1, 2**32 - 1]))
    back = learners.fetch(learners.replicate(state))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_each_device_gets_its_share_of_the_batch_in_order():
    agent = fakes.counting_agent(1)
    seen = []

    def update(state, trajectory, all_sum):
        seen.append(trajectory.observation.shape)
        return state, {"first_max": trajectory.observation[0, 0, 0]}

    learners = devices.LearnerDevices(agent._replace(update=update), 4, 8)
    _, metrics = learners.update(learners.replicate(fakes.learner_state()), batch())
    assert seen == [(2, 4, 2)]
    assert np.asarray(metrics["first_max"]).tolist() == [0, 2, 4, 6]


def test_a_metric_named_max_is_the_maximum_over_devices():
    learners = devices.LearnerDevices(fakes.counting_agent(1), 4, 8)
    for largest in (0, 5):
        trajectory = batch()
        trajectory.reward[largest, 1] = 9.0
        _, metrics = learners.update(
            learners.replicate(fakes.learner_state()), trajectory
        )
        fetched = learners.fetch_metrics(metrics)
        assert fetched["reward_max"] == 9.0
        assert fetched["added"] == pytest.approx(trajectory.reward.sum(), rel=1e-5)


def test_a_weakly_typed_first_state_does_not_compile_twice():
    traces = []
    agent = tuning_agent()

    def update(*arguments):
        traces.append(arguments)
        return agent.update(*arguments)

    def init(key):
        weak = {"eta": jnp.broadcast_to(jnp.asarray(0.1), (3,))}
        assert weak["eta"].weak_type
        return tuning_state()._replace(metaparameters=weak)

    learners = devices.LearnerDevices(agent._replace(update=update, init=init), 2, 8)
    first = learners.init(seed=1)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(first))
    states = learners.replicate(first)
    for _ in range(3):
        states, _ = learners.update(states, batch())
    assert len(traces) == 1


def test_the_states_given_to_an_update_can_still_be_fetched():
    learners = devices.LearnerDevices(tuning_agent(), 2, 8)
    states = learners.replicate(tuning_state())
    learners.update(states, batch())
    np.testing.assert_array_equal(learners.fetch(states).params, tuning_state().params)


def test_actors_get_their_part_of_the_first_replica():
    learners = devices.LearnerDevices(fakes.counting_agent(1), 2, 8)
    params = learners.actor_params(learners.replicate(fakes.learner_state()))
    assert list(params) == ["b"]
    assert isinstance(params["b"], np.ndarray)
    assert params["b"].shape == ()


@pytest.mark.parametrize(("size", "sizes"), [(32, "30 or 33"), (2, "3")])
def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do(size, sizes):
    with pytest.raises(config.ConfigError) as refused:
        devices.LearnerDevices(tuning_agent(), 3, size)
    assert str(refused.value) == (
        f"a batch of {size} trajectories does not divide over 3 learner devices: use"
        f" --config.batch.batch_size={sizes}, or another"
        " --config.runtime.learner_devices"
    )


@pytest.mark.faults
@pytest.mark.parametrize("platform", ["cuda", "abacus"])
def test_a_platform_of_which_there_is_no_device_is_refused_in_a_line(platform):
    code = """
from stac import config
from stac.runtime import devices
from tests.runtime import fakes
try:
    devices.LearnerDevices(fakes.counting_agent(1), 0, 8)
except config.ConfigError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "JAX_PLATFORMS": platform},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.splitlines() == [
        f"JAX_PLATFORMS={platform}: JAX finds no such device here; leave it out, or set"
        " JAX_PLATFORMS=cpu"
    ]


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(config.ConfigError, match="this host has 4 cpu devices"):
        devices.LearnerDevices(tuning_agent(), 5, 20)


def test_no_count_means_all_devices_and_actors_get_those_the_learner_leaves():
    assert devices.LearnerDevices(tuning_agent(), 0, 8).count == 4
    learners = devices.LearnerDevices(tuning_agent(), 1, 8)
    assert learners.for_actors() == jax.local_devices()[1:]
    assert devices.LearnerDevices(tuning_agent(), 4, 8).for_actors() == (
        jax.local_devices()
    )


def test_a_user_sees_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learners = devices.LearnerDevices(tuning_agent(), 2, 8)
        states, metrics = learners.update(learners.replicate(tuning_state()), batch())
        learners.fetch(states), learners.fetch_metrics(metrics)
