"""The learner: updates, publishes, logs and saves.

At most two updates are started and not finished, and mostly one. While the device
computes one, the host takes the next batch, starts its update (JAX queues it behind),
and only then waits for the first, publishes its parameters, and now and then logs and
saves. So the device does not wait for the host, and the host cannot run ahead of it.

Several hosts start the same updates, or one would wait for the others for ever. So a
host that is told to stop says so in its next update. All of them read that when it is
finished, and by then each has started one update more, or none: that one is their last.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import NamedTuple, Protocol

import jax

from stac.agents import base
from stac.config import Config
from stac.runtime.devices import STOPPING, LearnerDevices
from stac.runtime.faults.shutdown import Stop
from stac.runtime.faults.skips import Skips
from stac.runtime.logs.loggers import Logger
from stac.runtime.logs.statistics import Statistics
from stac.runtime.queues.base import Closed, TrajectoryQueue
from stac.runtime.queues.replay import Replay
from stac.runtime.storage.checkpoints import Checkpoint, Counters, NotSaved
from stac.types import Experience, LearnerState, Params, Report, Trajectory

_JOIN_SECONDS = 5.0  # for the thread that takes a batch
_SAVE_LOCK_SECONDS = 10.0  # how long a save from another thread waits for one at work


class Feed(Protocol):
    """A source of batches: a Feeder, or actors in turn."""

    def next(self) -> Experience:
        """The next batch, leaves [B, ...]; raises Closed when the run ends."""
        ...

    def ready(self) -> bool:
        """Whether `next` would return at once."""
        ...

    def size(self) -> int:
        """Trajectories that wait."""
        ...

    def close(self) -> None:
        """Ends the feed: no further batch is taken; may be called twice."""
        ...


class Feeder:
    """A Feed that takes batches out of a queue.

    A thread gathers a batch: 18 MB for Atari take memory bandwidth but not the GIL. An
    accelerator gets the next one while the update runs, and JAX moves it there. Where
    actors and learner share the cores that gains nothing, and the batch would only grow
    old: it is taken when it is asked for (docs/performance.md).
    """

    def __init__(
        self,
        queue: TrajectoryQueue,
        batch_size: int,
        replay: Replay | None = None,
        ahead: bool = True,
    ) -> None:
        """Begins to take the first batch, where that is done ahead.

        Args:
          queue: of the trajectories.
          batch_size: trajectories that are taken at a time.
          replay: what is learned from in their place, where there is one.
          ahead: whether a batch is taken before it is asked for.
        """
        self._queue = queue
        self._batch_size = batch_size
        self._replay = replay
        self._ahead = ahead
        self._closed = False
        self._lock = threading.Lock()
        self._batch: futures.Future[Experience] = futures.Future()
        self._thread: threading.Thread | None = None
        if ahead:
            self._take()

    def next(self) -> Experience:
        """See Feed; raises also what `queue.get` raised."""
        if not self._ahead:
            with self._lock:  # `close` joins no thread that is not started
                if self._closed:
                    raise Closed
                self._take()
        batch = self._batch.result()
        with self._lock:
            if self._closed:
                raise Closed
            self._batch = futures.Future()
            if self._ahead:
                self._take()
        return batch

    def ready(self) -> bool:
        return self._batch.done() and not self._batch.exception()

    def size(self) -> int:
        """Trajectories that wait, in the queue and here."""
        return self._queue.size() + self._batch_size * self.ready()

    def close(self) -> None:
        """Closes the queue as well, which has no other reader; may be called twice."""
        with self._lock:
            self._closed = True
        self._queue.close()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _take(self) -> None:
        """Begins to take a batch; in a thread that no exit of the process waits for."""
        self._thread = threading.Thread(
            target=self._run, args=(self._batch,), name="feeder", daemon=True
        )
        self._thread.start()

    def _run(self, batch: futures.Future[Experience]) -> None:
        try:
            taken = self._queue.get(self._batch_size)
            if self._replay is not None:
                taken = self._replay.exchange(taken)
            batch.set_result(taken)
        except BaseException as error:  # noqa: BLE001 - `next` raises it
            batch.set_exception(error)


class Outlets(NamedTuple):
    """Where the learner's results go."""

    # (updates, the actors' parameters on the first learner device)
    publish: Callable[[int, Params], None]
    # (updates, state in numpy, counters); raises NotSaved
    save: Callable[[int, LearnerState, Counters], object]
    logger: Logger
    status: Callable[[str], None]  # prints what the run waits for
    note: Callable[[str], None]  # prints an event
    # (updates, the same parameters, the replicated state) of every finished update
    finished: Callable[[int, Params, LearnerState], object] = lambda *_: None
    complete: Callable[[], object] = lambda: None  # the last update is finished


class _Update(NamedTuple):
    """An update that was started; the device may still compute states and metrics."""

    number: int  # updates since the run began, this one included
    states: LearnerState  # replicated
    metrics: base.Metrics
    report: Report | None = None  # of its batch; None: the state the run begins with


class Learner:
    """Owns the learner state and the counters beside it."""

    def __init__(
        self,
        devices: LearnerDevices,
        begun: Checkpoint,  # a new state without counters, or one that was saved
        config: Config,
        outlets: Outlets,
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        state = begun.state
        self.acting = begun.acting  # snapshots, for actors that continue exactly
        self._devices = devices
        self._config = config
        self._outlets = outlets
        self._clock = clock
        self._newest = _Update(int(state.updates), devices.replicate(state), {})
        self._statistics = Statistics(begun.counters, self.frames, clock)
        # How long it has had no batch by now, in seconds; from any thread.
        self.waiting_seconds = self._statistics.waiting_seconds
        self._finished = self._newest
        self._skips = Skips(
            config.runtime.skipped_share,
            outlets.note,
            replay=devices.agent.replay is not None,
        )
        self._statistics.counts["skipped_updates"] = lambda: self._skips.total
        self._alerts: set[str] = set()  # those of the last row, by their keys
        # Updates behind the newest checkpoint; None before there is one.
        self.saved = self._newest.number if begun.counters else None
        self._saved_at = clock()  # of the last save, or attempt
        self._unsaved: NotSaved | None = None  # the failure of the last attempt
        self._ending = False
        self._last: int | None = None  # update, where several hosts are to stop
        self._saving = threading.Lock()
        self._pairing = threading.Lock()  # the finished update and its counters
        self._publish(self._newest, devices.actor_params(self._newest.states))

    @property
    def updates(self) -> int:
        """Updates started so far, since the run began."""
        return self._newest.number

    @property
    def frames(self) -> int:
        """Environment frames that those updates consume."""
        return self._newest.number * self._devices.agent.frames_per_update

    @property
    def done(self) -> bool:
        """Whether the updates started so far consume all frames of the run."""
        return self.frames >= self._config.total_frames

    def run(
        self,
        feed: Feed,
        stop: Stop,
        restarts: Callable[[], int] = lambda: 0,
        actors: Callable[[], Mapping[str, float]] = dict,
        example: Trajectory | None = None,
    ) -> None:
        """Updates until the run is over, stopped, or the feed ends; then saves.

        Args:
          feed: of batches; closed at the end. Where there are several hosts, `stop`
            must not close it: the last updates need batches.
          stop: asks for the end of the run.
          restarts: counts those of actors in this part of the run.
          actors: metrics of the actors: their time, and those on other machines.
          example: a batch in shape, for which the update is compiled while the first
            one is on its way; None: it is compiled when that is there.

        Raises:
          Exception: the feed's, after saving.
          NotFinite: too many batches were skipped; after saving.
          NotSaved: nothing else was wrong, but the last state could not be saved.
        """
        self._statistics.queue_size = feed.size
        self._statistics.counts["actor_restarts"] = restarts
        self._statistics.actors = actors
        with contextlib.ExitStack() as last:  # each of these, whatever fails before
            last.callback(self.save)
            last.callback(self._log_the_last)
            last.callback(self.settle)
            last.callback(feed.close)
            if example is not None and self._devices.hosts == 1:
                self._outlets.status("compiling the update")
                self._devices.compile(self._newest.states, example)
                self._outlets.status("waiting for the actors")
            with contextlib.suppress(Closed):
                while not (self.done or self._stops(stop)):
                    if not feed.ready():
                        self.settle()  # publishes the newest while there is time
                    with self._statistics.waiting():
                        experience = feed.next()
                    self.step(experience, stop.is_set())
        if self._unsaved is not None:
            raise self._unsaved
        if self.saved != self._finished.number:
            raise NotSaved("the last update is not saved: another save does not end")
        if self.done and not stop.is_set():
            self._outlets.complete()

    def _stops(self, stop: Stop) -> bool:
        if self._devices.hosts == 1:
            return stop.is_set()
        return self._last is not None and self.updates >= self._last

    def _log_the_last(self) -> None:
        self._ending = True
        if self._statistics.unlogged:
            self._log(self._finished)

    def step(self, experience: Experience, stopping: bool = False) -> None:
        """Starts the update on a batch [B, ...]; then finishes the one before.

        Args:
          experience: of this host.
          stopping: whether this host was told to stop, for the others to know.
        """
        before = self._newest
        if not before.metrics:
            doing = "making the first" if self._devices.compiled else "compiling the"
            self._outlets.status(f"{doing} update")
        states, metrics = self._devices.update(
            before.states, experience.trajectory, stopping
        )
        number = before.number + 1
        self._newest = _Update(number, states, metrics, experience.report)
        self._finish(before)

    def settle(self) -> None:
        """Finishes every started update."""
        self._finish(self._newest)

    def save(self) -> bool:
        """Saves the last finished state unless it is saved; from any thread.

        Where the disk refuses it, a line says so, and the next attempt comes when the
        next checkpoint is due. Returns whether it is saved now: False, too, where
        another thread's save takes longer than 10 s.
        """
        if not self._saving.acquire(timeout=_SAVE_LOCK_SECONDS):
            return False
        try:
            with self._pairing:
                update, counters = self._finished, self._statistics.counters()
            if update.number != self.saved:
                self._try_to_save(update, counters)
            return update.number == self.saved
        finally:
            self._saving.release()

    def _try_to_save(self, update: _Update, counters: Counters) -> None:
        state = self._devices.fetch(update.states)
        try:
            self._outlets.save(update.number, state, counters)
        except NotSaved as error:
            newest = "there is no checkpoint"
            if self.saved is not None:
                newest = f"the newest checkpoint is of update {self.saved:,}"
            line = f"update {update.number:,} is not saved: {error}; {newest}"
            goes_on = "" if self._ending else "; training goes on"
            self._outlets.note(f"CHECKPOINT NOT SAVED: {line}{goes_on}")
            self._statistics.failed_saves += 1
            self._unsaved = NotSaved(line)
        else:
            if self._unsaved is not None:
                self._outlets.note(f"saving works again: update {update.number:,}")
            self.saved, self._unsaved = update.number, None
        self._saved_at = self._clock()

    def _finish(self, update: _Update) -> None:
        """Waits for `update`, publishes it, and logs and saves where that is due."""
        if update.number == self._finished.number or update.report is None:
            return
        params = self._devices.actor_params(update.states)
        stops = self._devices.hosts > 1 and self._devices.fetch(
            update.metrics[STOPPING]
        )
        if stops and self._last is None:
            self._last = update.number + 1
        name = self._devices.agent.watched.skipped
        skipped = name in update.metrics and self._devices.fetch(update.metrics[name])
        with self._pairing:
            self._statistics.add(update.report, update.number - 1)
            self._skips.count(bool(skipped))
            self._finished = update
        self._publish(update, params)
        self._statistics.unlogged = True
        if skipped:
            self._skips.tell(update.number, update.report)
        if self._statistics.log_is_due(self._config.runtime.log_every_seconds):
            self._log(update)
        seconds = self._config.runtime.checkpoint_every_seconds
        if self._clock() - self._saved_at >= seconds:
            self.save()

    def _publish(self, update: _Update, params: Params) -> None:
        self._outlets.publish(update.number, params)
        self._outlets.finished(update.number, params, update.states)

    def _log(self, update: _Update) -> None:
        frames = update.number * self._devices.agent.frames_per_update
        row = self._statistics.row(update.number, frames)
        row |= jax.tree.map(float, self._devices.fetch(update.metrics))
        row.pop(STOPPING)  # of the machinery
        self._outlets.logger.write(row)
        alerts = self._devices.agent.watched.alerts(row)
        for key in sorted(alerts.keys() - self._alerts):
            self._outlets.note(alerts[key])
        self._alerts = set(alerts)
