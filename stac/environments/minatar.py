"""MinAtar: five games of Atari on a grid of 10 by 10 (Young and Tian 2019).

The games are those of the package `minatar`. As in its own `Environment`, an action is
replaced by the one before it with the probability `sticky_actions`, also across the
beginning of an episode, and all games share the same six actions, of which a game's
minimal set has those that do something. Difficulty ramps in asterix, seaquest and
space_invaders. No game has a time limit but freeway, whose end
after 2,500 steps is a true one to the package, and so it is here. An episode is cut
after `MOST_STEPS`, which the package does not: a perfect player would never end one.

Each game's file is loaded alone: `import minatar` takes 6 s for a plotting library.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
from typing import Any

import numpy as np

from stac import config, snapshots
from stac.environments import actions, base, space_invaders
from stac.types import Timestep

GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
ACTIONS = 6  # none, left, up, right, down, fire
SIZE = 10  # cells of a side
MOST_STEPS = 27_000  # of an episode, as many as Atari's 108,000 frames


class MinAtar:
    """E games; the rows mean what stac.environments.base says."""

    def __init__(
        self,
        game: str,
        seed: int,
        num_envs: int,
        sticky_actions: float = 0.1,
        ramping: bool = True,
        minimal_actions: bool = False,
    ) -> None:
        """Sets up E games.

        Args:
          game: one of `GAMES`, in any spelling.
          seed: not negative; equal seeds and actions give equal rows.
          num_envs: E.
          sticky_actions: the probability of the action before; 0.1 as published.
          ramping: whether the difficulty rises, as published.
          minimal_actions: whether only the actions that do something are offered;
            published results have all six.

        Raises:
          ConfigError: an unknown game, or the package is not installed.
        """
        self._game = task(game)
        self._title = f"minatar {self._game}, {num_envs} games"
        self._sticky = sticky_actions
        kind = _kind(self._game)
        self._games = [kind(ramping=ramping) for _ in range(num_envs)]
        for played, own_seed in zip(
            self._games, base.seeds(seed, num_envs), strict=True
        ):
            played.random = np.random.RandomState(own_seed)
        self._before = [0] * num_envs  # actions that a sticky one repeats
        self._last = np.zeros(num_envs, bool)
        self._steps = np.zeros(num_envs, int)  # of the episodes at play
        self.num_envs = num_envs
        self._actions = list(range(ACTIONS))  # the package's, by those of the agent
        if minimal_actions:
            self._actions = self._games[0].minimal_action_set()
        channels = self._games[0].state_shape()[-1]
        self.spec = base.EnvironmentSpec(
            (channels, SIZE, SIZE),
            np.dtype(np.uint8),
            num_actions=len(self._actions),
            continuous=False,
            frames_per_step=1,
        )

    def reset(self) -> Timestep:
        """Starts E episodes."""
        for played in self._games:
            played.reset()
        self._last = np.zeros(self.num_envs, bool)
        self._steps = np.zeros(self.num_envs, int)
        return base.first_rows(self._observation())

    def step(self, action: np.ndarray) -> Timestep:
        """Plays a step, or starts the next episode after a `last` row."""
        taken, first = actions.checked(action, self).tolist(), self._last
        reward = np.zeros(self.num_envs, np.float32)
        ended = np.zeros(self.num_envs, bool)
        for index, played in enumerate(self._games):
            if first[index]:
                played.reset()
                continue
            if played.random.rand() >= self._sticky:
                self._before[index] = self._actions[taken[index]]
            reward[index], ended[index] = played.act(self._before[index])
        self._steps = np.where(first, 0, self._steps + 1)
        self._last = ended | (self._steps >= MOST_STEPS)
        discount = 1.0 - ended.astype(np.float32)
        return Timestep(self._observation(), reward, discount, first, self._last)

    def snapshot(self) -> bytes:
        """The games, with their generators, and the actions before."""
        states = [vars(played) for played in self._games]
        counts = (self._before, self._last, self._steps)
        return snapshots.pack(self._title, (states, *counts))

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base."""
        states, *counts = snapshots.unpack(self._title, snapshot)
        for played, state in zip(self._games, states, strict=True):
            vars(played).update(state)
        self._before, self._last, self._steps = counts

    def close(self) -> None:
        """Holds nothing that must be freed."""

    def _observation(self) -> np.ndarray:
        """[E, C, 10, 10] uint8, 0 or 255."""
        states = np.stack([played.state() for played in self._games])
        planes = np.ascontiguousarray(states.transpose(0, 3, 1, 2)).view(np.uint8)
        return planes * np.uint8(255)


def task(game: str) -> str:
    """The spelling of a game in `GAMES`.

    Raises:
      ConfigError: there is none; the message names the nearest ones.
    """
    return base.named("MinAtar game", game.removeprefix("MinAtar/"), GAMES)


@functools.cache
def _kind(game: str) -> Any:
    """The class of a game: the package's, but ours where that is slow.

    Raises:
      ConfigError: the package is not installed.
    """
    if game == "space_invaders":
        return space_invaders.SpaceInvaders
    package = importlib.util.find_spec("minatar")  # looks, and imports nothing
    if package is None or package.origin is None:
        raise config.ConfigError(
            "the package of MinAtar is not installed: pip install minatar"
        )
    path = pathlib.Path(package.origin).parent / "environments" / f"{game}.py"
    spec = importlib.util.spec_from_file_location(f"minatar_{game}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Env
