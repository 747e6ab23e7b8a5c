"""Environments whose every number is known, for what stands around them.

Worker processes import this file: nothing heavy may be imported here.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import dm_env
import numpy as np
from dm_env import specs

from stac import config

# The last pair: -3.0 + (-0.9 - -3.0) is more than -0.9 by a rounding.
MINIMUM, MAXIMUM = np.array([-1.0, -0.8, -3.0]), np.array([1.1, 0.8, -0.9])

# Python's arguments that make errors of warnings, but for dm_control's own under numpy
# 2.5, which no user sees.
WARNINGS = ("-W", "error", "-W", "ignore:Setting the shape:DeprecationWarning")


class Scripted(dm_env.Environment):
    """Counts: reward t at step t; episode k ends after `lengths[k % len]` steps.

    Even episodes end truly, odd ones by a time limit. The observation holds the seed,
    the episode, the step, the last action, and noise of the seed.
    """

    def __init__(self, seed: int, lengths: tuple[int, ...]) -> None:
        self.seed, self.lengths = seed, lengths
        self.actions: list[np.ndarray] = []  # the objects that came in
        self.closed = 0
        self._random = np.random.RandomState(seed)
        self._episode, self._step = -1, 0

    def reset(self) -> dm_env.TimeStep:
        self._episode, self._step = self._episode + 1, 0
        return dm_env.restart(self._seen(np.zeros(3)))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        self.actions.append(action)
        self._step += 1
        seen, reward = self._seen(action), float(self._step)
        if self._step < self.lengths[self._episode % len(self.lengths)]:
            return dm_env.transition(reward, seen)
        if self._episode % 2:
            return dm_env.truncation(reward, seen)
        return dm_env.termination(reward, seen)

    def observation_spec(self) -> dict[str, specs.Array]:
        return {
            "z_seed": specs.Array((), np.int64),
            "count": specs.Array((2,), np.float64),
            "action": specs.Array((3,), np.float64),
            "a_matrix": specs.Array((2, 3), np.float64),
        }

    def action_spec(self) -> specs.BoundedArray:
        return specs.BoundedArray((3,), np.float64, MINIMUM, MAXIMUM)

    def close(self) -> None:
        self.closed += 1

    def _seen(self, action: np.ndarray) -> dict[str, np.ndarray]:
        # In another order than the spec's, which is what counts.
        return {
            "a_matrix": self._random.normal(size=(2, 3)),
            "action": np.array(action),
            "z_seed": np.array(self.seed),
            "count": np.array([self._episode, self._step], np.float64),
        }


class Picture(Scripted):
    """Shows a picture of numbered bytes; nothing else."""

    def observation_spec(self) -> dict[str, specs.Array]:
        return {"pixels": specs.Array((4, 5, 3), np.uint8)}

    def _seen(self, action: np.ndarray) -> dict[str, np.ndarray]:
        return {"pixels": np.arange(60, dtype=np.uint8).reshape(4, 5, 3) + self._step}


def _raise() -> None:
    raise ZeroDivisionError("the physics is broken")


FAULTS: dict[str, Callable[[], None]] = {
    "raises": _raise,
    "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leaves": lambda: os._exit(3),
    "hangs": lambda: time.sleep(600),
}


class Faulty(Scripted):
    """Has a fault at the third step of the environment with seed 1."""

    fault: str

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        timestep = super().step(action)
        if self.seed == 1 and len(self.actions) == 3:
            FAULTS[self.fault]()
        return timestep


class Diverging(Scripted):
    """With seed 1 its simulation diverges at the third step, and then in resets."""

    resets: int

    def reset(self) -> dm_env.TimeStep:
        if len(self.actions) == 3 and self.resets:
            self.resets -= 1
            _diverge()
        return super().reset()

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        timestep = super().step(action)
        if self.seed == 1 and len(self.actions) == 3:
            _diverge()
        return timestep


def _diverge() -> None:
    from dm_control.rl import control

    raise control.PhysicsError("its state is not finite")


def make(lengths: tuple[int, ...], seed: int) -> Scripted:
    return Scripted(seed, lengths)


def make_picture(seed: int) -> Picture:
    return Picture(seed, (10,))


def make_faulty(fault: str, seed: int) -> Faulty:
    made = Faulty(seed, (10,))
    made.fault = fault
    return made


def make_diverging(resets: int, seed: int) -> Diverging:
    environment = Diverging(seed, (10,))
    environment.resets = resets if seed == 1 else 0
    return environment


def refuse(seed: int) -> Scripted:
    """As an unknown task does."""
    raise config.ConfigError(f"no such task; did you mean {seed}?")


def break_at_once(seed: int) -> Scripted:
    if seed == 1:
        _raise()
    return Scripted(seed, (10,))


def tell_where(seed: int) -> Scripted:
    """Its seed is the process that built it, negative if JAX is there."""
    return Scripted(-os.getpid() if "jax" in sys.modules else os.getpid(), (10,))


def tell_where_and_hang(seed: int) -> Scripted:
    made = tell_where(seed)
    made.step = lambda action: time.sleep(600)
    return made
