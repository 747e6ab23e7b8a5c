"""Our derivative of max-pooling against XLA's."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.networks import pooling

SIZES = [(84, 84), (42, 42), (21, 21), (8, 7), (1, 2)]


@pytest.mark.parametrize("size", SIZES)
def test_the_derivative_is_xlas_of_equal_entries_too(size):
    """Whole numbers are often equal; flat parts of a screen always are."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 3, size=(2, *size, 3)), jnp.float32)
    expected, xlas = jax.vjp(jax.jit(pooling.max_pool), x)
    actual, ours = jax.vjp(jax.jit(pooling.max_pool_on_cpu), x)
    np.testing.assert_array_equal(actual, expected)
    np.testing.assert_array_equal(pooling.max_pool_on_cpu(x), expected)
    gradient = jnp.asarray(rng.normal(size=expected.shape), jnp.float32)
    np.testing.assert_allclose(ours(gradient)[0], xlas(gradient)[0], atol=1e-5)


def test_the_gradient_of_a_gradient_by_its_weights_is_xlas():
    """A metagradient flows through the backward pass to what weighs the losses."""
    rng = np.random.default_rng(1)
    x, weight, outer = (
        jnp.asarray(rng.normal(size=shape), jnp.float32)
        for shape in [(2, 9, 8, 3), (2, 5, 4, 3), (2, 9, 8, 3)]
    )

    def metagradient(pool, raw):
        def after(raw):
            gradient = jax.grad(lambda x: jnp.sum(jnp.tanh(raw) * pool(x)))(x)
            return jnp.sum(outer * jnp.sin(gradient))

        return jax.grad(after)(raw)

    np.testing.assert_allclose(
        metagradient(pooling.max_pool_on_cpu, weight),
        metagradient(pooling.max_pool, weight),
        atol=1e-6,
    )
