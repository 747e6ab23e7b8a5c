"""What delays, noise and failing sensors do to the numbers that pass.

Each piece takes a vector and returns another; none writes into what it was given. The
rules and their order are the Real-World RL suite's (Dulac-Arnold et al. 2020), draws
come from one generator. All of them pickle, for they are part of snapshots.
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
    """A queue of k + 1 places that the first item fills.

    What comes out at call t went in at call max(0, t - k).
    """

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
    """Which elements are affected now: one counter for each.

    Where the counter is 0 it is set to `steps` with the probability; the elements whose
    counter is positive are affected and count down. So one hit lasts `steps` calls, and
    the next may follow at once.
    """

    def __init__(
        self, probability: float, steps: int, random: np.random.Generator
    ) -> None:
        self._probability = probability
        self._steps = steps
        self._random = random
        self._left: np.ndarray | None = None

    def __call__(self, shape: tuple[int, ...]) -> np.ndarray:
        """Returns a mask of this shape, the same at every call."""
        if self._left is None:
            self._left = np.zeros(shape, int)
        struck = self._random.random(shape) < self._probability
        self._left[struck & (self._left == 0)] = self._steps
        affected = self._left > 0
        self._left -= affected
        return affected


class Dropped:
    """Affected elements read 0."""

    def __init__(self, hits: Hits) -> None:
        self._hits = hits

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        return np.where(self._hits(vector.shape), 0.0, vector)


class Stuck:
    """Affected elements read what came out for them the call before."""

    def __init__(self, hits: Hits) -> None:
        self._hits = hits
        self._before: np.ndarray | None = None

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        before = vector if self._before is None else self._before
        self._before = np.where(self._hits(vector.shape), before, vector)
        return self._before


class Repetition:
    """Holds a whole vector for `steps` calls with the probability, else for one."""

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
    """One piece after the other."""

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
    """Delay, noise and clipping to the bounds, dropped, stuck, repetition.

    This is the only place where anything is clipped, and only after noise.
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
    """Noise, dropped, stuck, delay."""
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
    """Dropped before stuck, each where its probability is not 0."""
    kinds = ((Dropped, dropped), (Stuck, stuck))
    return [
        kind(Hits(probability, steps, random))
        for kind, (probability, steps) in kinds
        if probability
    ]
