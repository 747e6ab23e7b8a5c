"""Statistics of scores: published reference values, hand cases and slow twins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats

from stac.report import statistics

# rliable @ 3ccd9f4 on scores of five runs and 57 tasks.
REFERENCE = [*np.random.RandomState(0).rand(5, 57).T * 2]
UNEQUAL = [np.array([0.0, 1.0]), np.array([2.0]), np.array([0.5, 0.5, 3.5])]


@pytest.mark.parametrize(
    ("statistic", "value"),
    [
        (statistics.iqm, 1.0096080149328568),
        (statistics.median, 0.9871335095969629),
        (statistics.mean, 1.004622293550597),
        (statistics.optimality_gap, 0.24802269130353838),
    ],
)
def test_aggregates_of_the_reference_scores_are_those_of_rliable(
    statistic: statistics.Statistic, value: float
) -> None:
    assert statistic(REFERENCE) == pytest.approx(value, rel=1e-14)


def test_the_interval_of_the_iqm_is_that_of_rliable() -> None:
    interval = statistics.interval(statistics.iqm, REFERENCE)
    assert interval.estimate == statistics.iqm(REFERENCE)
    assert interval.low == pytest.approx(0.928, abs=0.01)
    assert interval.high == pytest.approx(1.095, abs=0.01)


def test_aggregates_of_unequal_numbers_of_seeds_by_hand() -> None:
    assert statistics.mean(UNEQUAL) == pytest.approx((0.5 + 2 + 1.5) / 3)
    assert statistics.median(UNEQUAL) == 1.5
    # Below 1 are 0, 0.5 and 0.5: the tasks' gaps are 1/2, 0 and (1/2 + 1/2) / 3.
    assert statistics.optimality_gap(UNEQUAL) == pytest.approx((1 / 2 + 0 + 1 / 3) / 3)
    # Of six scores one is cut from each end: 0 and 3.5.
    assert statistics.iqm(UNEQUAL) == pytest.approx((0.5 + 0.5 + 1 + 2) / 4)


@pytest.mark.parametrize("count", range(1, 10))
def test_the_iqm_is_the_trimmed_mean(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=count)
    trimmed = scipy.stats.trim_mean(scores, 0.25)
    assert statistics.iqm([scores]) == pytest.approx(trimmed)


def test_the_profile_is_the_share_of_scores_above_a_threshold_tasks_alike() -> None:
    thresholds = np.array([-1.0, 0.5, 2.0, 4.0])
    # Strictly above: of task 1 {1}, of task 2 {2}, of task 3 {3.5} are above 0.5.
    expected = [1.0, (1 / 2 + 1 + 1 / 3) / 3, (0 + 0 + 1 / 3) / 3, 0.0]
    np.testing.assert_allclose(statistics.profile(UNEQUAL, thresholds), expected)


def test_the_probability_of_improvement_counts_pairs_and_halves_ties() -> None:
    others = [np.array([1.0]), np.array([2.0, 3.0]), np.array([0.0])]
    by_hand = ((0 + 0.5) / 2 + (0.5 + 0) / 2 + 1) / 3
    assert statistics.improvement(UNEQUAL, others) == pytest.approx(by_hand)
    assert statistics.improvement(UNEQUAL, UNEQUAL) == pytest.approx(0.5)
    back = statistics.improvement(others, UNEQUAL)
    assert back == pytest.approx(1 - by_hand)


def test_the_probability_of_improvement_is_that_of_mann_and_whitney() -> None:
    random = np.random.default_rng(1)
    x, y = ([random.integers(5, size=(4)) for _ in range(6)] for _ in range(2))
    shares = [
        scipy.stats.mannwhitneyu(a, b).statistic / 16 for a, b in zip(x, y, strict=True)
    ]
    assert statistics.improvement(x, y) == pytest.approx(np.mean(shares))


def test_the_bootstrap_draws_seeds_within_each_task() -> None:
    """All resamples, counted out, have the percentiles of those that are drawn."""
    scores = [np.array([0.0, 1.0, 5.0]), np.array([10.0, 12.0])]
    draws = itertools.product(
        itertools.product(scores[0], repeat=3), itertools.product(scores[1], repeat=2)
    )
    means = [(np.mean(x) + np.mean(y)) / 2 for x, y in draws]
    exact = np.percentile(means, (2.5, 97.5))
    interval = statistics.interval(statistics.mean, scores, resamples=4000)
    np.testing.assert_allclose([interval.low, interval.high], exact, atol=0.35)


def test_seeds_of_one_spread_over_nothing_and_a_seed_gives_the_same_interval() -> None:
    single = [np.array([1.0]), np.array([3.0])]
    assert [*statistics.interval(statistics.mean, single)] == [2.0, 2.0, 2.0]
    again = [statistics.interval(statistics.iqm, UNEQUAL) for _ in range(2)]
    assert again[0] == again[1]


def test_a_band_holds_the_mean_and_is_as_wide_as_whole_seeds_differ() -> None:
    curves = np.array([[0.0, 10.0], [1.0, 11.0], [2.0, 12.0]])
    band = statistics.band(curves)
    np.testing.assert_allclose(band.estimate, [1, 11])
    np.testing.assert_allclose(band.low, [0, 10], atol=0.34)
    np.testing.assert_allclose(band.high, [2, 12], atol=0.34)
    np.testing.assert_allclose(band.high - band.low, (band.high - band.low)[0])
