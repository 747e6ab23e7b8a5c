"""A batch with a number that is not finite is skipped; eta stays in its range."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac.config import RAW_LIMIT, OptimizerConfig
from stac.learning import metaparameters
from tests.learning import golden_case
from tests.learning.golden_case import tiny, updated

pytestmark = [
    pytest.mark.faults,
    pytest.mark.usefixtures("double_precision"),
]

LEARNED = ("params", "optimizer", "metaparameters", "meta_optimizer")


def poisoned(case, field, value):
    """One number of one transition is `value`."""
    column = np.array(getattr(case.trajectory, field))
    column[(0, 1)] = value
    return case._replace(trajectory=case.trajectory._replace(**{field: column}))


def unchanged(before, after):
    """Whether all that is learned is bitwise as it was."""
    pairs = [
        zip(*map(jax.tree.leaves, (getattr(before, n), getattr(after, n))), strict=True)
        for n in LEARNED
    ]
    return all(np.array_equal(a, b) for pair in pairs for a, b in pair)


def test_finite_numbers_are_learned_from():
    case = tiny()
    new, metrics = updated(case)
    assert metrics["skipped"] == 0
    assert not unchanged(case.state, new)


@pytest.mark.parametrize("self_tuned", ["", "gamma,g_e"])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reward", np.nan),
        ("reward", np.inf),
        ("reward", 1e200),  # its square is not finite, nor would a second moment be
        ("discount", np.nan),
        ("behaviour_log_prob", np.nan),
        ("observation", np.nan),
    ],
)
def test_a_batch_with_a_bad_number_changes_nothing_but_the_counters(
    field, value, self_tuned
):
    case = poisoned(tiny(self_tuned=self_tuned), field, value)
    new, metrics = updated(case)
    assert metrics["skipped"] == 1
    assert unchanged(case.state, new)
    assert new.updates == case.state.updates + 1


def test_a_metagradient_alone_that_is_not_finite_changes_nothing():
    """The inner loss is finite; the outer one meets NaN where theta has moved."""
    case = tiny()
    bias = case.state.params["b_torso"]

    def unroll(params, trajectory, gamma):
        moved = jnp.any(params["b_torso"] != bias)
        outputs = golden_case.unroll(params, trajectory, gamma)
        return tuple(
            head._replace(value=jnp.where(moved, jnp.nan, head.value))
            for head in outputs
        )

    case = case._replace(rule=case.rule._replace(unroll=unroll))
    new, metrics = updated(case)
    assert np.isfinite(metrics["gradient_norm"])
    assert metrics["skipped"] == 1
    assert unchanged(case.state, new)


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_metaparameter_stops_at_its_limit_and_says_so(side):
    """Steps of 20 from 4.6: one crosses it, or comes back and beyond the other side."""
    case = tiny(self_tuned="gamma,g_v")
    optimizer = OptimizerConfig(meta_learning_rate=20.0, meta_epsilon=1e-12)
    raw = jax.tree.map(
        lambda vector: vector * 0 + 4.6 * side, case.state.metaparameters
    )
    case = case._replace(
        rule=case.rule._replace(optimizer=optimizer),
        state=case.state._replace(metaparameters=raw),
    )
    new, metrics = updated(case)
    crossed = {n: np.abs(np.asarray(v)) for n, v in new.metaparameters.items()}
    assert max(v.max() for v in crossed.values()) == RAW_LIMIT
    for name, vector in crossed.items():
        for head in range(3):
            saturated = metrics[f"saturated/{name}/head_{head + 1}"]
            assert saturated == (vector[head] == RAW_LIMIT)


def test_at_the_limit_the_squash_still_has_a_gradient_in_float32():
    for side in (-1.0, 1.0):
        raw = jnp.float32(side * RAW_LIMIT)
        assert abs(jax.grad(jax.nn.sigmoid)(raw)) > 1e-5
        assert jax.nn.sigmoid(raw) not in (0.0, 1.0)
    far = metaparameters.clamped({"gamma": jnp.array([-99.0, 3.0, 99.0])})
    np.testing.assert_array_equal(far["gamma"], [-RAW_LIMIT, 3.0, RAW_LIMIT])
