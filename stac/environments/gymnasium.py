"""Any environment of gymnasium's registry, vectorised by gymnasium, behind our rows.

Observations are boxes: images (uint8 [H, W, C], C 1, 3 or 4) or features (any but
uint8, flattened in C order). Actions are discrete, or boxes with finite bounds. A
`terminated` row is `last` with discount 0, a `truncated` one is `last` with discount 1:
gymnasium's autoreset mode NextStep has exactly the rows of stac.environments.base.

A snapshot holds the attributes of each environment and of its wrappers. Where these do
not pickle there is none: a run in lockstep then continues with new episodes.
"""

from __future__ import annotations

import functools
import importlib
import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces, vector

from stac import config, snapshots
from stac.environments import base
from stac.environments.vector import batched
from stac.types import Timestep

# Its warnings, of old versions or of an environment's style, are for its author.
gymnasium.logger.min_level = gymnasium.logger.ERROR
_TRIED_STEPS = 50  # of an environment, before a run begins


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
    try:
        importlib.import_module(module or "gymnasium")
    except Exception as error:  # a user's module may raise anything
        raise base.refusal(f"{module} cannot be imported", error) from error
    newest = gymnasium.envs.registration.find_highest_version(None, wanted)
    if newest is not None and wanted not in gymnasium.registry:
        wanted = f"{wanted}-v{newest}"
    every = "--env=list names all; your own is --env=module:Id"
    known = config.choose("environment", wanted, tasks(), every)
    return f"{module}:{known}" if module else known


def tasks() -> list[str]:
    """Every registered environment, but MuJoCo's that need a library of the past."""
    return [name for name, built_by in _entries() if "_mujoco_py_" not in built_by]


def mujoco_tasks() -> list[str]:
    """Those of MuJoCo."""
    return [name for name, built_by in _entries() if "envs.mujoco" in built_by]


def _entries() -> list[tuple[str, str]]:
    known = gymnasium.registry.items()
    return [(name, str(x.entry_point)) for name, x in known if x.entry_point]


def try_out(name: str) -> None:
    """Plays a new environment for a while: its faults show before a run begins.

    Raises:
      ConfigError: the environment raised, or an observation has not the shape of its
        space, or a reward is no finite number.
      Exception: of any kind, raised while it is built.
    """
    built = gymnasium.make(task(name), disable_env_checker=True)
    built.action_space.seed(0)
    try:
        _check_shape(name, built, "reset", built.reset(seed=0)[0])
        for _ in range(_TRIED_STEPS):
            observation, reward, terminated, truncated, _ = built.step(
                built.action_space.sample()
            )
            _check_shape(name, built, "step", observation)
            number = np.asarray(reward, np.float64)
            config.check(
                number.size == 1 and bool(np.isfinite(number).all()),
                f"{name}: its step gives the reward {reward}, and must give a number",
            )
            if terminated or truncated:
                break
    except config.ConfigError:
        raise
    except Exception as error:  # it may raise anything
        raise base.refusal(f"{name} cannot be played", error) from error
    finally:
        built.close()


def _check_shape(
    name: str, built: gymnasium.Env[Any, Any], method: str, observation: Any
) -> None:
    space, seen = built.observation_space, np.shape(observation)
    config.check(
        space.shape in (None, seen),
        f"{name}: its {method} gives an observation of shape {seen}, and its"
        f" observation_space has {space.shape}",
    )


class Gymnasium(batched.Shares):
    """E copies of one environment; the rows mean what stac.environments.base says."""

    def __init__(
        self,
        name: str,
        seed: int,
        num_envs: int,
        *,
        workers: str = "auto",
        cores: int = 1,
        draws: bool = False,
    ) -> None:
        """Builds the environments; nothing is played before `reset`.

        Args:
          name: what `stac.environments.gymnasium.task` takes.
          seed: not negative; equal seeds and actions give equal rows, if those of the
            environment itself do.
          num_envs: E.
          workers: "processes" steps them in as many processes as there are cores, which
            pays where a step takes milliseconds. "serial" and "auto" step them in this
            thread.
          cores: how many processes.
          draws: whether `picture` will be called.

        Raises:
          ConfigError: an unknown environment, or one whose observations or actions
            have another form.
          Exception: of any kind, raised by the environment.
        """
        build = functools.partial(Share, task(name), draws=draws)
        workers = "serial" if workers == "auto" else workers
        super().__init__(build, [base.seeds(seed, num_envs).tolist()], workers, cores)

    @property
    def frames_per_second(self) -> float:
        """Those of its pictures; only where this thread steps it."""
        assert self._share is not None
        return float(self._share.metadata.get("render_fps") or 30)


class _Vector(vector.SyncVectorEnv):
    """Merges no `info`, which nobody reads: gymnasium's merge fails on mixed kinds."""

    def _add_info(
        self, vector_infos: dict[str, Any], env_info: dict[str, Any], env_num: int
    ) -> dict[str, Any]:
        return vector_infos


class Share:
    """Some of the environments, vectorised by gymnasium."""

    def __init__(self, name: str, seeds: Sequence[int], draws: bool = False) -> None:
        named: dict[str, Any] = {"render_mode": "rgb_array"} if draws else {}
        make = functools.partial(
            gymnasium.make, name, disable_env_checker=True, **named
        )
        self._vector: Any = _Vector([make] * len(seeds))
        self._seeds: list[int | None] = [*seeds]
        self._last = np.zeros(len(seeds), bool)
        self.spec = _spec(name, self._vector)
        self.metadata: Mapping[str, Any] = self._vector.envs[0].metadata

    def reset(self) -> Timestep:
        """Starts episodes. Only the first call seeds: the next gives new episodes."""
        observation, _ = self._vector.reset(seed=self._seeds)
        self._seeds = [None] * len(self._seeds)
        self._last = np.zeros(len(self._last), bool)
        return base.first_rows(self._shaped(observation))

    def step(self, action: np.ndarray) -> Timestep:
        """Takes choices from 0 [E], or numbers within the bounds [E, A]."""
        space, first = self._vector.single_action_space, self._last
        if isinstance(space, spaces.Discrete):
            own = action + space.start
        else:
            own = action.reshape(len(action), *space.shape)
            whole = np.issubdtype(space.dtype, np.integer)
            own = (np.rint(own) if whole else own).astype(space.dtype)
        observation, reward, terminated, truncated, _ = self._vector.step(own)
        self._last = terminated | truncated
        return Timestep(
            observation=self._shaped(observation),
            reward=reward.astype(np.float32),
            discount=1.0 - terminated.astype(np.float32),
            first=first,
            last=self._last,
        )

    def picture(self) -> np.ndarray:
        """The picture of the first environment."""
        try:
            picture: np.ndarray = self._vector.envs[0].render()
        except Exception as error:  # it may lack a library
            raise base.refusal("no picture can be drawn", error) from error
        return picture

    def snapshot(self) -> list[bytes | None]:
        """One per environment; None where it does not pickle."""
        return [self._packed(index) for index in range(len(self._seeds))]

    def restore(self, states: Sequence[bytes]) -> str:
        """Gives its environments the state of others.

        Returns:
          The reason why that failed, and nothing is changed; else the empty string.
        """
        try:
            loaded = [snapshots.load_compressed(state) for state in states]
        except ValueError as error:
            return str(error)
        for index, (layers, seed, last) in enumerate(loaded):
            built = _layers(self._vector.envs[index])
            for layer, attributes in zip(built, layers, strict=True):
                vars(layer).update(attributes)
            self._seeds[index] = seed
            self._last[index] = self._vector._autoreset_envs[index] = last
        return ""

    def _packed(self, index: int) -> bytes | None:
        """All attributes but spaces; None: they do not pickle.

        Many environments (EzPickle's) would themselves pickle as they were built.
        """
        layers = [
            {
                name: value
                for name, value in vars(layer).items()
                if not isinstance(value, spaces.Space)
                and not (name == "env" and isinstance(layer, gymnasium.Wrapper))
            }
            for layer in _layers(self._vector.envs[index])
        ]
        state = (layers, self._seeds[index], self._last[index])
        try:
            return snapshots.compress(state)
        except (
            pickle.PickleError,
            AttributeError,
            RuntimeError,
            TypeError,
            ValueError,
        ):
            return None

    def close(self) -> None:
        """Closes the environments."""
        self._vector.close()

    def _shaped(self, observation: np.ndarray) -> np.ndarray:
        """[E, F] float32, or [E, C, H, W] uint8."""
        if len(self.spec.observation_shape) == 3:
            return np.ascontiguousarray(np.moveaxis(observation, -1, 1))
        return observation.reshape(len(observation), -1).astype(np.float32)


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
        " with C 1, 3 or 4, and features of another dtype; where"
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
        f"{task}: its actions need finite bounds, to which an agent's are scaled",
    )
    return base.EnvironmentSpec(shape, dtype, len(low), True, 1, low, high)


def _layers(environment: gymnasium.Env[Any, Any]) -> Iterator[gymnasium.Env[Any, Any]]:
    """The wrappers, from the outermost on, and the environment itself."""
    yield environment
    if isinstance(environment, gymnasium.Wrapper):
        yield from _layers(environment.env)
