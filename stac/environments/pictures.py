"""One environment of a run with pictures of what is played, for people.

The pictures change nothing: the same seed and actions give the same rows as ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stac import config as configuration
from stac.config import Config
from stac.environments import base, make
from stac.types import Timestep

SMALLEST = 320  # pixels: smaller pictures are enlarged by a whole number
# Of MinAtar's planes: nothing, and up to ten things.
_COLOURS = np.array(
    [
        *((20, 20, 30), (90, 160, 255), (255, 90, 90), (140, 140, 150)),
        *((240, 190, 60), (120, 210, 120), (190, 120, 230), (255, 150, 210)),
        *((90, 220, 220), (230, 230, 230), (170, 110, 60)),
    ],
    np.uint8,
)
_HEIGHT, _WIDTH = 360, 480  # of MuJoCo's; its own buffer holds no more than 480 x 640


class Filmed(NamedTuple):
    """An environment of one copy, and what it looks like."""

    environment: base.BatchedEnvironment
    picture: Callable[[Timestep], np.ndarray]  # of the newest row: uint8 [H, W, 3]
    frames_per_second: float  # as fast as a person would see it


def filmed(config: Config, seed: int) -> Filmed:
    """Builds one environment with pictures.

    Raises:
      ConfigError: it has none, or what draws them is missing; the message has the cure.
    """
    domain = configuration.choose("domain", config.environment.domain, _DOMAINS)
    environment = dataclasses.replace(config.environment, workers="serial")
    config = dataclasses.replace(config, environment=environment)
    return _DOMAINS[domain](config, seed)


class _Watched:
    """A game, and the same game in colour: same seed, same actions."""

    def __init__(
        self, game: base.BatchedEnvironment, screen: base.BatchedEnvironment
    ) -> None:
        self.spec, self.num_envs = game.spec, game.num_envs
        self._game, self._screen = game, screen
        self.shown = np.zeros(0, np.uint8)

    def reset(self) -> Timestep:
        self.shown = np.asarray(self._screen.reset().observation)[0, -1]
        return self._game.reset()

    def step(self, action: np.ndarray) -> Timestep:
        self.shown = np.asarray(self._screen.step(action).observation)[0, -1]
        return self._game.step(action)

    def close(self) -> None:
        self._game.close()
        self._screen.close()


def _atari(config: Config, seed: int) -> Filmed:
    from stac.environments import atari

    game, protocol = config.environment.task, config.environment.protocol
    watched = _Watched(
        atari.Atari(game, seed, 1, protocol=protocol),
        atari.Atari(game, seed, 1, protocol=protocol, colour=True),
    )
    per_second = 60 / atari.ACTION_REPEAT
    return Filmed(watched, lambda timestep: _large(watched.shown), per_second)


def _catch(config: Config, seed: int) -> Filmed:
    from stac.environments import catch

    def picture(timestep: Timestep) -> np.ndarray:
        cells = np.asarray(timestep.observation)[0]
        if cells.ndim == 1:  # features
            cells = 255 * cells.reshape(catch.ROWS, catch.COLUMNS)
        grey = np.uint8(cells.reshape(-1, cells.shape[-1]))
        return _large(np.stack([grey] * 3, axis=-1))

    return Filmed(make.factory(config)(seed, 1), picture, 5)


def _minatar(config: Config, seed: int) -> Filmed:
    environment = make.factory(config)(seed, 1)

    def picture(timestep: Timestep) -> np.ndarray:
        planes = np.asarray(timestep.observation)[0] > 0
        highest = (planes * np.arange(1, len(planes) + 1)[:, None, None]).max(axis=0)
        return _large(_COLOURS[highest])

    return Filmed(environment, picture, 15)


def _mujoco(config: Config, seed: int) -> Filmed:
    from stac.environments import control, rendering
    from stac.environments.vector.batched import Batched

    rendering.suite(renders=True)
    environment = make.factory(config)(seed, 1)
    assert isinstance(environment, Batched)
    camera = control.CAMERAS.get(config.environment.task.split(".")[0], 0)
    return Filmed(
        environment, lambda timestep: environment.picture(camera, _HEIGHT, _WIDTH), 40
    )


def _gymnasium(config: Config, seed: int) -> Filmed:
    from stac.environments import gymnasium

    task = config.environment.task
    with make.building(task):
        environment = gymnasium.Gymnasium(task, seed, 1, draws=True)

    def picture(timestep: Timestep) -> np.ndarray:
        drawn = environment.picture()
        configuration.check(
            isinstance(drawn, np.ndarray) and drawn.ndim == 3,
            f"{task}: draws no picture with render_mode=rgb_array",
        )
        return _large(drawn)

    return Filmed(environment, picture, environment.frames_per_second)


_DOMAINS: dict[str, Callable[[Config, int], Filmed]] = {
    "atari": _atari,
    "catch": _catch,
    "control": _mujoco,
    "gymnasium": _gymnasium,
    "minatar": _minatar,
    "realworld": _mujoco,
}


def _large(picture: np.ndarray) -> np.ndarray:
    times = max(1, -(-SMALLEST // min(picture.shape[:2])))
    return picture.repeat(times, axis=0).repeat(times, axis=1)
