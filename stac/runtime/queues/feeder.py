"""The feeder: takes the next batch out of the queue while the learner updates."""

from __future__ import annotations

import threading
from concurrent import futures

from stac.runtime.queues.base import Closed, TrajectoryQueue
from stac.types import Experience

_JOIN_SECONDS = 5.0


class Feeder:
    """Holds the next batch ready, in numpy, which a thread takes.

    Gathering a batch (18 MB for Atari) takes memory bandwidth but not the GIL, so it
    fits beside an update. It takes no second batch, which would only grow old here. The
    update moves the batch to the device: JAX starts that while the update before runs.
    """

    def __init__(self, queue: TrajectoryQueue, batch_size: int) -> None:
        self._queue = queue
        self._batch_size = batch_size
        self._discarded: int | None = None  # trajectories, once the feeder is closed
        self._closed = False
        self._lock = threading.Lock()
        self._take()

    def next(self) -> Experience:
        """Returns the next batch, leaves [B, ...]; waits for it.

        Raises:
          Closed: the feeder or the queue was closed.
          Exception: the error that `queue.get` raised.
        """
        batch = self._batch.result()
        with self._lock:
            if self._closed:
                raise Closed
            self._take()
        return batch

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        return self._batch.done() and not self._batch.exception()

    def size(self) -> int:
        """Trajectories that wait, in the queue and here."""
        return self._queue.size() + self._batch_size * self.ready()

    def discarded(self) -> int:
        """Trajectories that waited when the feeder was closed: they are lost."""
        return self._discarded or 0

    def close(self) -> None:
        """Closes the queue as well, which has no other reader; may be called twice."""
        with self._lock:  # so that no batch leaves while they are counted
            self._closed = True
        self._queue.close()
        self._thread.join(_JOIN_SECONDS)
        if self._discarded is None:
            self._discarded = self.size()

    def _take(self) -> None:
        """Begins to take a batch; in a thread that no exit of the process waits for."""
        self._batch: futures.Future[Experience] = futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(self._batch,), name="feeder", daemon=True
        )
        self._thread.start()

    def _run(self, batch: futures.Future[Experience]) -> None:
        try:
            batch.set_result(self._queue.get(self._batch_size))
        except BaseException as error:  # noqa: BLE001 - `next` raises it
            batch.set_exception(error)
