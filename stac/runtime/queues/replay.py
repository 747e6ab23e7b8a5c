"""A replay: the newest transitions of a run, and uniform draws from them.

It lies in the learner's process, behind whatever queue brings the trajectories: every
update takes as many new ones as without a replay, so updates per step are exact in all
runtimes, and actors wait where the learner is slow. A Reverb table that samples single
transitions would do the same for some 40 batches of 256 a second on two cores; this
makes thousands (docs/soft_actor_critics.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping

import numpy as np

from stac import snapshots
from stac.agents import base
from stac.environments.base import EnvironmentSpec
from stac.runtime.faults import lines
from stac.types import Array, Experience, Sample, Trajectory, Transition

NAME = "replay"  # of its snapshot in a checkpoint


class Replay:
    """A ring of transitions; the oldest make room for new ones."""

    def __init__(
        self, size: base.ReplaySize, seed: int, initial: Array, *, saved: bool = True
    ) -> None:
        """Builds an empty one. Memory is taken as it fills.

        Args:
          size: of this host's share.
          seed: of the draws: the n-th one comes from (seed, n) alone.
          initial: [D, F] first observations, which are part of every sample.
          saved: checkpoints hold what it keeps.
        """
        self._size, self._seed, self._initial = size, seed, initial
        self._saved = saved
        self._ring: Transition | None = None  # leaves [capacity, ...]
        self._seen = 0  # steps so far, those between episodes included
        self._kept = 0  # transitions so far, those that were overwritten included
        self._drawn = 0  # samples so far
        self._warned = False  # of a step that was left out
        self._busy = threading.Lock()

    def __len__(self) -> int:
        """Transitions in it."""
        return min(self._kept, self._size.capacity)

    def exchange(self, taken: Experience) -> Experience:
        """Keeps the transitions of new trajectories; returns a sample of all.

        Args:
          taken: trajectories [B, n, ...] in numpy.

        Returns:
          A Sample, with the reports of the new trajectories.
        """
        assert isinstance(taken.trajectory, Trajectory)
        new = transitions(taken.trajectory)
        finite = np.all(
            [np.isfinite(x).all(axis=tuple(range(1, x.ndim))) for x in new], axis=0
        )
        if not finite.all() and not self._warned:
            self._warned = True
            actors = ", ".join(map(str, np.unique(taken.report.actor)))
            lines.to_stderr(
                "a step that is not finite is left out of the replay, as all such are:"
                f" look at what these actors send: {actors}"
            )
        with self._busy:
            self._seen += taken.trajectory.reward.size
            self._keep(Transition(*(leaf[finite] for leaf in new)))
            return taken._replace(trajectory=self._draw())

    def snapshot(self) -> dict[str, bytes]:
        """All that is kept, for a checkpoint; {} where it is not saved; any thread."""
        if not self._saved:
            return {}
        with self._busy:
            ring = self._ring and Transition(
                *(leaf[: len(self)] for leaf in self._ring)
            )
            state = self._seen, self._kept, self._drawn, ring
            return {NAME: snapshots.pack(self._title(), state)}

    def restore(self, saved: Mapping[str, bytes]) -> None:
        """Continues from `snapshot`: the same samples, bit for bit.

        Does nothing where nothing was saved.

        Raises:
          ValueError: this is no snapshot of such a replay, in one line.
        """
        if NAME not in saved:
            return
        seen, kept, drawn, ring = snapshots.unpack(self._title(), saved[NAME])
        with self._busy:
            self._seen, self._kept, self._drawn = seen, kept, drawn
            if ring is not None:
                self._ring = self._empty(ring)
                for leaf, old in zip(self._ring, ring, strict=True):
                    leaf[: len(old)] = old

    def _title(self) -> str:
        return f"a replay of {self._size.capacity} transitions"

    def _empty(self, like: Transition) -> Transition:
        room = (self._size.capacity,)
        return Transition(*(np.zeros(room + x.shape[1:], x.dtype) for x in like))

    def _keep(self, new: Transition) -> None:
        if self._ring is None:
            self._ring = self._empty(new)
        count = len(new.reward)
        places = (self._kept + np.arange(count)) % self._size.capacity
        for leaf, added in zip(self._ring, new, strict=True):
            leaf[places] = added
        self._kept += count

    def _draw(self) -> Sample:
        assert self._ring is not None
        random = np.random.default_rng([self._seed, self._drawn])
        self._drawn += 1
        places = random.integers(max(1, len(self)), size=self._size.draws)
        return Sample(
            Transition(*(leaf[places] for leaf in self._ring)),
            random.integers(2**32, size=(len(places), 2), dtype=np.uint32),
            np.full(len(places), bool(len(self)) and self._seen >= self._size.least),
            self._initial,
        )


def transition_bytes(spec: EnvironmentSpec) -> int:
    """Bytes of a transition: two observations, an action, reward and discount."""
    observation = math.prod(spec.observation_shape) * spec.observation_dtype.itemsize
    return 2 * observation + 4 * spec.num_actions + 8


def transitions(trajectory: Trajectory) -> Transition:
    """The transitions of trajectories, [S, ...]: all within an episode, rows in order.

    Args:
      trajectory: leaves [B, n, ...] in numpy.
    """
    inside = ~np.asarray(trajectory.first[:, 1:])
    observation = np.asarray(trajectory.observation)
    columns = (
        observation[:, :-1],
        trajectory.action,
        trajectory.reward,
        trajectory.discount,
        observation[:, 1:],
    )
    return Transition(*(np.asarray(column)[inside] for column in columns))
