"""A TrajectoryQueue and a ParameterSource within one process."""

from __future__ import annotations

import collections
import threading

import jax
import numpy as np

from stac.runtime.queues.base import Closed
from stac.types import Experience, Params


class LocalQueue:
    """Holds at most `capacity` trajectories.

    It keeps slices of the arrays that were put, so they must not be written to
    afterwards. A `get` of exactly the trajectories of one `put` copies nothing; any
    other copies once, field by field.
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
        """See TrajectoryQueue; trajectories go in as soon as there is room for some."""
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
        """The trajectories that wait, the oldest first, in the pieces they came in."""
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


class ParameterStore:
    """Holds the newest parameters.

    Readers share the published arrays (numpy), so nobody may write to them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: tuple[int, Params] | None = None
        self._closed = False

    def publish(self, version: int, params: Params) -> None:
        """Replaces what readers get: `params` after `version` updates."""
        with self._changed:
            self._newest = (version, params)
            self._changed.notify_all()

    def latest(self) -> tuple[int, Params]:
        """See ParameterSource."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest is not None)
            if self._closed or self._newest is None:
                raise Closed
            return self._newest

    def close(self) -> None:
        """Wakes every reader with Closed; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _count(experience: Experience) -> int:
    return len(experience.report.actor)


def _rows(experience: Experience, start: int, stop: int) -> Experience:
    """A view of trajectories `start` to `stop`."""
    return jax.tree.map(lambda leaf: leaf[start:stop], experience)


def _joined(slices: list[Experience]) -> Experience:
    if len(slices) == 1:
        return slices[0]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *slices)
