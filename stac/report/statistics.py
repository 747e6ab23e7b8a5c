"""Statistics of final scores over tasks and seeds, after Agarwal et al. (2021).

"Deep Reinforcement Learning at the Edge of the Statistical Precipice". Scores are a
list with one array for each task: [..., seeds], where leading axes hold resamples.
Tasks may have unequal numbers of seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

Scores = Sequence[np.ndarray]  # a task each: [..., seeds]
AGGREGATE_RESAMPLES = 50_000
MINIMUM = 3  # seeds, for an interval
RESAMPLES = 2_000  # of profiles and probabilities of improvement
PERMUTATIONS = 10_000
_NUMBERS = 2_000_000  # drawn at once: 16 MB


class Interval(NamedTuple):
    """An estimate and its percentile interval."""

    estimate: np.ndarray
    low: np.ndarray
    high: np.ndarray


def iqm(scores: Scores) -> np.ndarray:
    """The interquartile mean, that of the middle half of all scores together: [...]."""
    flat = np.concatenate(scores, axis=-1)
    size = flat.shape[-1]
    cut = size // 4  # from each end, as scipy.stats.trim_mean(flat, 0.25) does
    kept = slice(cut, size - cut)
    ends = (cut, size - cut - 1)
    return np.asarray(np.partition(flat, ends, axis=-1)[..., kept].mean(axis=-1))


def median(scores: Scores) -> np.ndarray:
    """The median over tasks of each task's mean over seeds: [...]."""
    return np.asarray(np.median([task.mean(axis=-1) for task in scores], axis=0))


def mean(scores: Scores) -> np.ndarray:
    """The mean over tasks of each task's mean over seeds: [...]."""
    return np.asarray(np.mean([task.mean(axis=-1) for task in scores], axis=0))


def optimality_gap(scores: Scores, target: float = 1.0) -> np.ndarray:
    """The mean over tasks by which scores stay below the target; less is better."""
    return target - mean([np.minimum(task, target) for task in scores])


def profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """The share of scores above each threshold, tasks alike: [..., thresholds]."""
    shares = [(x[..., None, :] > thresholds[:, None]).mean(axis=-1) for x in scores]
    return np.asarray(np.mean(shares, axis=0))


def improvement(scores: Scores, others: Scores) -> np.ndarray:
    """The chance that a seed of `scores` beats one of `others`, tasks alike: [...].

    It is the Mann-Whitney statistic of each task over its number of pairs; a tie counts
    one half.
    """
    signs = [
        np.sign(x[..., :, None] - y[..., None, :]).mean(axis=(-2, -1))
        for x, y in zip(scores, others, strict=True)
    ]
    return np.asarray((np.mean(signs, axis=0) + 1) / 2)


def no_difference(scores: Scores, others: Scores, seed: int = 0) -> float:
    """The p value of no difference, two-sided, by `improvement` of permuted seeds.

    Each permutation gives the seeds of both agents, task by task, new owners. So it
    holds for any number of seeds, but few seeds of few tasks cannot make it small.
    """
    random = np.random.default_rng(seed)
    groups: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for x, y in zip(scores, others, strict=True):
        pool = np.tile(np.concatenate([x, y]), (PERMUTATIONS, 1))
        parts = np.split(random.permuted(pool, axis=-1), [len(x)], axis=-1)
        for group, part in zip(groups, parts, strict=True):
            group.append(part)
    found = abs(improvement(scores, others) - 0.5)
    as_far = abs(improvement(*groups) - 0.5) >= found - 1e-9
    return float((1 + as_far.sum()) / (1 + PERMUTATIONS))


def interval(
    statistic: Callable[..., np.ndarray],
    *groups: Scores,
    resamples: int = AGGREGATE_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The statistic of the groups, and its 95 % interval by a stratified bootstrap.

    Each resample draws as many seeds as there are, with replacement, for each task of
    each group by itself. A task with one seed contributes no spread. The statistic is
    given all resamples of a chunk at once, as leading axis, and keeps that axis first.
    """
    random = np.random.default_rng(seed)
    size = sum(len(task) for group in groups for task in group)
    chunk = max(1, _NUMBERS // size)
    parts = []
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        drawn = [[_resampled(task, count, random) for task in x] for x in groups]
        parts.append(statistic(*drawn))
    low, high = np.percentile(np.concatenate(parts), (2.5, 97.5), axis=0)
    return Interval(np.asarray(statistic(*groups)), low, high)


def enough(scores: Scores) -> bool:
    """Whether an interval says something: most tasks have three seeds or more.

    Over fewer it is far too narrow.
    """
    return bool(np.median([task.shape[-1] for task in scores]) >= MINIMUM)


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
