"""Torsos against twins of loops: what they compute, not only its shape."""

from __future__ import annotations

import re

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import flatten_util

from stac.config import NetworkConfig
from stac.networks import torsos

HEIGHT, WIDTH = 9, 7
CHANNELS = (2, 3)  # of two sections


def applied(torso, observation):
    """Layers in the order they are made, biases not zero, and what the torso makes."""
    network = hk.without_apply_rng(hk.transform(torso))
    rng = np.random.default_rng(1)
    params = {
        name: {"w": layer["w"], "b": rng.standard_normal(layer["b"].shape)}
        for name, layer in network.init(jax.random.PRNGKey(0), observation).items()
    }
    return list(params.values()), np.asarray(network.apply(params, observation))


def windows(image, stride):
    """3x3 windows [H', W', 3, 3, C], padded so that H' = H / stride, rounded up."""
    sides = []
    for size in image.shape[:2]:
        missing = max((-(-size // stride) - 1) * stride + 3 - size, 0)
        sides.append((missing // 2, missing - missing // 2))
    padded = np.pad(image, (*sides, (0, 0)), constant_values=np.nan)
    down, right = (np.arange(0, size - 2, stride) for size in padded.shape[:2])
    return np.array([[padded[i : i + 3, j : j + 3] for j in right] for i in down])


def convolved(image, layer, stride=1):
    seen = np.nan_to_num(windows(image, stride))
    return np.einsum("hwijc,ijcd->hwd", seen, layer["w"]) + layer["b"]


def relu(x):
    return np.maximum(x, 0.0)


@pytest.mark.parametrize(("pool", "dense"), [(True, 0), (False, 0), (True, 5)])
def test_the_residual_torso(pool, dense):
    images = np.random.default_rng(0).integers(0, 255, (2, 4, HEIGHT, WIDTH), np.uint8)
    layers, found = applied(
        lambda x: torsos.ResidualTorso(CHANNELS, pool, dense)(x), images
    )
    for image, features in zip(images, found, strict=True):
        x, remaining = np.moveaxis(image, 0, -1) / 255.0, iter(layers)
        for _ in CHANNELS:
            x = convolved(x, next(remaining), stride=1 if pool else 2)
            if pool:
                x = np.nanmax(windows(x, stride=2), axis=(2, 3))
            for _ in range(2):
                inside = convolved(relu(x), next(remaining))
                x = x + convolved(relu(inside), next(remaining))
        x = relu(x).ravel()
        if dense:
            last = next(remaining)
            x = relu(x @ last["w"] + last["b"])
        np.testing.assert_allclose(features, x, rtol=1e-4, atol=1e-5)


def test_the_mlp_torso():
    rows = np.random.default_rng(0).standard_normal((3, 5))
    layers, found = applied(lambda x: torsos.MlpTorso((4, 6))(x), rows)
    for layer in layers:
        rows = relu(rows @ layer["w"] + layer["b"])
    np.testing.assert_allclose(found, rows, rtol=1e-5)
    assert (found == 0).any()
    image = np.full((1, 2, 3, 3), 255, np.uint8)  # is in [0, 1], as for the others
    (layer,), found = applied(lambda x: torsos.MlpTorso((4,))(x), image)
    ones = relu(np.ones((1, 18)) @ layer["w"] + layer["b"])
    np.testing.assert_allclose(found, ones, rtol=1e-5)


@pytest.mark.parametrize("name", ["minatar", "minatar_convolution"])
def test_the_torso_of_minatar_is_its_convolution_and_its_dense_layer_if_any(name):
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(2, 4, 10, 10)).astype(np.uint8)
    layers, features = applied(lambda x: torsos.make(NetworkConfig(name))(x), image)
    convolution, *dense = layers
    for n in range(2):
        x = np.moveaxis(image[n], 0, -1) / 255.0
        expected = np.maximum(convolved(x, convolution)[1:-1, 1:-1], 0).reshape(-1)
        for layer in dense:
            expected = np.maximum(expected @ layer["w"] + layer["b"], 0)
        np.testing.assert_allclose(features[n], expected, rtol=1e-4, atol=1e-5)
    sizes = {"minatar": [36 * 16, 1024 * 128], "minatar_convolution": [36 * 16]}
    assert [layer["w"].size for layer in layers] == sizes[name]


@pytest.mark.parametrize(
    ("window", "stride", "shape"), [(8, 4, (3, 39, 24, 2)), (4, 2, (3, 9, 11, 5))]
)
def test_a_convolution_by_blocks_is_haikus(window, stride, shape):
    """Its parameters too, and its derivatives; some sizes leave pixels over."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    layers = [
        hk.without_apply_rng(hk.transform(layer))
        for layer in (
            lambda x: torsos.BlockConv2D(6, window, stride)(x),
            lambda x: hk.Conv2D(6, window, stride, padding="VALID")(x),
        )
    ]
    params = [layer.init(jax.random.PRNGKey(0), x) for layer in layers]
    chex.assert_trees_all_equal(*params)
    params = jax.tree.map(lambda p: p + 0.1, params[0])  # biases not zero
    ours, haikus = (layer.apply(params, x) for layer in layers)
    np.testing.assert_allclose(ours, haikus, atol=1e-5)
    ours, haikus = (
        jax.grad(lambda *to, a=layer.apply: jnp.sum(jnp.sin(a(*to))), (0, 1))(params, x)
        for layer in layers
    )
    chex.assert_trees_all_close(ours, haikus, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "dtype"),
    [
        pytest.param("deep", (4, 21, 21), np.uint8, marks=pytest.mark.slow),
        ("residual_strided", (3, 20, 20), np.uint8),
        ("shallow", (4, 36, 36), np.uint8),
        ("minatar", (4, 10, 10), np.uint8),
        ("mlp", (7,), np.float32),
    ],
)
def test_in_bfloat16_a_torso_has_the_same_parameters_and_nearly_its_features(
    name, shape, dtype
):
    """And its derivatives, of which the metagradient takes the second."""
    images = (np.random.default_rng(0).random((3, *shape)) * 255).astype(dtype)
    whole, half = (
        hk.without_apply_rng(
            hk.transform(lambda x, c=c: torsos.make(c)(x))  # type: ignore[misc]
        )
        for c in (NetworkConfig(name), NetworkConfig(name, torso_bfloat16=True))
    )
    params = half.init(jax.random.PRNGKey(0), images)
    chex.assert_trees_all_equal(params, whole.init(jax.random.PRNGKey(0), images))

    def loss(params, apply):
        return jnp.mean(apply(params, images) ** 2)

    def second(params, apply):
        gradient = flatten_util.ravel_pytree(jax.grad(loss)(params, apply))[0]
        return jnp.linalg.norm(gradient)

    for function, near in (
        (lambda params, apply: apply(params, images), 0.02),
        (jax.grad(loss), 0.05),
        (jax.grad(second), 0.1),
    ):
        found, exact = (
            flatten_util.ravel_pytree(jax.jit(function, static_argnums=1)(params, x))[0]
            for x in (half.apply, whole.apply)
        )
        assert found.dtype == exact.dtype == jnp.float32
        error = jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact)
        assert 1e-5 < error < near
    program = str(jax.make_jaxpr(half.apply)(params, images))
    layers = re.findall(r"(\w+)\[[^\]]*\] = (?:conv_gen|dot_gen)", program)
    assert layers == ["bf16"] * len(params)
