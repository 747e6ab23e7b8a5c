"""A user's module: environments of its own, registered with gymnasium."""

from __future__ import annotations

import os
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

LOW, HIGH = np.float32([-1.0, 0.5]), np.float32([3.0, 0.75])
FEATURES = spaces.Box(-np.inf, np.inf, (2, 3), np.float64)


class Counting(gymnasium.Env):
    """Reward t at step t; even episodes end truly after 3 steps, odd by a limit of 5.

    It observes [[episode, step, first action], [noise of its seed, its process, 0]].
    """

    observation_space = FEATURES
    action_space = spaces.Discrete(3, start=5)

    def __init__(self) -> None:
        self._episode, self._step = -1, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._episode, self._step = self._episode + 1, 0
        return self._observation(0.0), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), action
        self._step += 1
        even = self._episode % 2 == 0
        terminated = even and self._step == 3
        truncated = not even and self._step == 5
        observation = self._observation(np.ravel(action)[0])
        noise = np.ravel(observation)[3]
        info = {"luck": "none" if noise < 0 else float(noise)}  # of either kind
        return observation, float(self._step), terminated, truncated, info

    def _observation(self, action: float) -> np.ndarray:
        noise = self.np_random.normal()
        rows = [[self._episode, self._step, action], [noise, os.getpid(), 0.0]]
        return np.array(rows)


class Steering(Counting):
    action_space = spaces.Box(LOW, HIGH)


class Whole(Counting):
    action_space = spaces.Box(-2, 3, (1,), np.int64)


class Adapting(Counting):
    """Its own game is called `env`, as a wrapper's environment is."""

    def __init__(self) -> None:
        super().__init__()
        self.env = Counting()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.env.reset(seed=seed)

    def step(self, action: Any) -> Any:
        return self.env.step(action)


class Picture(Counting):
    observation_space = spaces.Box(0, 255, (32, 40, 3), np.uint8)

    def _observation(self, action: float) -> np.ndarray:
        pixel = np.arange(32 * 40 * 3, dtype=np.uint32).reshape(32, 40, 3)
        return (pixel % 251).astype(np.uint8)


class Tiny(Counting):
    observation_space = spaces.Box(0, 255, (8, 30, 3), np.uint8)


class Stacked(Counting):
    observation_space = spaces.Box(0, 255, (4, 84, 84), np.uint8)


class Gray(Counting):
    observation_space = spaces.Box(0, 255, (84, 84), np.uint8)


class Worded(Counting):
    observation_space = spaces.Dict({"a": FEATURES})


class Boundless(Counting):
    action_space = spaces.Box(-np.inf, np.inf, (2,))


class Paired(Counting):
    action_space = spaces.MultiDiscrete([2, 2])


class Unpicklable(Steering):
    def __init__(self) -> None:
        super().__init__()
        self._function = lambda: None


class Ending(Counting):
    """Its last step is at fault."""

    fault: Any = None

    def step(self, action: Any) -> Any:
        row = super().step(action)
        return self.fault(*row) if row[2] else row


def _raise(*row: Any) -> Any:
    raise KeyError("no\trocket")


class Raising(Ending):
    fault = staticmethod(_raise)


class Short(Ending):
    fault = staticmethod(lambda *row: row[:4])


class Flat(Ending):
    fault = staticmethod(lambda observation, *row: (observation.ravel(), *row))


class Endless(Ending):
    fault = staticmethod(lambda observation, _, *row: (observation, np.nan, *row))


FAULTY = (Raising, Short, Flat, Endless)
KINDS = (Counting, Steering, Picture, Tiny, Stacked, Gray, Worded, Boundless, Paired)
for kind in (*KINDS, *FAULTY, Whole, Adapting, Unpicklable):
    gymnasium.register(f"{kind.__name__}-v3", kind)
