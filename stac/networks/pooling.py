"""Max-pooling whose derivative is fast on a CPU and keeps little.

XLA's own derivative (select-and-scatter) takes as long on a CPU as the convolutions
around it, and keeps the input, which is four times as large as the result. Here the
forward pass keeps the place of each window's maximum, and the derivative is nine
comparisons with it. It is linear in the incoming gradient, and the input does not
depend on the metaparameters, so a metagradient needs no more than that (Algorithm 2).
"""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array

SIZE, STRIDE = 3, 2


def max_pool(x: Array) -> Array:
    """The maximum of 3x3 windows with stride 2 and padding "SAME".

    Args:
      x: [N, H, W, C].

    Returns:
      [N, ceil(H / 2), ceil(W / 2), C].
    """
    window, strides = (1, SIZE, SIZE, 1), (1, STRIDE, STRIDE, 1)
    return hk.max_pool(x, window, strides, "SAME")


@jax.custom_vjp
def max_pool_on_cpu(x: Array) -> Array:
    """The same as `max_pool`, its derivative too: of equal entries the first has it."""
    return max_pool(x)


def _forward(x: Array) -> tuple[Array, tuple[Array, tuple[int, ...]]]:
    """The maxima, and the place of each in its window, 3 row + column: int32.

    One image at a time, so that all but the results stays in the cache, and XLA keeps
    the places themselves, not what they are computed from.
    """
    shape = x.shape[1:3]
    lows = [padding(size) for size in shape]
    spans = [span(size) for size in shape]
    widths = [
        (low, covered + SIZE - 1 - size - low)
        for low, covered, size in zip(lows, spans, shape, strict=True)
    ]

    def entry(padded: Array, k: int) -> Array:
        i, j = divmod(k, SIZE)
        ends = (i + spans[0], j + spans[1], padded.shape[-1])
        return jax.lax.slice(padded, (i, j, 0), ends, (STRIDE, STRIDE, 1))

    def image(x: Array) -> tuple[Array, Array]:
        padded = jnp.pad(x, [*widths, (0, 0)], constant_values=-jnp.inf)
        best = entry(padded, 0)
        place = jnp.zeros(best.shape, jnp.int32)
        for k in range(1, SIZE**2):
            other = entry(padded, k)
            larger = other > best
            best = jnp.where(larger, other, best)
            place = jnp.where(larger, k, place)
        return best, place

    best, place = jax.lax.map(image, x)
    return best, (place, shape)


def _backward(saved: tuple[Array, tuple[int, ...]], upstream: Array) -> tuple[Array]:
    """From the gradients of the maxima, [N, H', W', C], to those of the entries."""
    place, shape = saved
    zero = jnp.zeros((), upstream.dtype)
    parts = []
    for offsets in ((i, j) for i in range(SIZE) for j in range(SIZE)):
        given = jnp.where(place == SIZE * offsets[0] + offsets[1], upstream, zero)
        # Entry k of window w lies at STRIDE w + k - padding.
        spread = [(0, 0, 0)]
        for size, offset in zip(shape, offsets, strict=True):
            start = offset - padding(size)
            spread.append((start, size - start - span(size), STRIDE - 1))
        parts.append(jax.lax.pad(given, zero, [*spread, (0, 0, 0)]))
    return (sum(parts[1:], parts[0]),)


def windows(size: int) -> int:
    """Windows along an axis."""
    return -(-size // STRIDE)


def span(size: int) -> int:
    """Entries along an axis from the first window's first entry to the last's first."""
    return STRIDE * (windows(size) - 1) + 1


def padding(size: int) -> int:
    """Entries that "SAME" adds before an axis."""
    return max(STRIDE * (windows(size) - 1) + SIZE - size, 0) // 2


max_pool_on_cpu.defvjp(_forward, _backward)
