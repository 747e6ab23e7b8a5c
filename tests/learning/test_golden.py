"""One whole update equals golden values computed by another implementation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from stac.agents.base import no_devices
from stac.config import METAPARAMETERS
from stac.learning import losses, metaparameters, update
from tests.learning import golden_case

PRECISIONS = {"float64": (np.float64, 1e-8), "float32": (np.float32, 1e-4)}


@pytest.fixture(params=sorted(PRECISIONS))
def precision(request):
    dtype, tolerance = PRECISIONS[request.param]
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", dtype is np.float64)
    yield dtype, tolerance
    jax.config.update("jax_enable_x64", before)


def close(actual, expected, tolerance, scale=None):
    """Relative to the array's largest entry: single entries may cancel to nothing."""
    expected = np.asarray(expected, np.float64)
    scale = np.max(np.abs(expected)) if scale is None else scale
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def test_the_new_state_losses_and_metagradients_equal_the_golden_ones(
    golden, precision
):
    dtype, tolerance = precision
    rule, state, trajectory = golden_case.build(golden, dtype)
    run = jax.jit(lambda s, t: update.update(rule, s, t, no_devices))
    new, metrics = run(state, trajectory)
    expected = golden["expected"]
    for key, value in expected["new_params"].items():
        assert new.params[key].dtype == dtype
        close(new.params[key], value, tolerance)
    for key, value in expected["new_nu"].items():
        close(new.optimizer.nu[key], value, tolerance)
    for key, value in expected["new_raw"].items():
        close(new.metaparameters[key], value, tolerance)
        moved = new.metaparameters[key] - state.metaparameters[key]
        moved_expected = np.subtract(value, golden["case"]["raw"][key])
        # The step itself, which the value's size would hide. Where a metagradient is
        # below Adam's epsilon, its rounding (below) shows in the step.
        close(moved, moved_expected, 1e-6 if dtype == np.float64 else 2e-3, scale=1e-3)
    for term, value in expected["outer"]["terms"].items():
        close(metrics[f"outer/{term}"], value, tolerance)
    close(metrics["outer/kl"], expected["outer"]["kl"], tolerance)
    close(metrics["outer/total"], expected["outer"]["total"], tolerance)
    # The golden metagradients are central differences: their error, about 2e-11, is
    # one for all names, so the smallest (g_e) is compared on the scale of the whole.
    scale = np.max(np.abs(list(expected["metagradient"].values())))
    for name in METAPARAMETERS:
        actual = [
            metrics[f"metagradient/{name}/head_{p + 1}"]
            for p in range(rule.agent.heads)
        ]
        close(actual, expected["metagradient"][name], tolerance, scale)


def test_every_head_has_the_golden_targets_and_terms(golden, precision):
    dtype, tolerance = precision
    rule, state, trajectory = golden_case.build(golden, dtype)
    zeta = metaparameters.squash(
        state.metaparameters, rule.agent.outer, rule.agent.heads
    )
    outputs = rule.unroll(state.params, trajectory, zeta["gamma"])
    for head, expected in enumerate(golden["expected"]["heads"]):
        terms, targets = losses.head_loss(
            outputs[head],
            trajectory,
            metaparameters.of_head(zeta, head),
            rule.distribution,
        )
        for term, value in expected["terms"].items():
            close(getattr(terms, term), value, tolerance)
        close(targets.value, expected["v_s"], tolerance)
        close(targets.rho, expected["rho"], tolerance)
        close(targets.c, expected["c"], tolerance)
        close(targets.advantage, expected["advantage"], tolerance)
