"""The runtimes of one process: `lockstep`, one thread, and `threads`, one per actor.

Who waits for whom, on a machine without accelerator: XLA's CPU pool has one thread per
core, for all programs together. An update splits into tasks that fill it, and an act
that comes while one runs queues behind them, so learning and acting share the cores
rather than overlap: more actor threads than cores gain nothing. The environments' C++
threads compete for the same cores. The GIL is none of the limits: XLA, ale-py and
NumPy's large copies all release it.
"""

from __future__ import annotations

import itertools
import pathlib
import threading
import time
from typing import NamedTuple

from stac.agents import actor_critic
from stac.agents.base import Agent
from stac.config import Config
from stac.environments import make
from stac.environments.base import BatchedEnvironment, EnvironmentSpec
from stac.runtime import actor, assembly, devices, shutdown
from stac.runtime.feeder import Feeder
from stac.runtime.learner import Learner
from stac.runtime.parameters import ParameterStore
from stac.runtime.queues import LocalQueue
from stac.types import Experience

_JOIN_SECONDS = 30.0  # an unroll ends within seconds; a first one may still compile


def run(config: Config, workdir: str | pathlib.Path) -> None:
    """Trains to `total_frames`, or until SIGINT or SIGTERM, and saves.

    Args:
      config: with runtime `threads` or `lockstep`.
      workdir: a prepared directory; a checkpoint in it is continued.

    Raises:
      ConfigError: environment, network and devices do not fit, or the checkpoint.
      Exception: the first that an actor raised, after saving.
    """
    stop = shutdown.Stop()
    with shutdown.on_signals(stop):
        parts = _Parts.build(config, stop)
        with assembly.open_learner(
            config,
            parts.spec.frames_per_step,
            parts.devices,
            workdir,
            parts.store.publish,
        ) as learner:
            stop.saves(learner.save)
            runtime = {"threads": _threads, "lockstep": _lockstep}
            runtime[config.runtime.name](config, parts, learner, stop)


class _Parts(NamedTuple):
    """What both runtimes are made of."""

    spec: EnvironmentSpec
    agent: Agent
    devices: devices.LearnerDevices
    store: ParameterStore

    @classmethod
    def build(cls, config: Config, stop: shutdown.Stop) -> _Parts:
        spec = make.spec(config)
        agent = actor_critic.build(config, spec)
        learners = devices.LearnerDevices(
            agent, config.runtime.learner_devices, config.batch.batch_size
        )
        store = ParameterStore()
        stop.wakes(store.close)
        return cls(spec, agent, learners, store)

    def actor(self, config: Config, index: int, updates: int) -> _ActorAtWork:
        """Builds one actor and its environment, `updates` updates into the run."""
        seed = actor.stream(config.seed, index, updates)
        environment = make.factory(config)(seed, config.runtime.envs_per_actor)
        places = self.devices.for_actors()
        place = places[index % len(places)]
        made = actor.Actor(self.agent, environment, config.batch, seed, index, place)
        return _ActorAtWork(made, environment)


class _ActorAtWork(NamedTuple):
    actor: actor.Actor
    environment: BatchedEnvironment


def _lockstep(
    config: Config, parts: _Parts, learner: Learner, stop: shutdown.Stop
) -> None:
    """Acts until there is a batch, learns, acts: same seed, same bits."""
    turns = _Turns(config, parts, learner.updates)
    stop.wakes(turns.close)
    try:
        learner.run(turns, stop)
    finally:
        turns.end()


class _Turns:
    """A learner.Feed that lets the actors act in turn when a batch is asked for."""

    def __init__(self, config: Config, parts: _Parts, updates: int) -> None:
        self._batch_size = config.batch.batch_size
        self._store = parts.store
        self._actors = [
            parts.actor(config, index, updates)
            for index in range(config.runtime.num_actors)
        ]
        self._next_actor = itertools.cycle(self._actors)
        # Nobody takes while one thread puts, so all that one actor puts must fit.
        room = self._batch_size + config.runtime.envs_per_actor
        self._queue = LocalQueue(room)

    def next(self) -> Experience:
        while self._queue.size() < self._batch_size:
            acting = next(self._next_actor).actor
            self._queue.put(acting.unroll(*self._store.latest()))
        return self._queue.get(self._batch_size)

    def ready(self) -> bool:
        return False  # so the learner publishes before the actors act

    def size(self) -> int:
        return self._queue.size()

    def close(self) -> None:
        self._queue.close()

    def end(self) -> None:
        for one in self._actors:
            one.environment.close()


def _threads(
    config: Config, parts: _Parts, learner: Learner, stop: shutdown.Stop
) -> None:
    """Actors in threads of their own, the learner in this one, a queue between."""
    queue = LocalQueue(config.runtime.queue_capacity)
    stop.wakes(queue.close)
    actors = _ActorThreads(config, parts, queue, stop, learner.updates)
    feeder = Feeder(queue, config.batch.batch_size)
    try:
        learner.run(feeder, stop)
    finally:
        feeder.close()
        parts.store.close()
        actors.join()


class _ActorThreads:
    """The actors; the first exception in one of them stops the run."""

    def __init__(
        self,
        config: Config,
        parts: _Parts,
        queue: LocalQueue,
        stop: shutdown.Stop,
        updates: int,
    ) -> None:
        self._config, self._parts, self._queue, self._stop = config, parts, queue, stop
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(
                target=self._run,
                args=(index, updates),
                name=f"actor {index}",
                daemon=True,
            )
            for index in range(config.runtime.num_actors)
        ]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits for all; raises what the first to fail raised."""
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failure is not None:
            raise self._failure
        late = [thread.name for thread in self._threads if thread.is_alive()]
        if late:
            raise RuntimeError(f"still at work after {_JOIN_SECONDS:.0f} s: {late}")

    def _run(self, index: int, updates: int) -> None:
        try:
            made, environment = self._parts.actor(self._config, index, updates)
            try:
                made.run(self._parts.store, self._queue)
            finally:
                environment.close()
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self._failure = self._failure or error
            self._stop.set()
