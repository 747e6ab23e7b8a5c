"""The recurrent core: an LSTM that forgets at episode starts, or nothing at all.

Its input is the torso's features of a whole batch at once. Only the core is scanned
over time, because a convolution inside an XLA loop runs tens of times slower on a CPU.
"""

from __future__ import annotations

import haiku as hk
import jax.numpy as jnp
from jax import Array

from stac.networks import lstm
from stac.types import CoreState


def initial_state(size: int, batch_size: int) -> CoreState:
    """Zeros, leaves [batch_size, size]; () where there is no core."""
    if size == 0:
        return ()
    zeros = jnp.zeros((batch_size, size), jnp.float32)
    return lstm.State(hidden=zeros, cell=zeros)


class Core(hk.Module):
    """An LSTM of `size` units over features; the identity when size is 0."""

    def __init__(self, size: int, name: str = "core"):
        super().__init__(name=name)
        self._size = size

    def step(
        self, features: Array, first: Array, state: CoreState
    ) -> tuple[Array, CoreState]:
        """One row: features [E, F], first [E]; `state` is from before the row."""
        if self._size == 0:
            return features, state
        projected, weights = self._project(features)
        state = lstm.step(weights, projected, first, state)
        return state.hidden, state

    def unroll(self, features: Array, first: Array, state: CoreState) -> Array:
        """Many rows: features [B, n, F], first [B, n]; the same as n steps."""
        if self._size == 0:
            return features
        features, first = jnp.swapaxes(features, 0, 1), jnp.swapaxes(first, 0, 1)
        rows = features.reshape(-1, features.shape[-1])  # one product for all
        projected, weights = self._project(rows)
        projected = projected.reshape(*first.shape, -1)
        return jnp.swapaxes(lstm.unroll(weights, projected, first, state), 0, 1)

    def _project(self, features: Array) -> tuple[Array, Array]:
        """Returns x W_x + b and W_h, initialised as the one matrix of Haiku's LSTM."""
        inputs, size = features.shape[-1], self._size
        draw = hk.initializers.TruncatedNormal(stddev=(inputs + size) ** -0.5)
        w_x = hk.get_parameter("w_x", (inputs, 4 * size), init=draw)
        w_h = hk.get_parameter("w_h", (size, 4 * size), init=draw)
        b = hk.get_parameter("b", (4 * size,), init=jnp.zeros)
        return features @ w_x + b, w_h
