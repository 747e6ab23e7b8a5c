"""Lockstep: actors act in turn until there is a batch, then the learner learns.

One thread does everything, so the same seed gives the same bits. Every checkpoint holds
the states of actors and environments and the trajectories that wait. So a run that was
interrupted continues with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping

from stac import snapshots
from stac.config import Config, ConfigError
from stac.environments import make
from stac.runtime.actor import Actor
from stac.runtime.faults import restarts
from stac.runtime.faults.lines import to_stderr
from stac.runtime.faults.shutdown import Stop
from stac.runtime.learner import Learner
from stac.runtime.logs.statistics import EnvironmentShare
from stac.runtime.queues.base import Closed, ParameterSource
from stac.runtime.queues.local import LocalQueue
from stac.runtime.queues.replay import Replay
from stac.types import Experience

# How long a save from another thread waits for the end of an unroll: only between two
# of them is it exact. The run is asked to stop by then, so the unroll is the last.
_UNROLL_SECONDS = 15.0

Build = Callable[[int, int, int], Actor]  # (index, updates, restarts)


class Turns:
    """A learner.Feed that lets the actors act in turn when a batch is asked for."""

    def __init__(
        self,
        config: Config,
        build: Build,
        parameters: Callable[[int], ParameterSource],  # by the index of the actor
        stop: Stop,
        replay: Replay | None = None,
    ) -> None:
        self._config, self._build = config, build
        self._parameters, self._stop = parameters, stop
        self._batch_size = config.batch.batch_size
        # The one thread cannot take while it puts. So there is room for all that an
        # actor puts at once.
        self._queue = LocalQueue(self._batch_size + make.envs_per_actor(config))
        self._replay = replay
        # None: the actor failed, and another will be built in its turn.
        self._actors: list[Actor | None] = []
        self._restarts = [
            restarts.Restarts.configured(config.runtime)
            for _ in range(config.runtime.num_actors)
        ]
        self._updates = 0  # of the learner when the run's first actors were built
        self._restarts_before = 0  # in earlier parts of the run
        self._turn = 0  # index of the actor that acts next
        self._given = 0  # batches since the run began, one for each update
        self._last: Experience | None = None  # the newest batch
        self._again: Experience | None = None  # one whose update was not finished
        self._busy = threading.Lock()  # held while the fields above change

    def run(self, learner: Learner) -> None:
        """Acts until there is a batch, learns, acts: same seed, same bits."""
        try:
            if not learner.done:
                self.begin(learner.updates, learner.acting)
            share = EnvironmentShare(self._times)
            learner.run(self, self._stop, self.restarts, share)
        finally:
            self.end()

    def begin(self, updates: int, saved: Mapping[str, bytes]) -> None:
        """Builds the actors, `updates` updates into the run, and restores `saved`.

        If `saved` holds another number of actors or environments, or comes from other
        versions of them, episodes begin anew, and a line says why.
        """
        self._updates = self._given = updates
        self._build_all()
        if not updates:
            return
        try:
            if "turns" not in saved:
                raise ValueError("the checkpoint has no states of actors")
            self._restore(saved)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - the learner's state is what counts
            self.end()
            self._build_all()
            known = isinstance(error, ValueError)  # said in a line
            reason = str(error) if known else restarts.describe(error)
            to_stderr(f"episodes begin anew: {reason}")

    def next(self) -> Experience:
        with self._busy:
            self._last, self._again = self._again or self._new(), None
            self._given += 1
        return self._last

    def ready(self) -> bool:
        return False  # so the learner publishes, and saves, before the actors act

    def size(self) -> int:
        return self._queue.size()

    def close(self) -> None:
        """The last save is still to come; see `end`."""

    def restarts(self) -> int:
        """Restarts of all actors in this part of the run."""
        return sum(each.total for each in self._restarts) - self._restarts_before

    def snapshot(self, updates: int) -> dict[str, bytes] | None:
        """Everything that decides the batches after update `updates`; any thread.

        The batch of an update that has begun is given again. None where the actors have
        gone on since, or where an unroll takes too long: then episodes begin anew when
        the run continues.
        """
        if not self._busy.acquire(timeout=_UNROLL_SECONDS):
            to_stderr("an unroll does not end: saved without the actors' states")
            return None
        try:
            begun = self._given - updates
            if begun not in (0, 1) or not self._actors:
                return None
            again = self._last if begun else self._again
            waiting = self._queue.content()
            totals = [each.total for each in self._restarts]
            state = (self._turn, self._updates, totals, again, waiting)
            taken = {"turns": snapshots.pack(self._what(), state)}
            if self._replay is not None:
                taken |= self._replay.snapshot()
            for index, each in enumerate(self._actors):
                snapshot = each.snapshot() if each is not None else None
                if snapshot is not None:  # else it failed, or takes no snapshots
                    taken[f"actor_{index}"] = snapshot
            return taken
        finally:
            self._busy.release()

    def end(self) -> None:
        """Closes the environments; may be called twice."""
        actors, self._actors = self._actors, []
        for each in filter(None, actors):
            _close(each)

    def _times(self) -> dict[int, tuple[float, float]]:
        """See EnvironmentShare."""
        actors = enumerate(self._actors)
        return {index: each.heartbeat.times() for index, each in actors if each}

    def _build_all(self) -> None:
        for index in range(len(self._restarts)):
            self._actors.append(self._build(index, self._updates, 0))

    def _restore(self, saved: Mapping[str, bytes]) -> None:
        """Restores everything; where it raises, only the actors are changed."""
        turns = snapshots.unpack(self._what(), saved["turns"])
        turn, updates, totals, again, waiting = turns
        actors = filter(None, [*self._actors])  # all of them: they were just built
        for index, each in enumerate(actors):
            if f"actor_{index}" in saved:
                each.restore(saved[f"actor_{index}"])
            elif each.snapshot() is not None:
                each.close()  # it had failed: another is built in its turn
                self._actors[index] = None
            elif index == 0:  # the same holds for all
                task = self._config.environment.task
                to_stderr(f"episodes begin anew: {task} takes no snapshots")
        self._turn, self._updates, self._again = turn, updates, again
        for counted, total in zip(self._restarts, totals, strict=True):
            counted.total = total
        self._restarts_before = sum(totals)
        for experience in waiting:
            self._queue.put(experience)

    def _what(self) -> str:
        batch = self._config.batch
        return (
            f"{len(self._actors)} actors in turn, trajectories of {batch.unroll_length}"
        )

    def _new(self) -> Experience:
        while self._queue.size() < self._batch_size:
            self._act()
        taken = self._queue.get(self._batch_size)
        return self._replay.exchange(taken) if self._replay is not None else taken

    def _act(self) -> None:
        """One unroll, which is kept even if a stop is asked for, or a new actor."""
        if self._stop.is_set():
            raise Closed
        index, counted = self._turn, self._restarts[self._turn]
        newest = self._parameters(index).latest()
        each = self._actors[index]
        try:
            if each is None:
                each = self._build(index, self._updates, counted.total)
                self._actors[index] = each
            experience = each.unroll(*newest)
        except Exception as error:  # noqa: BLE001 - `again` raises what it must
            self._actors[index] = None
            worked = 0.0
            if each is not None:
                worked = each.heartbeat.worked_seconds
                _close(each)
            restarts.again(f"actor/{index}", error, worked, counted, self._stop)
            return
        self._queue.put(experience)
        self._turn = (index + 1) % len(self._actors)


def _close(each: Actor) -> None:
    with contextlib.suppress(Exception):  # the environment may be what failed
        each.close()
