"""Delays, noise and failures of actions and observations.

A piece maps a vector to another vector and never writes into its argument. A chain of
pieces is one too. The rules and their order are the Real-World RL suite's (Dulac-Arnold
et al. 2020). Pieces pickle, because snapshots hold them.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stac.config.challenges import Challenges

Piece = Callable[[np.ndarray], np.ndarray]


class Delay:
    """Delays by k calls: call t returns the item of call max(0, t - k)."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._waiting: collections.deque[Any] = collections.deque()

    def __call__(self, item: Any) -> Any:
        if not self._waiting:
            self._waiting.extend([item] * self._steps)
        self._waiting.append(item)
        return self._waiting.popleft()


@dataclasses.dataclass
class Noise:
    """Adds Gaussian noise, absolute and independent for each element, and clips."""

    std: float
    random: np.random.Generator
    minimum: np.ndarray | float
    maximum: np.ndarray | float

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        noisy = vector + self.std * self.random.standard_normal(vector.shape)
        return np.clip(noisy, self.minimum, self.maximum)


@dataclasses.dataclass
class Failures:
    """Failing elements read 0, or are stuck at the value that was returned before.

    An element that does not fail begins to with the probability, and then fails for
    `steps` calls. The next failure may follow at once.
    """

    probability: float
    steps: int
    stuck: bool
    random: np.random.Generator
    left: np.ndarray | int = 0  # calls for which each element fails still
    before: np.ndarray | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        begins = self.random.random(vector.shape) < self.probability
        left = np.where(begins & (self.left == 0), self.steps, self.left)
        failing = left > 0
        self.left = left - failing
        before = vector if self.before is None else self.before
        self.before = np.where(failing, before if self.stuck else 0.0, vector)
        return self.before


@dataclasses.dataclass
class Repetition:
    """Returns a vector for `steps` calls, with the probability, or else once."""

    probability: float
    steps: int
    random: np.random.Generator
    held: np.ndarray | None = None
    left: int = 0

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        if self.left and self.held is not None:
            self.left -= 1
            return self.held
        if self.random.random() < self.probability:
            self.left = self.steps - 1
        self.held = vector
        return vector


def effects(
    kind: str,
    challenges: Challenges,
    random: np.random.Generator,
    minimum: np.ndarray | float = -np.inf,
    maximum: np.ndarray | float = np.inf,
) -> Piece:
    """The effects on one vector, each if its number is not 0.

    Args:
      kind: "action": delay, noise, dropped, stuck, repetition; or "observation": noise,
        dropped, stuck, delay.
      challenges: the numbers.
      random: draws noise and failures.
      minimum: noise is clipped to the bounds, and nothing else is.
      maximum: the upper bounds.
    """
    numbers = dataclasses.asdict(challenges)
    delay = Delay(numbers[f"{kind}_delay"])
    pieces: list[Piece] = [delay] if kind == "action" else []
    if std := numbers[f"{kind}_noise"]:
        pieces.append(Noise(std, random, minimum, maximum))
    for name in ("dropped", "stuck"):
        if probability := numbers[f"{kind}_{name}"]:
            steps = numbers[f"{kind}_{name}_steps"]
            pieces.append(Failures(probability, steps, name == "stuck", random))
    if kind == "observation":
        pieces.append(delay)
    elif probability := challenges.action_repetition:
        pieces.append(
            Repetition(probability, challenges.action_repetition_steps, random)
        )
    return functools.partial(_chained, pieces)


def _chained(pieces: Sequence[Piece], vector: np.ndarray) -> np.ndarray:
    for piece in pieces:
        vector = piece(vector)
    return vector
