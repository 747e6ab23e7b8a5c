"""What the Real-World RL tests share: a simulator that counts, and a slow twin.

The twin says element by element, in plain loops, what the suite does; it draws from a
generator in the same order, so that it must agree exactly.
"""

from __future__ import annotations

import json
import pathlib
import types
from typing import Any

import dm_env
import numpy as np

from stac.config.challenges import Challenges
from stac.environments.realworld import suite

FACTS = json.loads((pathlib.Path(__file__).parent / "rwrl_challenges.json").read_text())


class Counter(dm_env.Environment):
    """Observations and rewards are the number of observations given so far.

    `a` is [clock, -clock], `b` the scalar 100 + clock; the reward is clock / 10. It
    notes every action that is applied, and ends after `length` steps.
    """

    def __init__(self, length: int = 1_000_000) -> None:
        self.length, self.clock, self.steps = length, 0, 0
        self.applied: list[list[float]] = []
        self.resets = self.closed = 0
        self.physics = None
        self.task = types.SimpleNamespace(
            satisfied=np.array([True, False]), get_reward=lambda _: self.clock / 10.0
        )

    def reset(self) -> dm_env.TimeStep:
        self.steps = 0
        self.resets += 1
        return dm_env.restart(self._observation())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        self.steps += 1
        self.applied.append(list(action))
        said = self._observation()
        self.task.satisfied[:] = self.clock % 2 == 0, self.clock % 3 == 0
        if self.steps < self.length:
            return dm_env.transition(self.clock / 10.0, said)
        return dm_env.truncation(self.clock / 10.0, said)

    def _observation(self) -> dict[str, Any]:
        self.clock += 1
        clock = float(self.clock)
        return {"a": np.array([clock, -clock]), "b": np.float64(100.0 + clock)}

    def action_spec(self) -> dm_env.specs.BoundedArray:
        return dm_env.specs.BoundedArray((2,), float, [-1.0, -0.5], [1.0, 0.5])

    def observation_spec(self) -> dict[str, dm_env.specs.Array]:
        array = dm_env.specs.Array
        return {"a": array((2,), float, "a"), "b": array((), float, "b")}

    def close(self) -> None:
        self.closed += 1


class Twin:
    """One direction of the pipeline: all items ever, and loops."""

    def __init__(
        self,
        random: np.random.Generator,
        noise: float,
        dropped: tuple[float, int],
        stuck: tuple[float, int],
        bounds: tuple[list[float], list[float]] | None = None,
    ) -> None:
        self.random, self.noise, self.bounds = random, noise, bounds
        self.dropped, self.stuck = dropped, stuck
        self.left: dict[tuple[str, int], int] = {}
        self.before: list[float] | None = None

    def __call__(self, vector: list[float]) -> list[float]:
        out = list(vector)
        if self.noise:
            for i in range(len(out)):
                out[i] += self.noise * self.random.standard_normal()
                if self.bounds is not None:
                    out[i] = min(max(out[i], self.bounds[0][i]), self.bounds[1][i])
        for i in self._hit("dropped", self.dropped, len(out)):
            out[i] = 0.0
        before = out if self.before is None else self.before
        kept = list(out)
        for i in self._hit("stuck", self.stuck, len(out)):
            kept[i] = before[i]
        self.before = kept
        return kept

    def _hit(self, kind: str, rule: tuple[float, int], size: int) -> list[int]:
        probability, steps = rule
        affected = []
        for i in range(size):
            struck = probability and self.random.random() < probability
            if struck and self.left.get((kind, i), 0) == 0:
                self.left[kind, i] = steps
            if self.left.get((kind, i), 0) > 0:
                affected.append(i)
                self.left[kind, i] -= 1
        return affected


def late(items: list[Any], steps: int) -> list[Any]:
    """Every item `steps` calls late; the first is there from the start."""
    return [items[max(0, t - steps)] for t in range(len(items))]


def challenged(
    simulator: Counter, seed: int = 0, **challenges: object
) -> suite.Challenged:
    random = np.random.default_rng(seed)
    return suite.Challenged(lambda value: simulator, Challenges(**challenges), random)


def play(
    environment: dm_env.Environment, steps: int, first: bool = True
) -> list[dm_env.TimeStep]:
    """A reset where `first`, then steps whose actions are [t, -t] at step t."""
    rows = [environment.reset()] if first else []
    rows += [environment.step(np.array([t, -t], float)) for t in range(1, steps + 1)]
    return rows


def clocks(rows: list[dm_env.TimeStep]) -> list[float]:
    return [float(row.observation["observations"][0]) for row in rows]
