"""The learner: updates, publishes, logs and saves.

At most two updates are started and not finished, and mostly one. While the device
computes one, the host takes the next batch, starts its update (JAX queues it behind),
and only then waits for the first, publishes its parameters, and now and then logs and
saves. So the device does not wait for the host, and the host cannot run ahead of it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from stac.agents import base
from stac.runtime.checkpoints import Counters
from stac.runtime.devices import LearnerDevices
from stac.runtime.loggers import Logger
from stac.runtime.queues import Closed
from stac.runtime.shutdown import Stop
from stac.runtime.statistics import Statistics
from stac.types import Experience, LearnerState, Params

_SAVE_LOCK_SECONDS = 3.0  # how long a save from another thread waits for one at work


class Feed(Protocol):
    """Where batches come from: feeder.Feeder, or actors in turn."""

    def next(self) -> Experience:
        """The next batch, leaves [B, ...]; raises Closed when the run ends."""
        ...

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        ...

    def size(self) -> int:
        """Trajectories that wait, for the logs."""
        ...


class Cadence(NamedTuple):
    """How often what happens, and when a run is over."""

    frames_per_update: int  # environment frames
    total_frames: int
    log_seconds: float
    checkpoint_seconds: float


class Outlets(NamedTuple):
    """Where the learner's results go."""

    publish: Callable[[int, Params], None]  # (updates, what actors need), numpy
    save: Callable[[int, LearnerState, Counters], object]  # (updates, one replica, …)
    logger: Logger
    status: Callable[[str], None]  # what the run waits for, for the person watching


class _Update(NamedTuple):
    """An update that was started; `states` and `metrics` may not be there yet."""

    number: int  # updates since the run began, this one included
    frames: int  # environment frames consumed, this update's included
    states: LearnerState  # replicated
    metrics: base.Metrics


class Learner:
    """Owns the learner state and what is counted beside it."""

    def __init__(
        self,
        devices: LearnerDevices,
        state: LearnerState,  # one replica: a new one, or a checkpoint's
        counters: Counters,  # the checkpoint's, or {}
        cadence: Cadence,
        outlets: Outlets,
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        self._devices = devices
        self._cadence = cadence
        self._outlets = outlets
        self._clock = clock
        self._statistics = Statistics(counters, int(state.frames), clock)
        self._newest = _Update(
            int(state.updates), int(state.frames), devices.replicate(state), {}
        )
        self._finished = self._newest
        self._saved = self._newest.number if counters else None  # updates
        self._saved_at = clock()
        self._saving = threading.Lock()
        outlets.publish(self._newest.number, devices.actor_params(self._newest.states))

    @property
    def updates(self) -> int:
        """Updates started so far, since the run began."""
        return self._newest.number

    @property
    def saved(self) -> int | None:
        """Updates behind the newest checkpoint; None before there is one."""
        return self._saved

    @property
    def done(self) -> bool:
        """Whether the updates started so far consume all frames of the run."""
        return self._newest.frames >= self._cadence.total_frames

    def run(self, feed: Feed, stop: Stop) -> None:
        """Updates until the run is over, asked to stop, or without batches; then saves.

        Raises:
          Exception: what the feed raised, after saving.
        """
        try:
            while not (self.done or stop.is_set()):
                if not feed.ready():
                    self.settle()  # actors want to know, and there is time
                with self._statistics.waiting():
                    batch = feed.next()
                self._statistics.queue_size = feed.size
                self.step(batch)
        except Closed:
            pass
        finally:
            try:
                self.settle()
                if self._statistics.unlogged:
                    self._log(self._finished)
            finally:
                self.save()  # the last state that finished, whatever happened since

    def step(self, batch: Experience) -> None:
        """Starts the update on `batch` [B, ...]; then finishes the one before."""
        before = self._newest
        if not before.metrics:
            self._outlets.status("compiling the update")
        self._statistics.add(batch.report, before.number)
        states, metrics = self._devices.update(before.states, batch.trajectory)
        self._newest = _Update(
            number=before.number + 1,
            frames=before.frames + self._cadence.frames_per_update,
            states=states,
            metrics=metrics,
        )
        self._finish(before)

    def settle(self) -> None:
        """Finishes every update that was started."""
        self._finish(self._newest)

    def save(self) -> bool:
        """Saves the last finished state unless it is saved; from any thread.

        Returns whether it is saved now: where another thread's save takes longer than
        3 s, this gives up.
        """
        if not self._saving.acquire(timeout=_SAVE_LOCK_SECONDS):
            return False
        try:
            update = self._finished
            if update.number != self._saved:
                state = self._devices.fetch(update.states)
                self._outlets.save(update.number, state, self._statistics.counters())
                self._saved, self._saved_at = update.number, self._clock()
        finally:
            self._saving.release()
        return True

    def _finish(self, update: _Update) -> None:
        """Waits for `update`, publishes it, and logs and saves where it is time."""
        if update.number == self._finished.number:
            return
        params = self._devices.actor_params(update.states)
        self._finished = update
        self._outlets.publish(update.number, params)
        self._statistics.unlogged = True
        if self._statistics.log_is_due(self._cadence.log_seconds):
            self._log(update)
        if self._clock() - self._saved_at >= self._cadence.checkpoint_seconds:
            self.save()

    def _log(self, update: _Update) -> None:
        row = self._statistics.row(update.number, update.frames)
        self._outlets.logger.write(row | self._devices.fetch_metrics(update.metrics))
