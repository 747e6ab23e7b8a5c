"""Delays, noise and failures of actions and observations.

A piece maps a vector to another vector and never writes into its argument. A chain of
pieces is one too. The rules and their order are the Real-World RL suite's (Dulac-Arnold
et al. 2020). Pieces pickle, because snapshots hold them.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from stac.config.challenges import Challenges

T = TypeVar("T")
Piece = Callable[[np.ndarray], np.ndarray]


class Delay(Generic[T]):
    """Delays by k calls: call t returns the item of call max(0, t - k)."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._waiting: collections.deque[T] = collections.deque()

    def __call__(self, item: T) -> T:
        if not self._waiting:
            self._waiting.extend([item] * self._steps)
        self._waiting.append(item)
        return self._waiting.popleft()


class Noise:
    """Adds Gaussian noise, absolute and independent for each element."""

    def __init__(self, std: float, random: np.random.Generator) -> None:
        self._std = std
        self._random = random

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        return vector + self._std * self._random.standard_normal(vector.shape)


class Clip:
    """Holds every element between its bounds."""

    def __init__(self, minimum: np.ndarray, maximum: np.ndarray) -> None:
        self._minimum = minimum
        self._maximum = maximum

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        return np.clip(vector, self._minimum, self._maximum)


class Hits:
    """Draws the elements of a vector that fail now.

    An element that does not fail begins to with the probability, and then fails for
    `steps` calls. The next failure may follow at once.
    """

    def __init__(
        self, probability: float, steps: int, random: np.random.Generator
    ) -> None:
        self._probability = probability
        self._steps = steps
        self._random = random
        self._left: np.ndarray | None = None

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns a mask of the failing elements; the shape must not change."""
        if self._left is None:
            self._left = np.zeros(shape, int)
        struck = self._random.random(shape) < self._probability
        self._left[struck & (self._left == 0)] = self._steps
        failing = self._left > 0
        self._left -= failing
        return failing


class Dropped:
    """Failing elements are 0."""

    def __init__(self, hits: Hits) -> None:
        self._hits = hits

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        return np.where(self._hits(vector.shape), 0.0, vector)


class Stuck:
    """Failing elements keep the value that the call before returned."""

    def __init__(self, hits: Hits) -> None:
        self._hits = hits
        self._before: np.ndarray | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        before = vector if self._before is None else self._before
        self._before = np.where(self._hits(vector.shape), before, vector)
        return self._before


class Repetition:
    """Returns a vector for `steps` calls, with the probability, or else once."""

    def __init__(
        self, probability: float, steps: int, random: np.random.Generator
    ) -> None:
        self._probability = probability
        self._steps = steps
        self._random = random
        self._held = np.zeros(0)
        self._left = 0

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        if self._left:
            self._left -= 1
            return self._held
        if self._random.random() < self._probability:
            self._left = self._steps - 1
        self._held = vector
        return vector


class Chain:
    """Applies pieces one after the other."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = pieces

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        for piece in self._pieces:
            vector = piece(vector)
        return vector


def actions(
    challenges: Challenges,
    minimum: np.ndarray,
    maximum: np.ndarray,
    random: np.random.Generator,
) -> Piece:
    """The effects on actions: delay, noise, dropped, stuck, repetition.

    Only here is anything clipped, to the bounds, and only where there is noise.
    """
    pieces: list[Piece] = [Delay[np.ndarray](challenges.action_delay)]
    if challenges.action_noise:
        pieces.append(Noise(challenges.action_noise, random))
        pieces.append(Clip(minimum, maximum))
    pieces += _failures(
        (challenges.action_dropped, challenges.action_dropped_steps),
        (challenges.action_stuck, challenges.action_stuck_steps),
        random,
    )
    if challenges.action_repetition:
        held = (challenges.action_repetition, challenges.action_repetition_steps)
        pieces.append(Repetition(*held, random))
    return Chain(pieces)


def observations(challenges: Challenges, random: np.random.Generator) -> Piece:
    """The effects on observations: noise, dropped, stuck, delay."""
    pieces: list[Piece] = []
    if challenges.observation_noise:
        pieces.append(Noise(challenges.observation_noise, random))
    pieces += _failures(
        (challenges.observation_dropped, challenges.observation_dropped_steps),
        (challenges.observation_stuck, challenges.observation_stuck_steps),
        random,
    )
    return Chain([*pieces, Delay[np.ndarray](challenges.observation_delay)])


def _failures(
    dropped: tuple[float, int], stuck: tuple[float, int], random: np.random.Generator
) -> list[Piece]:
    """Dropped, then stuck, each if its probability is not 0."""
    kinds = ((Dropped, dropped), (Stuck, stuck))
    return [
        kind(Hits(probability, steps, random))
        for kind, (probability, steps) in kinds
        if probability
    ]
