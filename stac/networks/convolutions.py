"""A convolution whose derivatives are fast on a CPU, of any order by `jax.grad`.

XLA's derivative by the weights copies all images into another order first. Here it is a
product for a few images at a time, which stay in the cache (docs/performance.md). The
convolution and its two derivatives are each bilinear, and the derivatives of each are
the other two; so three functions are enough for derivatives of derivatives.

Images are [N, H, W, C], weights [K, L, C, O] and outputs [N, P, Q, O], where P is
H - K + 1 and Q is W - L + 1: there is no padding and no stride.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

_IMAGES = 16  # at a time


@jax.custom_vjp
def convolution(images: Array, weights: Array) -> Array:
    """The outputs."""
    return jax.lax.conv_general_dilated(
        images, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def by_images(gradients: Array, weights: Array) -> Array:
    """The gradient by the images, from that by the outputs."""
    sides = [(size - 1, size - 1) for size in weights.shape[:2]]
    turned = weights[::-1, ::-1]
    return jax.lax.conv_general_dilated(
        gradients, turned, (1, 1), sides, dimension_numbers=("NHWC", "HWOI", "NHWC")
    )


@jax.custom_vjp
def by_weights(images: Array, gradients: Array) -> Array:
    """The gradient by the weights, from that by the outputs."""
    height, width = (
        n - m + 1 for n, m in zip(images.shape[1:3], gradients.shape[1:3], strict=True)
    )
    shape = (images.shape[-1], height, width, gradients.shape[-1])

    def add(total: Array, some: tuple[Array, Array]) -> tuple[Array, None]:
        some_images, some_gradients = some
        # Each pixel beside the outputs that it takes part in.
        beside = [
            jnp.pad(
                some_gradients,
                ((0, 0), (i, height - 1 - i), (j, width - 1 - j), (0, 0)),
            )
            for i in range(height)
            for j in range(width)
        ]
        pixels = jnp.reshape(some_images, (-1, shape[0]))
        outputs = jnp.concatenate(beside, axis=-1).reshape(len(pixels), -1)
        product = jnp.matmul(pixels.T, outputs, preferred_element_type=jnp.float32)
        return total + product.reshape(shape), None

    def split(array: Array) -> Array:
        rest = -len(array) % _IMAGES  # zeros add nothing
        padded = jnp.pad(array, ((0, rest), (0, 0), (0, 0), (0, 0)))
        return padded.reshape(-1, _IMAGES, *array.shape[1:])

    parts = (split(images), split(gradients))
    total, _ = jax.lax.scan(add, jnp.zeros(shape, jnp.float32), parts)
    return jnp.moveaxis(total, 0, 2).astype(images.dtype)


convolution.defvjp(
    lambda images, weights: (convolution(images, weights), (images, weights)),
    lambda kept, gradients: (
        by_images(gradients, kept[1]),
        by_weights(kept[0], gradients),
    ),
)
by_images.defvjp(
    lambda gradients, weights: (by_images(gradients, weights), (gradients, weights)),
    lambda kept, images: (convolution(images, kept[1]), by_weights(images, kept[0])),
)
by_weights.defvjp(
    lambda images, gradients: (by_weights(images, gradients), (images, gradients)),
    lambda kept, weights: (by_images(kept[1], weights), convolution(kept[0], weights)),
)
