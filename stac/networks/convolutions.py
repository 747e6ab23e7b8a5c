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

_IMAGES = 16  # at a time, at most


@jax.custom_vjp
def convolution(images: Array, weights: Array) -> Array:
    """The outputs."""
    return jax.lax.conv_general_dilated(
        images, weights, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


@jax.custom_vjp
def by_images(outputs: Array, weights: Array) -> Array:
    """The gradient by the images, from that by the outputs."""
    sides = [(size - 1, size - 1) for size in weights.shape[:2]]
    turned = weights[::-1, ::-1]
    return jax.lax.conv_general_dilated(
        outputs, turned, (1, 1), sides, dimension_numbers=("NHWC", "HWOI", "NHWC")
    )


@jax.custom_vjp
def by_weights(images: Array, outputs: Array) -> Array:
    """The gradient by the weights, from that by the outputs."""
    count, *size = images.shape[:3]
    down, right = (n - m + 1 for n, m in zip(size, outputs.shape[1:3], strict=True))
    several = max(n for n in range(1, _IMAGES + 1) if count % n == 0)
    shape = (images.shape[-1], down, right, outputs.shape[-1])

    def add(total: Array, parts: tuple[Array, Array]) -> tuple[Array, None]:
        some, gradients = parts
        # Each pixel beside the outputs that it takes part in.
        beside = [
            jnp.pad(gradients, ((0, 0), (i, down - 1 - i), (j, right - 1 - j), (0, 0)))
            for i in range(down)
            for j in range(right)
        ]
        pixels = jnp.reshape(some, (-1, shape[0]))
        sums = jnp.concatenate(beside, axis=-1).reshape(len(pixels), -1)
        product = jnp.matmul(pixels.T, sums, preferred_element_type=jnp.float32)
        return total + product.reshape(shape), None

    def split(array: Array) -> Array:
        return array.reshape(count // several, several, *array.shape[1:])

    parts = (split(images), split(outputs))
    total, _ = jax.lax.scan(add, jnp.zeros(shape, jnp.float32), parts)
    return jnp.moveaxis(total, 0, 2).astype(images.dtype)


convolution.defvjp(
    lambda images, weights: (convolution(images, weights), (images, weights)),
    lambda kept, outputs: (by_images(outputs, kept[1]), by_weights(kept[0], outputs)),
)
by_images.defvjp(
    lambda outputs, weights: (by_images(outputs, weights), (outputs, weights)),
    lambda kept, images: (convolution(images, kept[1]), by_weights(images, kept[0])),
)
by_weights.defvjp(
    lambda images, outputs: (by_weights(images, outputs), (images, outputs)),
    lambda kept, weights: (by_images(kept[1], weights), convolution(kept[0], weights)),
)
