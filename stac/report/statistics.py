"""Statistics of final scores over tasks and seeds, after Agarwal et al. (2021).

"Deep Reinforcement Learning at the Edge of the Statistical Precipice". Scores are a
list with one array for each task; an array holds one normalised score for each seed,
and tasks may have unequal numbers of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Scores = Sequence[np.ndarray]  # a task each: [seeds]
Statistic = Callable[..., "float | np.ndarray"]
RESAMPLES = 2000


class Interval(NamedTuple):
    """An estimate and its percentile interval."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(scores: Scores) -> float:
    """The interquartile mean: that of the middle half of all scores together."""
    flat = np.sort(np.concatenate(scores))
    cut = len(flat) // 4  # from each end, as scipy.stats.trim_mean(flat, 0.25) does
    return float(flat[cut : len(flat) - cut].mean())


def median(scores: Scores) -> float:
    """The median over tasks of each task's mean over seeds."""
    return float(np.median([task.mean() for task in scores]))


def mean(scores: Scores) -> float:
    """The mean over tasks of each task's mean over seeds."""
    return float(np.mean([task.mean() for task in scores]))


def optimality_gap(scores: Scores, target: float = 1.0) -> float:
    """The mean over tasks by which scores stay below the target; less is better."""
    return target - mean([np.minimum(task, target) for task in scores])


def profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """The share of scores above each threshold, tasks alike: [thresholds]."""
    shares = [(task[:, None] > thresholds).mean(axis=0) for task in scores]
    return np.asarray(np.mean(shares, axis=0))


def improvement(scores: Scores, others: Scores) -> float:
    """The probability that a seed of `scores` beats one of `others`, tasks alike.

    It is the Mann-Whitney statistic of each task over its number of pairs; a tie counts
    one half.
    """
    wins = [np.sign(x[:, None] - y) for x, y in zip(scores, others, strict=True)]
    return float(np.mean([(task.mean() + 1) / 2 for task in wins]))


def interval(
    statistic: Statistic,
    *groups: Scores,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The statistic of the groups, and its 95 % interval by a stratified bootstrap.

    Each resample draws as many seeds as there are, with replacement, for each task of
    each group by itself. A task with one seed contributes no spread.
    """
    random = np.random.default_rng(seed)
    drawn = [[_resampled(task, resamples, random) for task in x] for x in groups]
    resampled = np.array(
        [
            statistic(*([task[number] for task in group] for group in drawn))
            for number in range(resamples)
        ]
    )
    low, high = np.percentile(resampled, (2.5, 97.5), axis=0)
    return Interval(np.asarray(statistic(*groups)), low, high)


def band(curves: np.ndarray, resamples: int = 1000, seed: int = 0) -> Interval:
    """The mean over seeds of curves [seeds, points] and its 95 % bootstrap interval.

    Whole seeds are drawn, so that a curve stays a curve.
    """
    random = np.random.default_rng(seed)
    count = len(curves)
    weights = random.multinomial(count, np.full(count, 1 / count), resamples) / count
    low, high = np.percentile(weights @ curves, (2.5, 97.5), axis=0)
    return Interval(curves.mean(axis=0), low, high)


def _resampled(
    task: np.ndarray, resamples: int, random: np.random.Generator
) -> np.ndarray:
    """Seeds of one task, drawn with replacement: [resamples, seeds]."""
    return task[random.integers(len(task), size=(resamples, len(task)))]
