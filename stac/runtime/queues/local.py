"""The queue between actors and learner: first in, first out, and bounded.

Actors hand in `Experience` of E trajectories at a time, the learner takes B at a time.
A full queue makes actors wait, an empty one the learner; `close` wakes both sides with
`Closed`. What is in a queue is disposable: it is counted and no part of a checkpoint,
but in lockstep.
"""

from __future__ import annotations

import collections
import threading
from typing import Protocol

import jax
import numpy as np

from stac.types import Experience


class Closed(Exception):
    """The run is ending: nothing more goes through here."""


class TrajectoryQueue(Protocol):
    """What actors and learner know of a queue, wherever it lives."""

    def put(self, experience: Experience) -> None:
        """Hands in E trajectories, leaves [E, ...]; waits while full; or Closed."""
        ...

    def get(self, count: int) -> Experience:
        """Takes the oldest `count`, numpy [count, ...]; waits for them; or Closed."""
        ...

    def size(self) -> int:
        """Trajectories that wait to be taken, or did when it was closed."""
        ...

    def close(self) -> None:
        """Wakes whoever waits, on both sides; may be called twice."""
        ...


class LocalQueue:
    """A TrajectoryQueue within one process, bounded in trajectories.

    It keeps what was put as slices of the caller's arrays, so the arrays must not be
    written to afterwards. A `get` that meets exactly what one `put` handed in copies
    nothing; otherwise it copies once, field by field.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._slices: collections.deque[Experience] = collections.deque()
        self._size = 0
        self._closed = False
        lock = threading.Lock()
        self._has_room = threading.Condition(lock)
        self._has_data = threading.Condition(lock)

    def put(self, experience: Experience) -> None:
        """See TrajectoryQueue; more than there is room for goes in piece by piece."""
        total = _count(experience)
        start = 0
        while start < total:
            with self._has_room:
                self._has_room.wait_for(lambda: self._closed or self._room() > 0)
                if self._closed:
                    raise Closed
                stop = min(total, start + self._room())
                self._slices.append(_rows(experience, start, stop))
                self._size += stop - start
                self._has_data.notify_all()
            start = stop

    def get(self, count: int) -> Experience:
        """See TrajectoryQueue.

        Raises:
          ValueError: `count` is more than the queue can ever hold.
        """
        if count > self._capacity:
            raise ValueError(f"cannot take {count} from a queue of {self._capacity}")
        with self._has_data:
            self._has_data.wait_for(lambda: self._closed or self._size >= count)
            if self._closed:
                raise Closed
            slices = self._take(count)
            self._has_room.notify_all()
        return _joined(slices)

    def size(self) -> int:
        return self._size

    def content(self) -> list[Experience]:
        """All that waits, the oldest first, as it was handed in."""
        with self._has_data:
            return list(self._slices)

    def close(self) -> None:
        with self._has_data:
            self._closed = True
            self._slices.clear()
            self._has_data.notify_all()
            self._has_room.notify_all()

    def _room(self) -> int:
        return self._capacity - self._size

    def _take(self, count: int) -> list[Experience]:
        """Removes the oldest `count` trajectories; the caller holds the lock."""
        taken = []
        self._size -= count
        while count:
            oldest = self._slices.popleft()
            available = _count(oldest)
            if available > count:
                self._slices.appendleft(_rows(oldest, count, available))
                oldest = _rows(oldest, 0, count)
            taken.append(oldest)
            count -= min(count, available)
        return taken


def _count(experience: Experience) -> int:
    return len(experience.report.actor)


def _rows(experience: Experience, start: int, stop: int) -> Experience:
    """A view of trajectories `start` to `stop`."""
    return jax.tree.map(lambda leaf: leaf[start:stop], experience)


def _joined(slices: list[Experience]) -> Experience:
    if len(slices) == 1:
        return slices[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *slices)
