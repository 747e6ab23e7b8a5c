"""Lockstep: actors act in turn until there is a batch, then the learner learns.

One thread does everything, so the same seed gives the same bits. What the actors, their
environments and the trajectories that wait will do next is part of every checkpoint, so
a run that was cut goes on to the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from stac import snapshots
from stac.config import Config, ConfigError
from stac.environments.base import BatchedEnvironment
from stac.runtime import actor
from stac.runtime.faults import supervision, watchdog
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.local import Closed, LocalQueue
from stac.runtime.queues.parameters import ParameterStore
from stac.types import Experience

# How long a save from another thread waits for one to end: between unrolls alone it is
# exact. The run is asked to stop by then, so it is the last.
_UNROLL_SECONDS = 15.0


class ActorAtWork(NamedTuple):
    """An actor, and the environment to close after it."""

    actor: actor.Actor
    environment: BatchedEnvironment


Build = Callable[[int, int, int], ActorAtWork]  # (index, updates, restarts)


class Turns:
    """A learner.Feed that lets the actors act in turn when a batch is asked for."""

    def __init__(
        self, config: Config, build: Build, store: ParameterStore, stop: Stop
    ) -> None:
        self._config, self._build = config, build
        self._store, self._stop = store, stop
        self._batch_size = config.batch.batch_size
        # Nobody takes while one thread puts: all that one actor puts must fit, and a
        # batch that is put back.
        self._queue = LocalQueue(2 * self._batch_size + config.runtime.envs_per_actor)
        # None: one that failed, until another takes its place.
        self._actors: list[ActorAtWork | None] = []
        self._restarts = [
            supervision.Restarts.configured(config.runtime)
            for _ in range(config.runtime.num_actors)
        ]
        self._updates = 0  # at which the run's first actors were built
        self._restarts_before = 0  # in earlier parts of the run
        self._turn = 0  # whose it is
        self._given = 0  # batches since the run began: one for each update
        self._last: Experience | None = None  # the newest of them
        self._busy = threading.Lock()  # while that is not what a save may read
        self._watchdog = watchdog.Watchdog(config.runtime.silence_seconds)

    def begin(self, updates: int, saved: Mapping[str, bytes]) -> None:
        """Builds the actors, `updates` updates into the run, and continues `saved`.

        Where it is of another number of actors or environments, or of other versions of
        what is in it, episodes begin anew, and a line says why.
        """
        self._updates = self._given = updates
        self._build_all()
        if not updates:
            return
        try:
            if not saved:
                raise ValueError("the checkpoint has no states of actors")
            self._restore(saved)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - the learner's state is what counts
            self._close_all()
            self._build_all()
            known = isinstance(error, ValueError)  # said in a line
            reason = str(error) if known else supervision.describe(error)
            supervision.say(f"episodes begin anew: {reason}")

    def next(self) -> Experience:
        with self._busy:
            while self._queue.size() < self._batch_size:
                self._act()
            self._last = self._queue.get(self._batch_size)
            self._given += 1
        return self._last

    def ready(self) -> bool:
        return False  # so the learner publishes, and saves, before the actors act

    def size(self) -> int:
        return self._queue.size()

    def discarded(self) -> int:
        return 0  # what waits is saved, with all else

    def close(self) -> None:
        """The last save is still to come; see `end`."""

    def restarts(self) -> int:
        """Of all actors so far."""
        return sum(one.total for one in self._restarts) - self._restarts_before

    def snapshot(self, updates: int) -> dict[str, bytes] | None:
        """All that decides the batches after that of update `updates`; from any thread.

        A batch of an update that has begun is put back. None where the moment is gone,
        or an unroll takes too long: then a run continues with new episodes.
        """
        if not self._busy.acquire(timeout=_UNROLL_SECONDS):
            supervision.say("an unroll does not end: saved without the actors' states")
            return None
        try:
            begun = self._given - updates
            if begun not in (0, 1) or not self._actors:
                return None
            back = [self._last] if begun else []
            waiting = [*back, *self._queue.content()]
            totals = [one.total for one in self._restarts]
            state = (self._turn, self._updates, totals, waiting)
            taken = {"turns": snapshots.pack(self._what(), state)}
            for index, one in enumerate(self._actors):
                snapshot = one.actor.snapshot() if one is not None else None
                if snapshot is not None:  # else it failed, or takes no snapshots
                    taken[f"actor_{index}"] = snapshot
            return taken
        finally:
            self._busy.release()

    def end(self) -> None:
        """Closes the environments; may be called twice."""
        self._watchdog.close()
        self._close_all()

    def _close_all(self) -> None:
        actors, self._actors = self._actors, []
        for one in filter(None, actors):
            with contextlib.suppress(Exception):  # it may be what failed
                one.environment.close()

    def _build_all(self) -> None:
        for index in range(len(self._restarts)):
            self._actors.append(self._build(index, self._updates, 0))

    def _restore(self, saved: Mapping[str, bytes]) -> None:
        """All of it, or it raises and nothing is changed but the actors."""
        turn, updates, totals, waiting = snapshots.unpack(self._what(), saved["turns"])
        for index, one in enumerate(self._actors):
            if one is not None and f"actor_{index}" in saved:
                one.actor.restore(saved[f"actor_{index}"])
            elif one is not None and not hasattr(one.environment, "snapshot"):
                if index == 0:  # so it is for all
                    task = self._config.environment.task
                    supervision.say(f"episodes begin anew: {task} takes no snapshots")
            elif one is not None:  # it had failed: another is built in its turn
                one.environment.close()
                self._actors[index] = None
        self._turn, self._updates = turn, updates
        for restarts, total in zip(self._restarts, totals, strict=True):
            restarts.total = total
        self._restarts_before = sum(totals)
        for experience in waiting:
            self._queue.put(experience)

    def _what(self) -> str:
        batch = self._config.batch
        return (
            f"{len(self._actors)} actors in turn, trajectories of {batch.unroll_length}"
        )

    def _act(self) -> None:
        """One unroll, which is kept whatever is asked meanwhile, or a new actor."""
        if self._stop.is_set():
            raise Closed
        newest = self._store.latest()
        index, restarts = self._turn, self._restarts[self._turn]
        try:
            one = self._actors[index]
            if one is None:
                one = self._build(index, self._updates, restarts.total)
            self._actors[index] = one
            with self._watchdog.over(f"actor/{index}", one.actor.pulse):
                experience = one.actor.unroll(*newest)
        except Exception as error:  # noqa: BLE001 - `again` raises what it must
            failed, self._actors[index] = self._actors[index], None
            if failed is not None:
                with contextlib.suppress(Exception):  # it is what failed
                    failed.environment.close()
            supervision.again(f"actor/{index}", error, restarts, self._stop)
            return
        self._queue.put(experience)
        self._turn = (index + 1) % len(self._actors)
