"""The learner's devices: k of them do what one would, and nothing is lost."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac import config
from stac.agents import base
from stac.runtime import devices
from tests.programs import python
from tests.runtime import fakes
from tests.runtime.experiences import numbered

DEVICES = pytest.mark.parametrize("count", [1, 8])


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
def test_a_metagradient_through_the_sum_is_that_of_one_device(count):
    agent, state = tuning_agent(), tuning_state()
    alone, metrics = jax.jit(lambda s, t: agent.update(s, t, base.no_devices))(
        state, batch()
    )
    learners = devices.LearnerDevices(agent, jax.devices()[:count])
    states, several = learners.update(learners.replicate(state), batch())
    assert float(metrics["metagradient"]) > 0.01
    assert float(several["metagradient"]) == pytest.approx(
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
def test_an_update_that_is_compiled_ahead_is_the_same_bit_for_bit(count):
    ends = []
    for ahead in (False, True):
        learners = devices.LearnerDevices(tuning_agent(), jax.devices()[:count])
        state = learners.replicate(tuning_state())
        assert not learners.compiled
        if ahead:
            learners.compile(state, jax.tree.map(np.zeros_like, batch()))
            assert learners.compiled
        for _ in range(2):
            state, _ = learners.update(state, batch())
        ends.append(learners.fetch(state))
    jax.tree.map(np.testing.assert_array_equal, *ends)


def test_all_replicas_stay_equal():
    learners = devices.LearnerDevices(tuning_agent(), jax.devices()[:8])
    state = learners.replicate(tuning_state())
    for _ in range(3):
        state, _ = learners.update(state, batch())
    for leaf in jax.tree.leaves(state):
        replicas = [np.asarray(shard.data) for shard in leaf.addressable_shards]
        assert len(replicas) == 8
        assert all((replica == replicas[0]).all() for replica in replicas)


@DEVICES
def test_a_state_survives_the_way_to_the_devices_and_back_bit_for_bit(count):
    learners = devices.LearnerDevices(tuning_agent(), jax.local_devices()[:count])
    state = tuning_state()._replace(updates=np.int32(7), key=np.uint32([1, 2**32 - 1]))
    back = learners.fetch(learners.replicate(state))
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_each_device_gets_its_share_of_the_batch_in_order():
    seen = []

    def update(state, trajectory, all_sum):
        seen.append(trajectory.observation.shape)
        first = trajectory.observation[0, 0, 0]
        place = jnp.arange(4) == jax.lax.axis_index(devices.AXIS)
        return state, {"firsts": all_sum(place * first)}

    learners = devices.LearnerDevices(
        fakes.counting_agent(1)._replace(update=update), jax.devices()[:4]
    )
    _, metrics = learners.update(learners.replicate(fakes.learner_state()), batch())
    assert set(seen) == {(2, 4, 2)}
    assert np.asarray(metrics["firsts"]).tolist() == [0, 2, 4, 6]


def test_a_metric_named_max_is_the_maximum_over_devices():
    learners = devices.LearnerDevices(fakes.counting_agent(1), jax.devices()[:4])
    for largest in (0, 5):
        trajectory = batch()
        trajectory.reward[largest, 1] = 9.0
        _, metrics = learners.update(
            learners.replicate(fakes.learner_state()), trajectory
        )
        assert metrics["reward_max"] == 9.0
        assert metrics["added"] == pytest.approx(trajectory.reward.sum(), rel=1e-5)


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

    learners = devices.LearnerDevices(
        agent._replace(update=update, init=init), jax.local_devices()[:2]
    )
    first = learners.init(seed=1)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(first))
    states = learners.replicate(first)
    for _ in range(3):
        states, _ = learners.update(states, batch())
    assert len(traces) == 1


def test_the_states_given_to_an_update_can_still_be_fetched():
    learners = devices.LearnerDevices(tuning_agent(), jax.local_devices()[:2])
    states = learners.replicate(tuning_state())
    learners.update(states, batch())
    np.testing.assert_array_equal(learners.fetch(states).params, tuning_state().params)


def test_actors_get_their_part_on_the_first_learner_device():
    learners = devices.LearnerDevices(fakes.counting_agent(1), jax.devices()[2:4])
    state, _ = learners.update(learners.replicate(fakes.learner_state()), batch())
    params = learners.actor_params(state)
    assert list(params) == ["b"]
    assert params["b"].devices() == {jax.devices()[2]}
    assert params["b"].shape == ()


@pytest.mark.parametrize(("size", "sizes"), [(32, "30 or 33"), (2, "3")])
def test_a_batch_that_does_not_divide_is_refused_with_sizes_that_do(size, sizes):
    with pytest.raises(config.ConfigError) as refused:
        devices.split((), (0, 1, 2), size)
    assert str(refused.value) == (
        f"a batch of {size} trajectories does not divide over 3 learner devices: use"
        f" --config.batch.batch_size={sizes}, or other --learner_devices"
    )


@pytest.mark.faults
@pytest.mark.parametrize("platform", ["cuda", "abacus"])
def test_a_platform_of_which_there_is_no_device_is_refused_in_a_line(platform):
    code = """
from stac import config
from stac.runtime import devices
try:
    devices.split((), (), 8)
except config.ConfigError as error:
    print(error)
"""
    ended = python("-c", code, JAX_PLATFORMS=platform)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == [
        f"JAX_PLATFORMS={platform}: JAX finds no such device here; leave it out, or set"
        " JAX_PLATFORMS=cpu"
    ]


@pytest.mark.parametrize(
    ("here", "acting", "learning", "batch_size", "split"),
    [
        (1, (), (), 32, ((0,), (0,))),  # shared
        (2, (), (), 32, ((0,), (1,))),
        (4, (), (), 32, ((0, 1), (2, 3))),
        (8, (), (), 36, ((0, 1), (2, 3, 4, 5, 6, 7))),  # as in the paper
        (8, (), (), 32, ((0, 1, 2, 3), (4, 5, 6, 7))),  # 6 do not divide it
        (8, (0,), (1, 2), 32, ((0,), (1, 2))),
        (8, (), (0, 1), 32, ((2, 3, 4, 5, 6, 7), (0, 1))),
        (8, (0,), (), 35, ((0,), (1, 2, 3, 4, 5, 6, 7))),
        (8, range(8), range(8), 32, (range(8), range(8))),
        (1, (0,), (), 32, ((0,), (0,))),
    ],
)
def test_devices_are_split_as_given_or_as_in_the_paper(
    monkeypatch, here, acting, learning, batch_size, split
):
    monkeypatch.setattr(jax, "local_devices", lambda **_: jax.devices()[:here])
    places = devices.split(acting, learning, batch_size)
    assert tuple(tuple(d.id for d in part) for part in places) == tuple(
        tuple(part) for part in split
    )


def test_a_split_is_told_with_the_devices_that_do_nothing():
    places = devices.split((), (), 32)
    assert places.describe(num_actors=4) == (
        "devices: acting on 0, 1, 2, 3; learning on 4, 5, 6, 7"
    )
    assert places.describe(num_actors=2) == (
        "devices: acting on 0, 1; learning on 4, 5, 6, 7; idle: 2, 3"
    )


def test_where_actors_use_no_device_all_that_divide_the_batch_learn():
    assert len(devices.split((), (), 32, shared=False).learners) == 8
    assert len(devices.split((), (), 6, shared=False).learners) == 6


@pytest.mark.parametrize("acting", [(8,), (-1,), (1, 1)])
def test_devices_that_are_not_there_are_refused(acting):
    message = (
        "names a device twice"
        if acting == (1, 1)
        else ("this host has 8 cpu devices: use indices from 0 to 7")
    )
    with pytest.raises(config.ConfigError, match=message):
        devices.split(acting, (), 8)


def test_an_update_moves_the_batch_to_the_devices_and_nothing_else(capfd):
    """JAX logs every copy, but none from a CPU device to the host, which is free."""
    learners = devices.LearnerDevices(tuning_agent(), jax.devices()[2:6])
    state, _ = learners.update(learners.replicate(tuning_state()), batch())
    state, _ = jax.block_until_ready(learners.update(state, batch()))
    capfd.readouterr()
    with jax.transfer_guard("log_explicit"):
        jax.block_until_ready(learners.update(state, batch()))
    copies = capfd.readouterr().err.splitlines()
    assert not [line for line in copies if "device-to-device" in line]
    placed = [line for line in copies if "host-to-device" in line]
    # The rewards, which alone are read, and the flag to stop; pmap may tell of none.
    assert len(placed) <= 8
    for leaf in jax.tree.leaves(state):
        assert len(leaf.addressable_shards) == 4
    with jax.transfer_guard("log_explicit"):  # such a copy would be seen
        moved = jax.device_put(jax.numpy.zeros(3, device=jax.devices()[2]))
        jax.block_until_ready(jax.device_put(moved, jax.devices()[3]))
    assert "device-to-device" in capfd.readouterr().err
