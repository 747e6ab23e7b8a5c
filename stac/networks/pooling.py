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
    """The maxima, and the place of each in its window, 3 row + column: int32."""
    none = jnp.zeros(x.shape, jnp.int32)
    best, column = _largest(x, none, 2, step=1)
    best, place = _largest(best, column, 1, step=SIZE)
    return best, (place, x.shape[1:3])


def _largest(x: Array, place: Array, axis: int, step: int) -> tuple[Array, Array]:
    """The largest of every three entries along an axis, and its place.

    The place of the k-th of three is its own plus `k step`. The barriers keep XLA from
    computing a chain of comparisons again for every place where it is read.
    """
    best, found = _entries(x, axis, -jnp.inf), _entries(place, axis, 0)
    largest, at = best[0], found[0]
    for k in (1, 2):
        larger = best[k] > largest
        largest = jnp.where(larger, best[k], largest)
        at = jnp.where(larger, found[k] + k * step, at)
    return jax.lax.optimization_barrier((largest, at))


def _entries(x: Array, axis: int, outside: float) -> list[Array]:
    """The first, second and third entries of all windows along an axis."""
    size = x.shape[axis]
    count, low = windows(size), padding(size)
    whole = STRIDE * (count + 1)
    widths = [(0, 0)] * x.ndim
    widths[axis] = (low, whole - size - low)
    padded = jnp.pad(x, widths, constant_values=jnp.asarray(outside, x.dtype))
    pairs = (*x.shape[:axis], count + 1, STRIDE, *x.shape[axis + 1 :])
    padded = jax.lax.optimization_barrier(padded.reshape(pairs))
    first, second = (jnp.take(padded, k, axis=axis + 1) for k in range(STRIDE))
    without_last = [slice(None)] * axis + [slice(0, count)]
    without_first = [slice(None)] * axis + [slice(1, count + 1)]
    return [
        first[tuple(without_last)],
        second[tuple(without_last)],
        first[tuple(without_first)],
    ]


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
            covered = STRIDE * (windows(size) - 1) + 1
            spread.append((start, size - start - covered, STRIDE - 1))
        parts.append(jax.lax.pad(given, zero, [*spread, (0, 0, 0)]))
    return (sum(parts[1:], parts[0]),)


def windows(size: int) -> int:
    """Windows along an axis."""
    return -(-size // STRIDE)


def padding(size: int) -> int:
    """Entries that "SAME" adds before an axis."""
    return max(STRIDE * (windows(size) - 1) + SIZE - size, 0) // 2


max_pool_on_cpu.defvjp(_forward, _backward)
