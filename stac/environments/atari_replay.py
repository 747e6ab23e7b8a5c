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
from typing import Any

import numpy as np

from stac import snapshots
from stac.environments import atari

RESTART_STEPS = 2_000


class RestorableAtari(atari.Atari):
    """Atari with snapshots.

    Rows are those of other seeds, and take a quarter longer (breakout, 32 copies).
    """

    def __init__(self, game: str, seed: int, num_envs: int, **named: Any) -> None:
        super().__init__(game, seed, num_envs, **named)
        self._seed = seed  # of all restarts
        self._restarts = np.zeros(num_envs, int)  # how many each copy had
        self._since = np.zeros(num_envs, int)  # the action before which the last was
        self._actions: list[np.ndarray] = []  # since the oldest of the last restarts
        self._observation = np.zeros(0, np.uint8)

    def snapshot(self) -> bytes:
        """The actions so far: `restore` plays them again."""
        actions = np.array(self._actions, np.uint8)
        record = (self._seed, self._restarts, self._since, actions)
        checksum = zlib.crc32(self._observation.data)
        state = (record, checksum, self._lives, self._last)
        return snapshots.pack(self._title, state)

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base.

        It takes as long as the steps since the oldest copy's last restart took, at most
        `RESTART_STEPS` and an episode: 24 s for 500 steps of 32 copies of breakout, on
        2 cores that had other work too.
        """
        record, checksum, lives, last = snapshots.unpack(self._title, snapshot)
        observation = self._replayed(*record)
        if zlib.crc32(observation.data) != checksum:
            raise ValueError("the same actions now lead elsewhere: another ale-py?")
        self._seed, self._restarts, self._since, actions = record
        self._actions, self._observation = list(actions), observation
        self._lives, self._last = lives, last

    def _reset(self) -> tuple[np.ndarray, atari.Info]:
        return self._restart(np.ones(self.num_envs, bool))

    def _step(self, action: np.ndarray) -> atari.Step:
        """Steps all copies, and restarts those that are due."""
        played = super()._step(action)
        self._actions.append(action.astype(np.uint8))
        self._observation = played[0]
        due = self._last & (len(self._actions) - self._since > RESTART_STEPS)
        if not due.any():
            return played
        # The vector environment has begun these episodes too: in vain, for 12 ms each.
        observation, info = self._restart(due)
        return (observation, *played[1:4], info)

    def _restart(self, due: np.ndarray) -> tuple[np.ndarray, atari.Info]:
        """Restarts the copies in a [E] mask; their earlier actions are dropped."""
        self._restarts[due] += 1
        self._since[due] = len(self._actions)
        oldest = self._since.min()
        del self._actions[:oldest]
        self._since -= oldest
        self._observation, info = self._seeded(due, self._seed, self._restarts)
        return self._observation, info

    def _replayed(
        self, seed: int, restarts: np.ndarray, since: np.ndarray, actions: np.ndarray
    ) -> np.ndarray:
        """Plays the actions of a record and returns the observations after the last."""
        if not restarts.any():  # there was no reset yet
            return self._observation
        observation, _ = self._open().reset()  # every copy is restarted later
        for row in range(len(actions) + 1):
            due = since == row
            if due.any():
                observation, _ = self._seeded(due, seed, restarts)
            if row < len(actions):
                observation = super()._step(actions[row].astype(np.int32))[0]
        return observation

    def _seeded(
        self, due: np.ndarray, seed: int, restarts: np.ndarray
    ) -> tuple[np.ndarray, atari.Info]:
        """Restarts some copies; the result also holds the others, unchanged."""
        seeds = [_seed(seed, int(i), int(restarts[i])) for i in np.flatnonzero(due)]
        return self._open().reset(seed=np.array(seeds), options={"reset_mask": due})


def _seed(seed: int, copy: int, restart: int) -> int:
    """In [0, 2^31), as ALE wants it; unrelated to all others."""
    words = np.random.SeedSequence(seed, spawn_key=(copy, restart)).generate_state(1)
    return int(words[0] >> 1)
