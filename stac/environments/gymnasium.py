"""Any environment of gymnasium's registry, vectorised by gymnasium, behind our rows.

Observations are boxes: images (uint8 [H, W, C], C 1, 3 or 4) or features (any but
uint8, flattened in C order). Actions are discrete, or boxes with finite bounds. A
`terminated` row is `last` with discount 0, a `truncated` one is `last` with discount 1:
gymnasium's autoreset mode NextStep has exactly the rows of stac.environments.base.

There are no snapshots: a run in lockstep continues with new episodes.
"""

from __future__ import annotations

import functools
import importlib
import math
import os
import signal
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, vector

from stac import children, config
from stac.environments import actions, base
from stac.types import Timestep

# Its warnings, of old versions or of an environment's style, are for its author.
gymnasium.logger.min_level = gymnasium.logger.ERROR

# Raised where the process at the other end of a pipe is gone.
_GONE = (BrokenPipeError, ConnectionResetError, EOFError)


def task(name: str) -> str:
    """The registered id of an environment.

    Args:
      name: an id, such as `CartPole-v1`, or `module:id`, whose module is imported
        first. Without a version it is the newest one.

    Raises:
      ConfigError: the module cannot be imported, or there is no such environment; the
        message names the nearest ones.
    """
    module, _, wanted = name.strip().rpartition(":")
    if module:
        _import(module)
    newest = gymnasium.envs.registration.find_highest_version(None, wanted)
    if newest is not None and wanted not in gymnasium.registry:
        wanted = f"{wanted}-v{newest}"
    known = config.choose("environment", wanted, tasks())
    return f"{module}:{known}" if module else known


def tasks() -> list[str]:
    """Every registered environment."""
    return [name for name, spec in gymnasium.registry.items() if spec.entry_point]


class Gymnasium:
    """E copies of one environment; the rows mean what stac.environments.base says."""

    def __init__(
        self, name: str, seed: int, num_envs: int, *, workers: str = "auto"
    ) -> None:
        """Builds the environments; nothing is played before `reset`.

        Args:
          name: what `stac.environments.gymnasium.task` takes.
          seed: not negative; equal seeds and actions give equal rows, if those of the
            environment itself do.
          num_envs: E.
          workers: "processes" starts one process per environment, which pays where a
            step takes milliseconds. "serial" and "auto" step them in this thread.

        Raises:
          ConfigError: an unknown environment, one that cannot be built here, or one
            whose observations or actions have another form.
        """
        build = functools.partial(_build, task(name), os.getpid())
        builds = [build] * num_envs
        try:
            self._vector: Any = (
                vector.AsyncVectorEnv(builds, context="spawn")
                if workers == "processes" and num_envs > 1
                else vector.SyncVectorEnv(builds)
            )
        except Exception as error:  # a user's environment may raise anything
            raise _refusal(f"{name} cannot be built", error) from error
        self.num_envs = num_envs
        apart = isinstance(self._vector, vector.AsyncVectorEnv)
        self._gone = _GONE if apart else ()
        try:
            self.spec = _spec(name, self._vector)
        except config.ConfigError:
            self.close()
            raise
        self._seeds: list[int] | None = base.seeds(seed, num_envs).tolist()
        self._last = np.zeros(num_envs, bool)

    def reset(self) -> Timestep:
        """Starts E episodes. Only the first call seeds: the next gives new episodes."""
        observation, _ = self._call("reset", seed=self._seeds)
        self._seeds = None
        self._last = np.zeros(self.num_envs, bool)
        return base.first_rows(self._shaped(observation))

    def step(self, action: np.ndarray) -> Timestep:
        """Steps each environment, or starts its next episode after a `last` row."""
        first = self._last
        observation, reward, terminated, truncated, _ = self._call(
            "step", self._own(action)
        )
        self._last = terminated | truncated
        return Timestep(
            observation=self._shaped(observation),
            reward=reward.astype(np.float32),
            discount=1.0 - terminated.astype(np.float32),
            first=first,
            last=self._last,
        )

    def close(self) -> None:
        """Ends processes and environments; may be called twice."""
        try:
            self._vector.close()
        except self._gone:
            self._kill()

    def _call(self, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls a method of gymnasium's.

        Raises:
          RuntimeError: a process died; the environments are closed.
        """
        try:
            return getattr(self._open(), method)(*arguments, **named)
        except self._gone as error:
            self._kill()
            raise RuntimeError("a process that steps an environment died") from error

    def _kill(self) -> None:
        """Ends the processes of which one is gone."""
        for process in self._vector.processes:
            process.kill()
        # Otherwise it would first wait for the step that failed.
        self._vector._state = vector.async_vector_env.AsyncState.DEFAULT
        self._vector.close(terminate=True)

    def _open(self) -> Any:
        if self._vector.closed:
            raise RuntimeError("these environments are closed")
        return self._vector

    def _shaped(self, observation: np.ndarray) -> np.ndarray:
        """[E, F] float32, or [E, C, H, W] uint8."""
        if len(self.spec.observation_shape) == 3:
            return np.ascontiguousarray(np.moveaxis(observation, -1, 1))
        return observation.reshape(self.num_envs, -1).astype(np.float32)

    def _own(self, action: np.ndarray) -> np.ndarray:
        """The actions as the environments' own space has them."""
        space = self._open().single_action_space
        if isinstance(space, spaces.Discrete):
            return actions.checked(action, self) + space.start
        scaled = actions.scaled(action, self)
        return scaled.reshape(self.num_envs, *space.shape).astype(space.dtype)


def _spec(task: str, built: vector.VectorEnv) -> base.EnvironmentSpec:
    """Reads the spaces.

    Raises:
      ConfigError: they are others than boxes and discrete actions.
    """
    seen, acted = built.single_observation_space, built.single_action_space
    if not isinstance(seen, spaces.Box):
        raise config.ConfigError(
            f"{task}: its observations are {type(seen).__name__}, not a Box; where"
            " gymnasium.wrappers.FlattenObservation can, it makes them one"
        )
    image = seen.dtype == np.uint8
    config.check(
        not image or (len(seen.shape) == 3 and seen.shape[-1] in (1, 3, 4)),
        f"{task}: its observations are uint8 {seen.shape}; images must be [H, W, C]"
        " with C 1, 3 or 4, and features must be floats; where"
        " gymnasium.wrappers.TransformObservation can, it makes them so",
    )
    height, width, channels = seen.shape if image else (0, 0, 0)
    shape = (channels, height, width) if image else (math.prod(seen.shape),)
    dtype = np.dtype(np.uint8 if image else np.float32)
    if isinstance(acted, spaces.Discrete):
        return base.EnvironmentSpec(shape, dtype, int(acted.n), False, 1)
    if not isinstance(acted, spaces.Box):
        raise config.ConfigError(
            f"{task}: its actions are {type(acted).__name__}, not Discrete or a Box"
        )
    low, high = (
        np.asarray(bound, np.float64).ravel() for bound in (acted.low, acted.high)
    )
    config.check(
        bool(np.isfinite([low, high]).all()),
        f"{task}: its actions have no finite bounds to which ours could be scaled",
    )
    return base.EnvironmentSpec(shape, dtype, len(low), True, 1, low, high)


def _build(task: str, owner: int) -> gymnasium.Env:
    """One environment, in the process `owner` or in a worker of it."""
    if os.getpid() != owner:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner
        children.die_with_parent(owner)
    return gymnasium.make(task, disable_env_checker=True)  # which prints warnings


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a user's module may raise anything
        raise _refusal(f"{module} cannot be imported", error) from error


def _refusal(what: str, error: Exception) -> config.ConfigError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return config.ConfigError(f"{what}: {reason}")
