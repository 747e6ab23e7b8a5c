"""The values of a perturbed parameter from episode to episode.

Ranges and rules are the Real-World RL suite's (Dulac-Arnold et al. 2020). One of its
oddities is kept: see `_saw_wave`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stac import config
from stac.config.challenges import OWN, Challenges
from stac.environments.realworld import models


class Range(NamedTuple):
    """The range of the parameter in one run, in its own unit."""

    start: float
    minimum: float
    maximum: float
    std: float  # of a change


class Schedule:
    """The value of a perturbed parameter, from episode to episode."""

    def __init__(
        self, scheduler: str, within: Range, random: np.random.Generator
    ) -> None:
        self.within = within
        self.value = within.start
        self.sign = 1.0  # of saw_wave
        self._scheduler = scheduler
        self.random = random

    def next(self) -> float:
        """Draws a change, applies the rule and clips to the range.

        A start outside the range is clipped too, at the first call.
        """
        change = float(self.random.normal(scale=self.within.std))
        value = RULES[self._scheduler](self, change)
        self.value = min(max(value, self.within.minimum), self.within.maximum)
        return self.value


def schedule(
    domain: str, challenges: Challenges, random: np.random.Generator
) -> Schedule:
    """Builds a schedule; the number -1 means the parameter's own.

    Raises:
      ConfigError: the domain has no such parameter, or its range is empty.
    """
    what = f"environment.challenges.perturbation of the {domain}"
    known = models.PARAMETERS[domain]
    own = known[config.choose(what, challenges.perturbation, known)]
    chosen = {n: getattr(challenges, f"perturbation_{n}") for n in Range._fields}
    within = Range(
        *(getattr(own, n) if value == OWN else value for n, value in chosen.items())
    )
    config.check(
        within.minimum <= within.maximum,
        f"environment.challenges.perturbation={challenges.perturbation}: the minimum"
        f" {within.minimum} is above the maximum {within.maximum}",
    )
    return Schedule(challenges.perturbation_scheduler, within, random)


def _cyclic(schedule: Schedule, move: float) -> float:
    """Starts again at either end of the range."""
    value, within = schedule.value + move, schedule.within
    return value if within.minimum < value < within.maximum else within.start


def _saw_wave(schedule: Schedule, change: float) -> float:
    """As in the original, the value becomes the change instead of moving by it."""
    value = schedule.sign * abs(change)
    if not schedule.within.minimum < value < schedule.within.maximum:
        schedule.sign = -schedule.sign
    return value


# (schedule, a draw from N(0, std)) -> the next value before it is clipped.
RULES: dict[str, Callable[[Schedule, float], float]] = {
    "constant": lambda schedule, change: schedule.value,
    "random_walk": lambda schedule, change: schedule.value + change,
    "drift_pos": lambda schedule, change: schedule.value + abs(change),
    "drift_neg": lambda schedule, change: schedule.value - abs(change),
    "cyclic_pos": lambda schedule, change: _cyclic(schedule, abs(change)),
    "cyclic_neg": lambda schedule, change: _cyclic(schedule, -abs(change)),
    "uniform": lambda schedule, change: schedule.random.uniform(
        schedule.within.minimum, schedule.within.maximum
    ),
    "saw_wave": _saw_wave,
}
