"""The feeder: takes the next batch out of the queue while the learner updates."""

from __future__ import annotations

import threading

from stac.runtime.queues.base import Closed, TrajectoryQueue
from stac.types import Experience

_JOIN_SECONDS = 5.0


class Feeder:
    """A thread that holds the next batch ready, in numpy.

    Gathering a batch (18 MB for Atari) takes memory bandwidth but not the GIL, so it
    fits beside an update. It takes no second batch, which would only grow old here. The
    update moves the batch to the device: JAX starts that while the update before runs.
    """

    def __init__(self, queue: TrajectoryQueue, batch_size: int) -> None:
        self._queue = queue
        self._batch_size = batch_size
        self._batch: Experience | None = None  # the next one, once it is there
        self._failure: BaseException | None = None  # why no more batches come
        self._discarded: int | None = None  # trajectories, once the feeder is closed
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def next(self) -> Experience:
        """Returns the next batch, leaves [B, ...]; waits for it.

        Raises:
          Closed: the feeder or the queue was closed.
          Exception: the error that `queue.get` raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self.ready())
            if self._failure:
                raise self._failure
            batch, self._batch = self._batch, None
            assert batch is not None
            self._changed.notify_all()
            return batch

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        return self._batch is not None

    def size(self) -> int:
        """Trajectories that wait, in the queue and here."""
        return self._queue.size() + self._batch_size * self.ready()

    def discarded(self) -> int:
        """Trajectories that waited when the feeder was closed: they are lost."""
        return self._discarded or 0

    def close(self) -> None:
        """Closes the queue as well, which has no other reader; may be called twice."""
        self._fail(Closed())  # first, so that no batch leaves while they are counted
        self._queue.close()
        self._thread.join(_JOIN_SECONDS)
        if self._discarded is None:
            self._discarded = self.size()

    def _run(self) -> None:
        try:
            while self._has_room():
                batch = self._queue.get(self._batch_size)
                with self._changed:
                    self._batch = batch
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - `next` raises it
            self._fail(error)

    def _has_room(self) -> bool:
        """Waits until the batch here was taken; returns False at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self.ready())
            return self._failure is None

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()
