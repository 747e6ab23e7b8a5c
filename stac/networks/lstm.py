"""An LSTM over time whose weights are met outside the loop, forwards and backwards.

    gates_t = x_t W_x + h_{t-1} W_h + b          i, g, f, o = split(gates_t)
    c_t = sigmoid(f + 1) c_{t-1} + sigmoid(i) tanh(g)
    h_t = sigmoid(o) tanh(c_t)

(Hochreiter & Schmidhuber, 1997, with a forget gate and its bias of 1 as in Haiku.) The
product x W_x is one for all rows, before the loop. Derived by JAX, the loop's backward
pass would add a product to the gradient of W_h at every step, and these, not the steps,
are most of an update from features on a CPU. So the backward pass is written down: it
carries only the gradients of h and c, and W_h's gradient is one product after it.

It is derived once more, for the metagradient flows back through the inner gradient. In
what reaches it (Algorithm 2) only the incoming gradients depend on the metaparameters,
so that derivative is again a loop without W_h's gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

FORGET_BIAS = 1.0


class State(NamedTuple):
    """Between two rows."""

    hidden: Array  # [B, H]
    cell: Array  # [B, H]


class Gates(NamedTuple):
    """After their squashes, [..., H] each."""

    input: Array
    candidate: Array
    forget: Array
    output: Array


class _Saved(NamedTuple):
    """What the backward pass reads; time first."""

    weights: Array  # [H, 4H]
    first: Array  # [n, B]
    gates: Gates  # [n, B, H]
    before: State  # [n, B, H]: what row t started from, zeros where it is first
    cell: Array  # [n, B, H]


def gates(x: Array) -> Gates:
    """[..., 4H] -> [..., H] each."""
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
    return _step(weights, projected, first, state)[0]


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
    def body(state: State, row: tuple[Array, Array]) -> tuple[State, tuple]:
        after, opened, before = _step(weights, *row, state)
        return after, (after, opened, before)

    _, (after, opened, before) = jax.lax.scan(body, state, (projected, first))
    return after.hidden, _Saved(weights, first, opened, before, after.cell)


def _backward(saved: _Saved, upstream: Array) -> tuple[Array, Array, None, State]:
    """From the gradients of the hidden states, [n, B, H], to those of the arguments."""

    def body(later: State, row: tuple) -> tuple[State, Array]:
        gradient, first, opened, before, cell = row
        hidden = gradient + later.hidden
        squashed = jnp.tanh(cell)
        of_cell = later.cell + hidden * opened.output * (1.0 - squashed**2)
        i, g, f, o = opened
        of_gates = jnp.concatenate(
            [
                of_cell * g * i * (1.0 - i),
                of_cell * i * (1.0 - g**2),
                of_cell * before.cell * f * (1.0 - f),
                hidden * squashed * o * (1.0 - o),
            ],
            axis=-1,
        )
        earlier = State(of_gates @ saved.weights.T, of_cell * f)
        return _forget(first, earlier), of_gates

    nothing = jax.tree.map(jnp.zeros_like, State(saved.cell[0], saved.cell[0]))
    rows = (upstream, saved.first, saved.gates, saved.before, saved.cell)
    state, of_gates = jax.lax.scan(body, nothing, rows, reverse=True)
    of_weights = jnp.einsum("tbh,tbg->hg", saved.before.hidden, of_gates)
    return of_weights, of_gates, None, state


unroll.defvjp(_forward, _backward)


def _step(
    weights: Array, projected: Array, first: Array, state: State
) -> tuple[State, Gates, State]:
    """The state after a row, its gates, and the state it started from."""
    before = _forget(first, state)
    opened = gates(projected + before.hidden @ weights)
    cell = opened.forget * before.cell + opened.input * opened.candidate
    return State(opened.output * jnp.tanh(cell), cell), opened, before


def _forget(first: Array, state: State) -> State:
    return jax.tree.map(lambda s: jnp.where(first[:, None], 0.0, s), state)
