"""The feeder: takes the next batch out of the queue while the learner updates."""

from __future__ import annotations

import collections
import threading

from stac.runtime.queues.local import Closed, TrajectoryQueue
from stac.types import Experience

_JOIN_SECONDS = 5.0


class Feeder:
    """A thread that holds the next batch ready, in numpy; at most `depth` of them.

    Gathering a batch (18 MB for Atari) takes memory bandwidth but not the GIL, so it
    fits beside an update. The transfer to the device is the update's: JAX starts it
    while the update before still runs.
    """

    def __init__(self, queue: TrajectoryQueue, batch_size: int, depth: int = 1) -> None:
        self._queue = queue
        self._batch_size = batch_size
        self._depth = depth
        self._batches: collections.deque[Experience] = collections.deque()
        self._failure: BaseException | None = None  # why there will be no more
        self._left: int | None = None  # trajectories, once it is closed
        self._closing = threading.Lock()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def next(self) -> Experience:
        """Returns the next batch, leaves [B, ...]; waits for it.

        Raises:
          Closed: the feeder or the queue was closed.
          Exception: what taking from the queue raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._batches)
            if self._failure:
                raise self._failure
            batch = self._batches.popleft()
            self._changed.notify_all()
            return batch

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        return bool(self._batches)

    def size(self) -> int:
        """Trajectories that wait, in the queue and here."""
        return self._queue.size() + self._batch_size * len(self._batches)

    def discarded(self) -> int:
        """Trajectories that waited when it was closed, which nobody learns from."""
        return self._left or 0

    def close(self) -> None:
        """Closes the queue too, for nobody reads it any more; may be called twice."""
        self._fail(Closed())  # nothing is given any more, nor moved once it has ended
        self._queue.close()
        self._thread.join(_JOIN_SECONDS)
        with self._closing:
            if self._left is None:
                self._left = self.size()

    def _run(self) -> None:
        try:
            while self._has_room():
                batch = self._queue.get(self._batch_size)
                with self._changed:
                    self._batches.append(batch)
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - `next` raises it
            self._fail(error)

    def _has_room(self) -> bool:
        """Waits until a batch may be taken, so that none grows old in between."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure or len(self._batches) < self._depth
            )
            return self._failure is None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()
