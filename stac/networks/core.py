"""The recurrent core: an LSTM that forgets at episode starts, or nothing at all.

The torso's features of a whole batch go in at once; only the core itself is scanned
over time, for a convolution inside an XLA loop runs tens of times slower on a CPU.
"""

from __future__ import annotations

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array

from stac.types import CoreState


def initial_state(size: int, batch_size: int) -> CoreState:
    """Zeros, leaves [batch_size, size]; () where there is no core."""
    if size == 0:
        return ()
    zeros = jnp.zeros((batch_size, size), jnp.float32)
    return hk.LSTMState(hidden=zeros, cell=zeros)


class Core(hk.Module):
    """An LSTM of `size` units over features; the identity when size is 0."""

    def __init__(self, size: int, name: str = "core"):
        super().__init__(name=name)
        self._lstm = hk.LSTM(size) if size else None

    def step(
        self, features: Array, first: Array, state: CoreState
    ) -> tuple[Array, CoreState]:
        """One row: features [E, F], first [E]; `state` is from before the row."""
        if self._lstm is None:
            return features, state
        state = jax.tree.map(lambda s: jnp.where(first[:, None], 0.0, s), state)
        return self._lstm(features, state)

    def unroll(
        self, features: Array, first: Array, state: CoreState
    ) -> tuple[Array, CoreState]:
        """Many rows: features [B, n, F], first [B, n]; the same as n steps."""
        if self._lstm is None:
            return features, state

        def step(state: CoreState, row: tuple[Array, Array]) -> tuple[CoreState, Array]:
            output, state = self.step(*row, state)
            return state, output

        rows = (jnp.swapaxes(features, 0, 1), jnp.swapaxes(first, 0, 1))
        state, outputs = hk.scan(step, state, rows)
        return jnp.swapaxes(outputs, 0, 1), state
