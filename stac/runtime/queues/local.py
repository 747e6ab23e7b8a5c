"""A TrajectoryQueue and a ParameterSource within one process."""

from __future__ import annotations

import collections
import contextlib
import threading
from collections.abc import Iterator

import jax
import numpy as np

from stac.runtime.queues.base import Closed, ParameterSource
from stac.types import Experience, Params


class LocalQueue:
    """Holds at most `capacity` trajectories.

    It keeps views of the arrays that were put, so they must not be written to
    afterwards. A `get` copies once.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: collections.deque[Experience] = collections.deque()
        self._closed = False
        self._acting = 0  # trajectories that have room, and are not all here yet
        self._starved = False  # the learner waits for trajectories
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def room(self, count: int) -> Iterator[None]:
        """See TrajectoryQueue: waits for room for these and all that are being acted.

        Where the learner waits for trajectories there is room for any number.
        """

        def is_there() -> bool:
            coming = self._acting + self.size() + count
            return self._closed or self._starved or coming <= self._capacity

        with self._changed:
            self._changed.wait_for(is_there)
            if self._closed:
                raise Closed
            self._acting += count
        try:
            yield
        finally:
            with self._changed:
                self._acting -= count
                self._changed.notify_all()

    def put(self, experience: Experience) -> None:
        """See TrajectoryQueue; each trajectory goes in as soon as there is room."""
        for index in range(len(experience.report.actor)):
            trajectory = _view(experience, index)
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or self.size() < self._capacity
                )
                if self._closed:
                    raise Closed
                self._waiting.append(trajectory)
                self._changed.notify_all()

    def get(self, count: int) -> Experience:
        """See TrajectoryQueue.

        Raises:
          ValueError: `count` is more than the queue can ever hold.
        """
        if count > self._capacity:
            raise ValueError(f"cannot take {count} from a queue of {self._capacity}")
        with self._changed:
            self._starved = self.size() < count
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed or self.size() >= count)
            self._starved = False
            if self._closed:
                raise Closed
            taken = [self._waiting.popleft() for _ in range(count)]
            self._changed.notify_all()
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *taken)

    def size(self) -> int:
        return len(self._waiting)

    def content(self) -> list[Experience]:
        """The trajectories that wait, one by one, the oldest first."""
        with self._changed:
            return list(self._waiting)

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class ParameterStore:
    """Holds the newest parameters; readers share the published arrays."""

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


class OnDevice:
    """The newest parameters on one device: one copy a version, for all actors there."""

    def __init__(self, source: ParameterSource, device: jax.Device) -> None:
        self._source, self.device = source, device
        self._copying = threading.Lock()
        self._version = -1
        self._params: Params = None

    def latest(self) -> tuple[int, Params]:
        """See ParameterSource. Nothing is copied where they are on the device."""
        version, params = self._source.latest()
        with self._copying:
            if version > self._version:
                self._params = jax.device_put(params, self.device)
                self._version = version
            return self._version, self._params


def _view(experience: Experience, index: int) -> Experience:
    """A view of one trajectory: leaves [1, ...]."""
    return jax.tree.map(lambda leaf: leaf[index : index + 1], experience)
