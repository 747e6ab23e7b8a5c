"""The network: shapes of Table 2, a core that forgets, and steps that add up."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.config import AgentConfig, Config, NetworkConfig
from stac.environments.base import EnvironmentSpec
from stac.networks import network as networks

FEATURES = ((7,), np.float32)
FRAMES = ((4, 84, 84), np.uint8)  # of Atari
PICTURE = ((3, 84, 84), np.uint8)  # of control
SEEN = {
    "mlp": FEATURES,
    "deep": FRAMES,
    "shallow": FRAMES,
    "minatar": ((4, 10, 10), np.uint8),
    "residual_strided": PICTURE,
}
GAMMA = jnp.array([0.9, 0.95, 0.99])


def make(torso, lstm_size=0, **agent):
    config = Config(
        agent=AgentConfig(**agent),
        network=NetworkConfig(torso=torso, lstm_size=lstm_size, head_hidden=16),
    )
    spec = EnvironmentSpec(*SEEN[torso], 5, False, 1)
    network = networks.make(config, np.zeros(5, np.float32), spec)
    return network, network.init(jax.random.PRNGKey(0))


def rows(torso, batch=2, n=4):
    rng = np.random.default_rng(0)
    shape, dtype = SEEN[torso]
    observation = rng.integers(0, 255, size=(batch, n, *shape)).astype(dtype)
    first = np.zeros((batch, n), bool)
    first[0, 2] = True
    return observation, first


def close(actual, expected, rtol):
    """Or to a millionth of the largest: how products are rounded depends on the CPU."""
    atol = 1e-6 * np.abs(expected).max()
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("lstm_size", [0, 8])
@pytest.mark.parametrize("torso", ["mlp", "shallow"])
def test_an_unroll_equals_repeated_steps(torso, lstm_size):
    network, params = make(torso, lstm_size)
    observation, first = rows(torso)
    state = jax.tree.map(lambda s: s + 0.5, network.initial_state(2))
    heads = network.unroll(params, observation, first, state, GAMMA)
    for t in range(observation.shape[1]):
        policies, state = network.step(
            params, observation[:, t], first[:, t], state, GAMMA
        )
        close(heads[0].policy[:, t], policies[0], rtol=1e-4)


def test_an_episode_start_forgets_the_core_state():
    network, params = make("mlp", lstm_size=8)
    observation, first = rows("mlp")
    states = [
        jax.tree.map(lambda s, x=x: s + x, network.initial_state(2)) for x in (0, 9)
    ]
    policies = [
        network.unroll(params, observation, first, s, GAMMA)[0].policy for s in states
    ]
    same = np.isclose(*policies, atol=1e-6).all(axis=-1)
    assert not same[0, :2].any()
    assert same[0, 2:].all()
    assert not same[1].any()


@pytest.mark.parametrize("torso", ["deep", "shallow", "mlp", "residual_strided"])
def test_every_head_has_a_policy_and_a_value_for_every_row(torso):
    network, params = make(torso)
    observation, first = rows(torso)
    heads = jax.eval_shape(network.unroll, params, observation, first, (), GAMMA)
    assert len(heads) == 3
    for head in heads:
        assert head.policy.shape == (2, 4, 5)
        assert head.value.shape == (2, 4)


def kernels(params):
    """Of all convolutions: height, width, channels in and out."""
    return [p["w"].shape for name, p in params.items() if "conv" in name]


def test_the_deep_torso_is_the_fifteen_convolutions_of_table_2():
    _, params = make("deep")
    channels = [16] * 5 + [32] * 10
    assert sorted(k[-1] for k in kernels(params)) == channels
    assert all(k[:2] == (3, 3) for k in kernels(params))
    # 84 halves three times, rounding up: 11 x 11 x 32 features, and no dense layer.
    assert params["head_1_policy/~/linear_0"]["w"].shape == (11 * 11 * 32, 16)


def test_the_torso_for_controls_pixels_is_strided_where_ataris_has_pools():
    network, params = make("residual_strided", lstm_size=8)
    assert sorted(kernels(params)) == [(3, 3, 3, 32)] + [(3, 3, 32, 32)] * 14
    assert params["core"]["w_x"].shape == (11 * 11 * 32, 4 * 8)
    section = [(2, 2), (1, 1), (1, 1), (1, 1), (1, 1)]  # first, then two blocks
    assert sizing(network, params, "residual_strided") == section * 3
    section = [(1, 1), "max", (1, 1), (1, 1), (1, 1), (1, 1)]
    assert sizing(*make("deep"), "deep") == section * 3


def sizing(network, params, torso):
    """Strides of the convolutions of an unroll, in order, and where it takes maxima."""
    observation, first = rows(torso)
    state = network.initial_state(len(first))
    traced = jax.make_jaxpr(network.unroll)(params, observation, first, state, GAMMA)
    sizes = []
    for each in traced.eqns:
        if each.primitive.name == "conv_general_dilated":
            sizes.append(each.params["window_strides"])
        elif "reduce_window_max" in str(each):  # within a derivative of our own
            sizes.append("max")
    return sizes


def test_acting_needs_the_torso_and_head_1_policy_alone():
    network, params = make("shallow")
    acting = network.acting(params)
    assert [name for name in acting if "head_" in name] == [
        "head_1_policy/~/linear_0",
        "head_1_policy_output",
    ]
    observation, first = rows("shallow")
    whole, _ = network.step(params, observation[:, 0], first[:, 0], (), GAMMA)
    part, _ = network.step(acting, observation[:, 0], first[:, 0], (), GAMMA)
    assert jnp.array_equal(whole[0], part[0])


def test_an_ensemble_acts_with_all_its_policies_and_an_average_has_its_own_value():
    network, params = make("mlp", behaviour="average")
    observation, first = rows("mlp")
    heads = network.unroll(params, observation, first, (), GAMMA)
    assert len(heads) == 4
    mean = (heads[0].policy + heads[1].policy + heads[2].policy) / 3
    np.testing.assert_allclose(heads[3].policy, mean, rtol=1e-5, atol=1e-6)
    assert not np.allclose(heads[3].value, heads[0].value)
    policies, _ = network.step(
        network.acting(params), observation[:, 1], first[:, 1], (), GAMMA
    )
    for head, policy in zip(heads[:3], policies, strict=True):
        close(head.policy[:, 1], policy, rtol=1e-5)


@pytest.mark.parametrize("kind", ["shared", "per_head"])
def test_an_embedded_discount_changes_its_own_head_alone(kind):
    network, params = make("mlp", gamma_embedding=kind)
    embeddings = [name for name in params if "gamma_embedding" in name]
    assert len(embeddings) == {"shared": 1, "per_head": 3}[kind]
    observation, first = rows("mlp")
    before = network.unroll(params, observation, first, (), GAMMA)
    after = network.unroll(params, observation, first, (), GAMMA.at[1].set(0.1))
    changed = [
        not np.array_equal(a.value, b.value) for a, b in zip(before, after, strict=True)
    ]
    assert changed == [False, True, False]


@pytest.mark.parametrize("kind", ["none", "per_head"])
@pytest.mark.parametrize("shaped_by", ["all", "head_1"])
def test_auxiliary_heads_shape_torso_and_core_unless_head_1_alone_does(kind, shaped_by):
    network, params = make(
        "mlp", lstm_size=8, gamma_embedding=kind, shaped_by=shaped_by
    )
    observation, first = rows("mlp")
    state = network.initial_state(2)
    for head in range(3):
        gradients = jax.grad(
            lambda params, head=head: sum(
                jnp.sum(x)
                for x in network.unroll(params, observation, first, state, GAMMA)[head]
            )
        )(params)
        reached = {
            name.split("/")[0]
            for name, module in gradients.items()
            if any(np.any(leaf) for leaf in module.values())
        }
        own = f"head_{head + 1}_"
        shared = {"torso", "core"} if head == 0 or shaped_by == "all" else set()
        assert {name for name in reached if not name.startswith(own)} == shared
        parts = {"policy", "policy_output", "value"}
        parts |= {"gamma_embedding"} if kind == "per_head" else set()
        assert {name.removeprefix(own) for name in reached - shared} == parts


@pytest.mark.parametrize(
    ("dense", "shared", "all_of_them"),
    [(0, 97_744, 6_061_321), (256, 1_089_232, 1_498_633)],
)
def test_the_parameters_of_stacx_on_james_bond_are_as_docs_paper_counts_them(
    dense, shared, all_of_them
):
    config = Config(network=NetworkConfig(torso="deep", torso_dense=dense))
    spec = EnvironmentSpec(*FRAMES, num_actions=18, continuous=False, frames_per_step=4)
    network = networks.make(config, np.zeros(18, np.float32), spec)
    params = jax.eval_shape(network.init, jax.random.PRNGKey(0))
    sizes = {
        name: sum(math.prod(leaf.shape) for leaf in module.values())
        for name, module in params.items()
    }
    torso = sum(size for name, size in sizes.items() if not name.startswith("head_"))
    assert (torso, sum(sizes.values())) == (shared, all_of_them)
