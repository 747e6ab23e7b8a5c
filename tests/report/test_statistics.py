"""Statistics over tasks and seeds: reference values, hand cases and slow twins."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from stac.report import statistics

REFERENCE = list((np.random.RandomState(0).rand(5, 57) * 2).T)


def normal(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    """One array of random numbers a shape, the same in every order of the tests."""
    random = np.random.default_rng(seed)
    return [random.normal(size=shape) for shape in shapes]


UNEQUAL = normal(1, (1,), (3,), (4,), (7,))
OTHERS = [scores.round(1) for scores in normal(2, (2,), (3,), (5,), (1,))]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iqm", 1.0096080149328568),
        ("median", 0.9871335095969629),
        ("mean", 1.004622293550597),
        ("optimality_gap", 0.24802269130353838),
    ],
)
def test_aggregates_of_the_reference_scores_are_those_of_rliable(
    name: str, value: float
) -> None:
    aggregate = getattr(statistics, name)
    assert float(aggregate(REFERENCE)) == pytest.approx(value, abs=1e-12)


def test_the_interval_of_the_iqm_is_that_of_rliable_and_a_seed_repeats_it() -> None:
    known = statistics.interval(statistics.iqm, REFERENCE)
    assert known.low == pytest.approx(0.928, abs=0.003)
    assert known.high == pytest.approx(1.095, abs=0.003)
    assert known == statistics.interval(statistics.iqm, REFERENCE)


def test_aggregates_of_unequal_numbers_of_seeds_by_hand() -> None:
    scores = [np.array([2.0]), np.array([0.0, 1.0]), np.array([0.5, 0.5, 2.0])]
    assert float(statistics.mean(scores)) == pytest.approx((2 + 0.5 + 1) / 3)
    assert float(statistics.median(scores)) == 1.0
    assert float(statistics.iqm(scores)) == pytest.approx((0.5 + 0.5 + 1 + 2) / 4)
    gap = float(statistics.optimality_gap(scores))
    assert gap == pytest.approx(1 - (1 + 0.5 + 2 / 3) / 3)


def test_profiles_and_improvement_are_their_double_loops() -> None:
    thresholds = np.array([-0.5, 0.0, 0.7])
    shares = [
        np.mean([np.mean([x > limit for x in task]) for task in UNEQUAL])
        for limit in thresholds
    ]
    np.testing.assert_allclose(statistics.profile(UNEQUAL, thresholds), shares)
    wins = [
        np.mean([(x > y) + 0.5 * (x == y) for x in task for y in other])
        for task, other in zip(UNEQUAL, OTHERS, strict=True)
    ]
    known = float(statistics.improvement(UNEQUAL, OTHERS))
    assert known == pytest.approx(np.mean(wins))
    assert float(statistics.improvement(OTHERS, OTHERS)) == pytest.approx(0.5)


@pytest.mark.parametrize("name", ["iqm", "median", "mean", "optimality_gap"])
def test_resamples_at_once_are_the_resamples_alone(name: str) -> None:
    aggregate = getattr(statistics, name)
    drawn = normal(3, (6, 1), (6, 3), (6, 4))
    alone = [aggregate([task[number] for task in drawn]) for number in range(6)]
    np.testing.assert_allclose(aggregate(drawn), alone)


def test_profiles_and_improvement_of_resamples_are_those_of_each_alone() -> None:
    first = normal(4, (6, 1), (6, 3))
    second = normal(5, (6, 2), (6, 5))
    limits = np.array([-1.0, 0.0])
    for number in range(6):
        pair = [[task[number] for task in group] for group in (first, second)]
        profiles = statistics.profile(first, limits)[number]
        np.testing.assert_allclose(profiles, statistics.profile(pair[0], limits))
        chance = statistics.improvement(first, second)[number]
        np.testing.assert_allclose(chance, statistics.improvement(*pair))


def test_the_p_value_is_the_share_of_all_exchanges_of_seeds_within_tasks() -> None:
    pair = normal(6, (3,), (2,)), [scores + 1.5 for scores in normal(7, (2,), (3,))]
    found = abs(float(statistics.improvement(*pair)) - 0.5)
    pools = [np.concatenate(task) for task in zip(*pair, strict=True)]
    owners = [itertools.combinations(range(5), len(task)) for task in pair[0]]
    as_far = []
    for owned in itertools.product(*owners):
        first = [pool[[*own]] for pool, own in zip(pools, owned, strict=True)]
        second = [np.delete(x, own) for x, own in zip(pools, owned, strict=True)]
        as_far.append(abs(float(statistics.improvement(first, second)) - 0.5))
    exact = np.mean([far >= found - 1e-9 for far in as_far])
    assert 0.05 < exact < 0.9
    assert statistics.no_difference(*pair) == pytest.approx(exact, abs=0.02)
    assert statistics.no_difference(pair[0], pair[0]) == 1.0


def test_seeds_are_drawn_within_each_task() -> None:
    apart = [np.array([0.0, 0.0, 0.0]), np.array([9.0, 9.0])]
    known = statistics.interval(statistics.mean, apart, resamples=200)
    assert (known.low, known.estimate, known.high) == (4.5, 4.5, 4.5)
