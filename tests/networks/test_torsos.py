"""Torsos against twins of loops: what they compute, not only its shape."""

from __future__ import annotations

import haiku as hk
import jax
import numpy as np
import pytest

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


def test_the_torso_of_minatar_is_its_convolution_and_its_dense_layer():
    rng = np.random.default_rng(0)
    image = rng.integers(256, size=(2, 4, 10, 10)).astype(np.uint8)
    layers, features = applied(lambda x: torsos.MinAtarTorso()(x), image)
    convolution, dense = layers
    for n in range(2):
        x = np.moveaxis(image[n], 0, -1) / 255.0
        y = np.maximum(convolved(x, convolution)[1:-1, 1:-1], 0).reshape(-1)
        expected = np.maximum(y @ dense["w"] + dense["b"], 0)
        np.testing.assert_allclose(features[n], expected, rtol=1e-4, atol=1e-5)
    assert sum(layer["w"].size for layer in layers) == 36 * 16 + 1024 * 128
