"""One step of theta: the clip, RMSProp and the learning rate, against a slow twin."""

from __future__ import annotations

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from stac.config import OptimizerConfig
from stac.learning import optimizers, update
from tests.learning import golden_case
from tests.learning.golden_case import tiny

pytestmark = pytest.mark.usefixtures("double_precision")

FRAMES, TOTAL = 10, 25  # an update's, and the run's: the fourth begins beyond


def after(case, updates, **numbers):
    """theta after some of the product's updates from a new state, flat, and metrics."""
    rule = case.rule._replace(
        optimizer=OptimizerConfig(**numbers),
        frames_per_update=FRAMES,
        total_frames=TOTAL,
    )
    run = golden_case.compiled(rule)
    state, rows = update.init(rule, case.state.params, jax.random.PRNGKey(0)), []
    for _ in range(updates):
        state, metrics = run(state, case.trajectory)
        rows.append(metrics)
    return state, rows


def flat(params):
    return jax.flatten_util.ravel_pytree(params)[0]


def gradient(case, params):
    """By a step so short, of a root so large, that it is the gradient itself."""
    there = case._replace(state=case.state._replace(params=params))
    numbers = {"learning_rate": 1e15, "end_learning_rate": 1e15, "rms_epsilon": 1e30}
    state, _ = after(there, 1, **numbers, max_gradient_norm=0.0)
    return flat(params) - flat(state.params)


@pytest.mark.parametrize("initial", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.5, 0.0])  # of the first gradient's norm; 0 is off
def test_steps_are_clipped_scaled_and_as_long_as_the_schedule_says(share, initial):
    case = tiny(self_tuned="")  # no metaparameter moves beside theta
    theta, restore = jax.flatten_util.ravel_pytree(case.state.params)
    maximum = share * float(jnp.linalg.norm(gradient(case, case.state.params)))
    numbers = {"rms_epsilon": 0.01, "rms_decay": 0.9, "rms_initial": initial}
    numbers |= {"learning_rate": 1e-3, "end_learning_rate": 1e-4}
    state, rows = after(case, 4, **numbers, max_gradient_norm=maximum)

    moment = np.full(theta.shape, initial)
    for row, rate in zip(rows, (1e-3, 6.4e-4, 2.8e-4, 1e-4), strict=True):
        slope = np.asarray(gradient(case, restore(theta)))
        norm = np.sqrt((slope**2).sum())
        np.testing.assert_allclose(row["gradient_norm"], norm, rtol=1e-9)
        np.testing.assert_allclose(row["learning_rate"], rate, rtol=1e-12)
        assert not maximum or norm > maximum
        slope = slope * (maximum / norm if maximum else 1.0)
        moment = 0.9 * moment + 0.1 * slope**2
        theta = theta - rate * slope / np.sqrt(moment + 0.01)
    np.testing.assert_allclose(flat(state.params), theta, rtol=0, atol=1e-12)
    assert int(state.updates) == 4


def test_clipping_scales_the_whole_gradient_to_the_maximum():
    gradient = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}
    clipped, norm = optimizers.clip_by_global_norm(gradient, 2.5)
    assert norm == 5.0
    np.testing.assert_allclose(clipped["a"], [1.5, 0.0])
    np.testing.assert_allclose(clipped["b"], 2.0)
    for off in (0.0, 6.0):
        same, _ = optimizers.clip_by_global_norm(gradient, off)
        np.testing.assert_array_equal(same["a"], gradient["a"])
    zero = jax.tree.map(jnp.zeros_like, gradient)
    slope = jax.grad(lambda g: optimizers.clip_by_global_norm(g, 1.0)[0]["b"])(zero)
    assert slope["b"] == 1.0
