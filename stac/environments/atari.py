"""Atari 2600 games: ale-py's batched C++ environment behind our rows.

The preprocessing is that of Mnih et al. (2015) as in IMPALA, Table G.1: 84x84 grey, 4
stacked planes with the newest last, each action repeated 4 times, the maximum over the
last two frames, up to 30 no-ops after a reset, no fire reset, and a cap of 108,000
emulated frames (30 minutes of play). Rewards are raw; the loss clips them.

Facts about ale-py 0.12.1 that matter here:
- Planes older than the episode are zero after a reset.
- ALE stops inside an action repeat when the game ends or the cap is reached, before it
  reads the screen, so the newest plane of a `last` row is up to 3 frames old.
- Every step returns new arrays: no copy is needed here.
- An action out of range never returns from C++, so it is refused here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stac import config
from stac.environments import actions, base
from stac.types import Timestep

try:
    from ale_py import roms, vector_env
except ImportError as error:
    raise config.ConfigError(
        "Atari needs the packages ale-py and gymnasium: run `make setup`"
    ) from error

ACTION_REPEAT = 4  # emulated frames per step
STACKED_PLANES = 4
SIZE = 84  # pixels, height and width
SCREEN = (210, 160, 1)  # height and width of the whole screen; one plane
MAX_NOOPS = 30
MAX_FRAMES = 108_000  # emulated frames of an episode, no-ops not counted

Info = dict[str, np.ndarray]
Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Info]


class Protocol(NamedTuple):
    """The rules in which papers differ on the same games."""

    full_action_set: bool  # else only the actions that do something in this game
    sticky: float  # probability that a frame repeats the frame before's action
    life_loss_ends_discount: bool  # discount 0 at a lost life; the episode goes on


PROTOCOLS = {
    # Espeholt et al. (2018), Table G.1, with dqn_zoo's reading of a lost life.
    "impala": Protocol(full_action_set=False, sticky=0.0, life_loss_ends_discount=True),
    # Machado et al. (2018), Table 4. 18 actions, but ale-py gives skiing only 9.
    "machado": Protocol(
        full_action_set=True, sticky=0.25, life_loss_ends_discount=False
    ),
}


def rom_id(name: str) -> str:
    """ale-py's id of a game, from any usual spelling of its name.

    `james_bond`, `jamesbond`, `Jamesbond`, `ALE/Jamesbond-v5` and
    `JamesbondNoFrameskip-v4` are all `jamesbond`.

    Raises:
      ConfigError: no such game; the message names the nearest ones.
    """
    return base.named("game", name, games(), "--game=list names all")


def games() -> list[str]:
    """Every game of ale-py, by its id."""
    return sorted(roms.get_all_rom_ids())


class Atari:
    """E copies of one game, stepped together by C++ threads.

    Observations are uint8 [E, 4, 84, 84]. A true game over is `last` with discount 0;
    the frame cap is `last` with discount 1; a lost life is discount 0 where the
    protocol says so, and nothing else: the episode and its return go on.
    """

    def __init__(
        self,
        game: str,
        seed: int,
        num_envs: int,
        *,
        protocol: str = "impala",
        threads: int = 0,
        max_frames: int = MAX_FRAMES,
        colour: bool = False,
    ) -> None:
        """Loads the game; nothing is played before `reset`.

        Args:
          game: any spelling that `rom_id` knows.
          seed: not negative; equal seeds and actions give equal rows. Each copy has its
            own stream, and those of different seeds are unrelated.
          num_envs: E.
          protocol: a row of `PROTOCOLS`.
          threads: C++ threads, at most one per core; 0 for one per core.
          max_frames: emulated frames of an episode, at its end a time limit.
          colour: rows show the whole screen, uint8 [E, 1, 210, 160, 3], for pictures:
            no network reads it. All else of a row is the same.

        Raises:
          ConfigError: an unknown game or protocol.
        """
        rules = PROTOCOLS[config.choose("protocol", protocol, PROTOCOLS)]
        height, width, planes = SCREEN if colour else (SIZE, SIZE, STACKED_PLANES)
        self.num_envs = num_envs
        self._life_loss_ends_discount = rules.life_loss_ends_discount
        self._vector: vector_env.AtariVectorEnv | None = vector_env.AtariVectorEnv(
            rom_id(game),
            num_envs,
            num_threads=threads,
            autoreset_mode="NextStep",  # our rows, exactly (stac.environments.base)
            max_num_frames_per_episode=max_frames,
            repeat_action_probability=rules.sticky,
            full_action_space=rules.full_action_set,
            img_height=height,
            img_width=width,
            stack_num=planes,
            grayscale=not colour,
            frameskip=ACTION_REPEAT,
            maxpool=True,
            noop_max=MAX_NOOPS + 1,  # ALE draws from 0 .. noop_max - 1
            use_fire_reset=False,
            # With either flag a lost life looks like a game over, hides the frame cap,
            # and goes unseen where a game plays on with 0 lives (bank_heist does). The
            # lives counter tells them apart, in every game.
            episodic_life=False,
            life_loss_info=False,
            reward_clipping=False,
        )
        self.spec = base.EnvironmentSpec(
            observation_shape=(planes, height, width) + (3,) * colour,
            observation_dtype=np.dtype(np.uint8),
            num_actions=len(self._vector.ale.get_action_set()),
            continuous=False,
            frames_per_step=ACTION_REPEAT,
        )
        self._title = f"{num_envs} copies of {rom_id(game)} ({protocol})"
        self._seeds: np.ndarray | None = base.seeds(seed, num_envs)
        self._lives = np.zeros(num_envs, np.int32)  # games without lives: always 0
        self._last = np.zeros(num_envs, bool)

    def reset(self) -> Timestep:
        """Starts E episodes. Only the first call seeds: the next gives new episodes."""
        observation, info = self._reset()
        self._lives = info["lives"]
        self._last = np.zeros(self.num_envs, bool)
        return base.first_rows(observation)

    def step(self, action: np.ndarray) -> Timestep:
        """Plays one action for four frames in each copy, or starts its next episode."""
        first = self._last
        observation, reward, game_over, time_limit, info = self._step(
            actions.checked(action, self)
        )
        ended = game_over
        if self._life_loss_ends_discount:
            ended = game_over | ((info["lives"] < self._lives) & ~first)
        self._lives = info["lives"]
        self._last = game_over | time_limit
        return Timestep(
            observation=observation,
            reward=reward.astype(np.float32),
            discount=1.0 - ended.astype(np.float32),
            first=first,
            last=self._last,
        )

    def close(self) -> None:
        """Ends the C++ threads; may be called twice."""
        self._vector = None

    def _reset(self) -> tuple[np.ndarray, Info]:
        observation, info = self._open().reset(seed=self._seeds)
        self._seeds = None
        return observation, info

    def _step(self, action: np.ndarray) -> Step:
        return self._open().step(action)

    def _open(self) -> vector_env.AtariVectorEnv:
        if self._vector is None:
            raise RuntimeError("this Atari environment is closed")
        return self._vector
