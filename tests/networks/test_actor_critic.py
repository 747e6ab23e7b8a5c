"""The network: shapes of Table 2, a core that forgets, and steps that add up."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.config import NetworkConfig
from stac.networks import actor_critic

IMAGE = ((4, 84, 84), np.uint8)
FEATURES = ((7,), np.float32)


def make(torso, lstm_size=0, heads=3, num_outputs=5):
    observation = FEATURES if torso == "mlp" else IMAGE
    config = NetworkConfig(torso=torso, lstm_size=lstm_size, head_hidden=16)
    network = actor_critic.make(config, heads, num_outputs, *observation)
    return network, network.init(jax.random.PRNGKey(0))


def rows(torso, batch=2, n=4):
    rng = np.random.default_rng(0)
    shape, dtype = FEATURES if torso == "mlp" else IMAGE
    observation = rng.integers(0, 255, size=(batch, n, *shape)).astype(dtype)
    first = np.zeros((batch, n), bool)
    first[0, 2] = True
    return observation, first


@pytest.mark.parametrize("lstm_size", [0, 8])
@pytest.mark.parametrize("torso", ["mlp", "shallow"])
def test_an_unroll_equals_repeated_steps(torso, lstm_size):
    network, params = make(torso, lstm_size)
    observation, first = rows(torso)
    state = jax.tree.map(lambda s: s + 0.5, network.initial_state(2))
    heads = network.unroll(params, observation, first, state)
    for t in range(observation.shape[1]):
        policy, state = network.step(params, observation[:, t], first[:, t], state)
        np.testing.assert_allclose(heads[0].policy[:, t], policy, rtol=1e-4, atol=1e-5)


def test_an_episode_start_forgets_the_core_state():
    network, params = make("mlp", lstm_size=8)
    observation, first = rows("mlp")
    states = [
        jax.tree.map(lambda s, x=x: s + x, network.initial_state(2)) for x in (0, 9)
    ]
    policies = [network.unroll(params, observation, first, s)[0].policy for s in states]
    same = np.isclose(*policies, atol=1e-6).all(axis=-1)
    assert not same[0, :2].any()
    assert same[0, 2:].all()
    assert not same[1].any()


@pytest.mark.parametrize("torso", ["deep", "shallow", "mlp", "residual_strided"])
def test_every_head_has_a_policy_and_a_value_for_every_row(torso):
    network, params = make(torso)
    observation, first = rows(torso)
    heads = jax.eval_shape(network.unroll, params, observation, first, ())
    assert len(heads) == 3
    for head in heads:
        assert head.policy.shape == (2, 4, 5)
        assert head.value.shape == (2, 4)


def test_the_deep_torso_is_the_fifteen_convolutions_of_table_2():
    _, params = make("deep")
    kernels = [p["w"].shape for name, p in params.items() if "conv" in name]
    channels = [16] * 5 + [32] * 10
    assert sorted(k[-1] for k in kernels) == channels
    assert all(k[:2] == (3, 3) for k in kernels)
    # 84 halves three times, rounding up: 11 x 11 x 32 features, and no dense layer.
    assert params["head_1_policy/~/linear_0"]["w"].shape == (11 * 11 * 32, 16)


def test_acting_needs_the_torso_and_head_1_policy_alone():
    network, params = make("shallow")
    acting = network.acting(params)
    assert [name for name in acting if "head_" in name] == [
        "head_1_policy/~/linear_0",
        "head_1_policy/~/linear_1",
    ]
    observation, first = rows("shallow")
    whole, _ = network.step(params, observation[:, 0], first[:, 0], ())
    part, _ = network.step(acting, observation[:, 0], first[:, 0], ())
    assert jnp.array_equal(whole, part)
