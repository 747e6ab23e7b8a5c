"""The recurrent core: an LSTM that forgets at episode starts, or nothing at all.

Only the core is scanned over time: a convolution inside an XLA loop runs tens of times
slower on a CPU. Its products with weights leave the loop where they can.

    gates_t = x_t W_x + h_{t-1} W_h + b          i, g, f, o = split(gates_t)
    c_t = sigmoid(f + 1) c_{t-1} + sigmoid(i) tanh(g)
    h_t = sigmoid(o) tanh(c_t)

(Hochreiter & Schmidhuber, 1997, with a forget gate and its bias of 1 as in Haiku.) The
product x W_x is one for all rows, before the loop. Derived by JAX, the loop's backward
pass would add a product to the gradient of W_h at every step, and these, not the steps,
are most of an update from features on a CPU. So the backward pass is written down: it
carries only the gradients of h and c, and W_h's gradient is one product after it.

JAX differentiates the backward pass once more, because the metagradient flows back
through the inner gradient. Of its inputs only the incoming gradients depend on the
metaparameters (Algorithm 2), so that derivative, too, is a loop without W_h's gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array

from stac.types import CoreState

FORGET_BIAS = 1.0


class State(NamedTuple):
    """The state between two rows."""

    hidden: Array  # [B, H]
    cell: Array  # [B, H]


def initial_state(size: int, batch_size: int) -> CoreState:
    """Zeros, leaves [batch_size, size]; () where there is no core."""
    if size == 0:
        return ()
    zeros = jnp.zeros((batch_size, size), jnp.float32)
    return State(hidden=zeros, cell=zeros)


@dataclasses.dataclass
class Core(hk.Module):
    """An LSTM of `size` units over features; the identity when size is 0."""

    size: int
    name: str = "core"

    def step(
        self, features: Array, first: Array, state: CoreState
    ) -> tuple[Array, CoreState]:
        """One row: features [E, F], first [E]; `state` is from before the row."""
        if self.size == 0:
            return features, state
        projected, weights = self._project(features)
        state = step(weights, projected, first, state)
        return state.hidden, state

    def unroll(self, features: Array, first: Array, state: CoreState) -> Array:
        """Many rows: features [B, n, F], first [B, n]; the same as n steps."""
        if self.size == 0:
            return features
        return jnp.swapaxes(unroll(*self._by_time(features, first), state), 0, 1)

    def warm(self, features: Array, first: Array, state: CoreState) -> CoreState:
        """The state after the rows of `unroll`."""
        hidden, saved = _forward(*self._by_time(features, first), state)
        return State(hidden[-1], saved.cell[-1])

    def _by_time(self, features: Array, first: Array) -> tuple[Array, Array, Array]:
        """W_h, x W_x + b and first, time first."""
        features, first = jnp.swapaxes(features, 0, 1), jnp.swapaxes(first, 0, 1)
        rows = features.reshape(-1, features.shape[-1])  # one product for all
        projected, weights = self._project(rows)
        return weights, projected.reshape(*first.shape, -1), first

    def _project(self, features: Array) -> tuple[Array, Array]:
        """Returns x W_x + b and W_h, initialised as the one matrix of Haiku's LSTM."""
        inputs, size = features.shape[-1], self.size
        draw = hk.initializers.TruncatedNormal(stddev=(inputs + size) ** -0.5)
        w_x = hk.get_parameter("w_x", (inputs, 4 * size), init=draw)
        w_h = hk.get_parameter("w_h", (size, 4 * size), init=draw)
        b = hk.get_parameter("b", (4 * size,), init=jnp.zeros)
        return _by_gate(lambda w, b: features @ w + b, w_x, b), w_h


class Gates(NamedTuple):
    """The four gates after their squashes, [..., H] each."""

    input: Array
    candidate: Array
    forget: Array
    output: Array


class _Saved(NamedTuple):
    """Values that the forward pass keeps for the backward pass; time first."""

    weights: Array  # [H, 4H]
    projected: Array  # [n, B, 4H]
    first: Array  # [n, B]
    before: State  # [n, B, H]: the state before row t, zeros where it is first
    cell: Array  # [n, B, H]


class _Slopes(NamedTuple):
    """Derivatives within one row, [..., H] each; known before the backward loop."""

    cell: Array  # d c_t / d h_t, of the gradient
    input: Array  # d c_t / d gate before its squash, and the next two
    candidate: Array
    forget: Array
    output: Array  # d h_t / d gate before its squash
    carried: Array  # d c_t / d c_{t-1}


class _Weights(NamedTuple):
    """W_h laid out for both directions.

    XLA on a CPU multiplies by a transposed matrix in a loop several times slower than
    by one in the right layout, so both are laid out before the loop.
    """

    matrix: Array  # [H, 4H]
    transposed: Array  # [4H, H]


def gates(x: Array) -> Gates:
    """Squashes the sums of all four gates: [..., 4H] -> [..., H] each."""
    i, g, f, o = jnp.split(x, 4, axis=-1)
    return Gates(
        jax.nn.sigmoid(i),
        jnp.tanh(g),
        jax.nn.sigmoid(f + FORGET_BIAS),
        jax.nn.sigmoid(o),
    )


def step(weights: Array, projected: Array, first: Array, state: State) -> State:
    """One row.

    Args:
      weights: [H, 4H], W_h.
      projected: [B, 4H], x W_x + b.
      first: [B] bool; the state before such a row is forgotten.
      state: [B, H], from before the row.
    """
    state = _forget(first, state)
    opened = gates(projected + state.hidden @ weights)
    cell = opened.forget * state.cell + opened.input * opened.candidate
    return State(opened.output * jnp.tanh(cell), cell)


@jax.custom_vjp
def unroll(weights: Array, projected: Array, first: Array, state: State) -> Array:
    """n rows, the same as n steps.

    Args:
      weights: [H, 4H], W_h.
      projected: [n, B, 4H], x W_x + b, time first.
      first: [n, B] bool.
      state: [B, H], from before row 0.

    Returns:
      The hidden states, [n, B, H].
    """
    return _forward(weights, projected, first, state)[0]


def _forward(
    weights: Array, projected: Array, first: Array, state: State
) -> tuple[Array, _Saved]:
    def body(state: State, row: tuple[Array, Array]) -> tuple[State, State]:
        state = step(weights, *row, state)
        return state, state

    _, after = jax.lax.scan(body, state, (projected, first))
    before = jax.tree.map(
        lambda s, later: jnp.concatenate([s[None], later[:-1]]), state, after
    )
    before = _forget(first, before)
    return after.hidden, _Saved(weights, projected, first, before, after.cell)


def _backward(saved: _Saved, upstream: Array) -> tuple[Array, Array, None, State]:
    """From the gradients of the hidden states, [n, B, H], to those of the arguments."""
    weights = _Weights(*jax.lax.optimization_barrier((saved.weights, saved.weights.T)))

    def body(later: State, row: tuple[Array, Array, _Slopes]) -> tuple[State, Array]:
        gradient, first, slope = row
        hidden = gradient + later.hidden
        cell = later.cell + hidden * slope.cell
        gates_gradient = jnp.concatenate(
            [
                cell * slope.input,
                cell * slope.candidate,
                cell * slope.forget,
                hidden * slope.output,
            ],
            axis=-1,
        )
        earlier = State(
            _times_transposed(gates_gradient, weights), cell * slope.carried
        )
        return _forget(first, earlier), gates_gradient

    nothing = jax.tree.map(jnp.zeros_like, State(saved.cell[0], saved.cell[0]))
    rows = (upstream, saved.first, _slopes(saved))
    state, gates_gradient = jax.lax.scan(body, nothing, rows, reverse=True)
    hidden = _rows(saved.before.hidden).T
    weights_gradient = _by_gate(lambda part: hidden @ part, _rows(gates_gradient))
    return weights_gradient, gates_gradient, None, state


unroll.defvjp(_forward, _backward)


def _slopes(saved: _Saved) -> _Slopes:
    """One product and elementwise work for all rows, cheaper than to save the gates."""
    before = saved.before
    recurrent = (_rows(before.hidden) @ saved.weights).reshape(saved.projected.shape)
    i, g, f, o = gates(saved.projected + recurrent)
    squashed = jnp.tanh(saved.cell)
    return _Slopes(
        cell=o * (1.0 - squashed**2),
        input=g * i * (1.0 - i),
        candidate=i * (1.0 - g**2),
        forget=before.cell * f * (1.0 - f),
        output=squashed * o * (1.0 - o),
        carried=f,
    )


@jax.custom_vjp
def _times_transposed(x: Array, weights: _Weights) -> Array:
    """[B, 4H] -> [B, H]; the derivative that JAX derives would transpose again."""
    return x @ weights.transposed


def _times_forward(x: Array, weights: _Weights) -> tuple[Array, tuple[Array, _Weights]]:
    return x @ weights.transposed, (x, weights)


def _times_backward(
    saved: tuple[Array, _Weights], upstream: Array
) -> tuple[Array, _Weights]:
    x, weights = saved
    weights_gradient = _Weights(jnp.zeros_like(weights.matrix), x.T @ upstream)
    return upstream @ weights.matrix, weights_gradient


_times_transposed.defvjp(_times_forward, _times_backward)


def _by_gate(function: Callable[..., Array], *arrays: Array) -> Array:
    """`function` of each gate's quarter of the arrays' last axis, side by side.

    XLA on a CPU takes a third less time for the gradient of the weights in four
    products than in one, and the sum over rows of the bias's is cheaper, too.
    """
    quarters = (jnp.split(array, 4, axis=-1) for array in arrays)
    return jnp.concatenate(
        [function(*gate) for gate in zip(*quarters, strict=True)], axis=-1
    )


def _rows(x: Array) -> Array:
    """[n, B, F] -> [n B, F]: one matrix product instead of n."""
    return x.reshape(-1, x.shape[-1])


def _forget(first: Array, state: State) -> State:
    return jax.tree.map(lambda s: jnp.where(first[..., None], 0.0, s), state)
