"""The written-down LSTM against Haiku's, whose derivatives JAX makes."""

from __future__ import annotations

import re

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.networks import lstm

pytestmark = pytest.mark.usefixtures("double_precision")

N, B, F, H = 7, 3, 4, 5


@pytest.fixture(name="case")
def _case():
    """Weights, inputs, and a state, with episodes that begin in the middle."""
    rng = np.random.default_rng(0)
    w_x, w_h = rng.normal(size=(F, 4 * H)), rng.normal(size=(H, 4 * H))
    first = np.zeros((N, B), bool)
    first[0, 0] = first[3, 1] = first[4, 0] = first[5, 0] = True
    state = lstm.State(rng.normal(size=(B, H)), rng.normal(size=(B, H)))
    return (w_x, w_h, rng.normal(size=4 * H)), rng.normal(size=(N, B, F)), first, state


def ours(weights, x, first, state):
    w_x, w_h, b = weights
    return lstm.unroll(w_h, x @ w_x + b, first, state)


def haikus(weights, x, first, state):
    """Step by step, without a loop of XLA's."""
    step = hk.without_apply_rng(hk.transform(lambda x, s: hk.LSTM(H)(x, s)))
    w_x, w_h, b = weights
    params = {"lstm/linear": {"w": jnp.concatenate([w_x, w_h]), "b": b}}
    state, outputs = hk.LSTMState(*state), []
    for t in range(N):
        state = jax.tree.map(lambda s, t=t: jnp.where(first[t][:, None], 0.0, s), state)
        output, state = step.apply(params, x[t], state)
        outputs.append(output)
    return jnp.stack(outputs)


def objective(unroll, case):
    """A scalar of weights, inputs and state that weighs every output differently."""
    weights, x, first, state = case
    weighing = np.random.default_rng(1).normal(size=(N, B, H))

    def of(eta, weights, x, state):
        outputs = unroll(weights, x, first, lstm.State(*state))
        return jnp.sum(jnp.tanh(eta * weighing) * outputs + eta * outputs**2)

    return of, (weights, x, tuple(state))


def close(found, expected):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
        found,
        expected,
    )


def test_outputs_are_haikus(case):
    close(ours(*case), haikus(*case))


def test_gradients_are_those_jax_derives_of_haikus(case):
    found, expected = (
        jax.grad(of, argnums=(1, 2, 3))(0.7, *arguments)
        for of, arguments in (objective(ours, case), objective(haikus, case))
    )
    close(found, expected)


def test_what_flows_back_through_the_gradient_is_too(case):
    """As the metagradient does: from theta' = theta - grad, to the loss's weights."""

    def after_a_step(of, arguments):
        def loss(eta):
            gradient = jax.grad(of, argnums=1)(eta, *arguments)
            weights = jax.tree.map(
                lambda w, g: w - 0.1 * g / jnp.sqrt(g * g + 1.0), arguments[0], gradient
            )
            return of(0.3, weights, *arguments[1:])

        return jax.value_and_grad(loss)(0.7)

    close(after_a_step(*objective(ours, case)), after_a_step(*objective(haikus, case)))
    assert abs(float(after_a_step(*objective(ours, case))[1])) > 1e-3


def test_a_step_is_an_unroll_of_one_row(case):
    (w_x, w_h, b), x, first, state = case
    hidden = lstm.unroll(w_h, x[:1] @ w_x + b, first[:1], state)
    close(lstm.step(w_h, x[0] @ w_x + b, first[0], state).hidden, hidden[0])


def test_no_product_of_the_size_of_the_weights_is_inside_a_loop(case):
    """Neither in the gradient nor in the gradient through it: that is the point."""
    of, arguments = objective(ours, case)

    def through(eta):
        return jnp.sum(jax.grad(of, argnums=1)(eta, *arguments)[1] ** 2)

    assert _products_in_loops(jax.grad(through), 0.7) == set()
    theirs, arguments = objective(_scanned, case)
    looped = _products_in_loops(jax.grad(theirs, argnums=1), 0.7, *arguments)
    assert looped == {(H, 4 * H)}, "or else this test sees nothing"


def _scanned(weights, x, first, state):
    w_x, w_h, b = weights

    def body(state, row):
        state = lstm.step(w_h, row[0] @ w_x + b, row[1], state)
        return state, state.hidden

    return jax.lax.scan(body, state, (x, first))[1]


def _products_in_loops(function, *arguments):
    """Shapes like that of W_h among the products that XLA left in loops."""
    text = jax.jit(function).lower(*arguments).compile().as_text()
    parts = re.split(r"\n(?=%|ENTRY )", text)
    computations = {re.match(r"(?:ENTRY )?%(\S+)", part)[1]: part for part in parts[1:]}
    waiting = re.findall(r"\bbody=%([\w.-]+)", text)
    assert waiting
    seen, shapes = set(), set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            body = computations[name]
            waiting += re.findall(r"(?:calls|to_apply|body)=%([\w.-]+)", body)
            found = re.findall(r"\[([\d,]*)\]\S* dot\(", body)
            shapes |= {tuple(sorted(map(int, s.split(",")))) for s in found if s}
    return shapes & {(H, 4 * H)}
