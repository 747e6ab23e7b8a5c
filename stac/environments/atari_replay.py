"""Snapshots of Atari games: the actions since a restart, which are played again.

ale-py's vector environment cannot copy its emulators. But it can restart single copies
with a seed, and everything after a restart depends on this seed and the actions alone:
no-ops, sticky actions, and later episodes too. So a snapshot holds the number of each
copy's last restart and all actions since. A restart loads the ROM anew and takes 180 ms
of a core, a step 0.4 ms. So a copy is restarted at the first end of an episode that
comes `RESTART_STEPS` after its last restart.
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

RESTART_STEPS = 2_000

Vector = Any  # an ale_py.vector_env.AtariVectorEnv, autoreset_mode "NextStep"
Info = dict[str, np.ndarray]
Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, Info]


class Record(NamedTuple):
    """The actions of E copies since the oldest of their last restarts."""

    seed: int  # of all restarts
    restarts: np.ndarray  # [E] the number of restarts of each copy
    since: np.ndarray  # [E] the row of `actions` before which the last one was
    actions: np.ndarray  # [T, E] uint8
    checksum: int  # of the observations after the last action


class Player:
    """Starts and steps a vector environment and records how."""

    def __init__(self, seed: int, num_envs: int) -> None:
        self._seed = seed
        self._restarts = np.zeros(num_envs, int)
        self._since = np.zeros(num_envs, int)
        self._actions: list[np.ndarray] = []
        self._observation = np.zeros(0, np.uint8)

    def reset(self, vector: Vector) -> tuple[np.ndarray, Info]:
        """Restarts all copies."""
        return self._restart(vector, np.ones(len(self._since), bool))

    def step(self, vector: Vector, action: np.ndarray, ended: np.ndarray) -> Step:
        """Steps all copies, as `vector.step` does, or restarts some.

        Args:
          vector: the environment that was reset.
          action: [E].
          ended: [E] which copies begin an episode with this step.
        """
        played = vector.step(action)
        self._actions.append(action.astype(np.uint8))
        self._observation = played[0]
        due = ended & (len(self._actions) - self._since > RESTART_STEPS)
        if not due.any():
            return played
        # The vector environment has begun these episodes too: in vain, for 12 ms each.
        observation, info = self._restart(vector, due)
        return (observation, *played[1:4], info)

    def record(self) -> Record:
        """The record for `replay`; it is empty before `reset`."""
        actions = np.reshape(self._actions, (-1, len(self._since))).astype(np.uint8)
        checksum = zlib.crc32(self._observation.data)
        return Record(self._seed, self._restarts, self._since, actions, checksum)

    def replay(self, vector: Vector, record: Record) -> None:
        """Plays the actions of a record in a new vector environment.

        Raises:
          ValueError: they lead to other observations; this player is unchanged.
        """
        observation = self._observation
        if record.restarts.any():  # else there was no reset yet
            observation = _replayed(vector, record)
        if zlib.crc32(observation.data) != record.checksum:
            raise ValueError("the same actions now lead elsewhere: another ale-py?")
        self._observation = observation
        self._seed, self._restarts, self._since, actions, _ = record
        self._actions = list(actions)

    def _restart(self, vector: Vector, due: np.ndarray) -> tuple[np.ndarray, Info]:
        """Restarts the copies in a [E] mask; their earlier actions are dropped."""
        self._restarts[due] += 1
        self._since[due] = len(self._actions)
        oldest = self._since.min()
        del self._actions[:oldest]
        self._since -= oldest
        observation, info = _restart(vector, due, self._seed, self._restarts)
        self._observation = observation
        return observation, info


def _replayed(vector: Vector, record: Record) -> np.ndarray:
    """The observations after the last action of a record."""
    observation, _ = vector.reset()  # every copy is restarted later
    for row in range(len(record.actions) + 1):
        due = record.since == row
        if due.any():
            observation, _ = _restart(vector, due, record.seed, record.restarts)
        if row < len(record.actions):
            observation = vector.step(record.actions[row].astype(np.int32))[0]
    return observation


def _restart(
    vector: Vector, due: np.ndarray, seed: int, restarts: np.ndarray
) -> tuple[np.ndarray, Info]:
    """Restarts some copies; the result also holds the others, which do not change."""
    seeds = [_seed(seed, int(copy), int(restarts[copy])) for copy in np.where(due)[0]]
    return vector.reset(seed=np.array(seeds), options={"reset_mask": due})


def _seed(seed: int, copy: int, restart: int) -> int:
    """In [0, 2^31), as ALE wants it; unrelated to all others."""
    words = np.random.SeedSequence(seed, spawn_key=(copy, restart)).generate_state(1)
    return int(words[0] >> 1)
