"""A convolution with derivatives of our own, beside XLA's."""

from __future__ import annotations

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.networks import convolutions

Y = jnp.sin  # so that second derivatives are not zero


def loss(convolve, images, weights):
    return jnp.mean(Y(convolve(images, weights)) ** 2)


def second(convolve, images, weights):
    """Of gradients near 1: the sine of a large number shows its rounding alone."""
    by_images, by_weights = jax.grad(functools.partial(loss, convolve), (0, 1))(
        images, weights
    )
    return jnp.mean(Y(images.size * by_images)) + jnp.mean(Y(10 * by_weights))


@pytest.mark.parametrize("function", [loss, second])
@pytest.mark.parametrize("count", [1, 17, 36])
def test_derivatives_and_those_of_derivatives_are_xlas(function, count):
    """Of fewer images than come at a time, of one more, and of several times."""
    numbers = np.random.default_rng(count)
    images = numbers.standard_normal((count, 5, 7, 3)).astype(np.float32)
    weights = 0.2 * numbers.standard_normal((2, 3, 3, 4)).astype(np.float32)

    def xlas(images, weights):
        return jax.lax.conv_general_dilated(
            images, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    ours, expected = (
        jax.jit(jax.value_and_grad(functools.partial(function, c), (0, 1)))
        for c in (convolutions.convolution, xlas)
    )
    chex.assert_trees_all_close(
        ours(images, weights), expected(images, weights), rtol=1e-4, atol=1e-6
    )
