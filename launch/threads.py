"""The runtimes of one process: `lockstep`, one thread, and `threads`, one per actor.

Who waits for whom, on a machine without accelerator: XLA's CPU pool has one thread per
core, for all programs together. An update splits into tasks that fill it, and an act
that comes while one runs queues behind them, so learning and acting share the cores
rather than overlap: more actor threads than cores gain nothing. The environments' C++
threads compete for the same cores. The GIL is none of the limits: XLA, ale-py and
NumPy's large copies all release it.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import threading
import time
from typing import NamedTuple

import jax

from stac import config as configuration
from stac.agents import make as agents
from stac.agents.base import Agent
from stac.config import Config
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.launch import lockstep
from stac.runtime import actor, assembly, devices
from stac.runtime.faults import lines, restarts, shutdown
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.learner import Learner
from stac.runtime.queues.feeder import Feeder
from stac.runtime.queues.local import LocalQueue, OnDevice, ParameterStore
from stac.runtime.queues.make import BUFFERS, Buffer

_JOIN_SECONDS = 30.0  # an unroll ends within seconds; a first one may still compile


def run(config: Config, workdir: str | pathlib.Path) -> None:
    """Trains to `total_frames`, or until a signal (shutdown.SIGNALS), and saves.

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
        turns = lockstep.Turns(
            config,
            functools.partial(parts.actor, config),
            parts.store,
            stop,
            parts.buffer,
        )
        with assembly.open_learner(
            config,
            parts.devices,
            workdir,
            parts.store.publish,
            stop,
            acting=turns.snapshot,
        ) as learner:
            if config.runtime.name == "lockstep":
                _in_turn(turns, learner, stop)
            else:
                _threads(config, parts, learner, stop)


class _Parts(NamedTuple):
    """The parts that both runtimes need."""

    spec: EnvironmentSpec
    agent: Agent
    devices: devices.LearnerDevices
    store: ParameterStore
    stores: list[OnDevice]  # one per device that acts
    buffer: Buffer

    @classmethod
    def build(cls, config: Config, stop: shutdown.Stop) -> _Parts:
        spec = make.spec(config)
        agent = agents.build(config, spec)
        places = devices.split(
            config.runtime.actor_devices,
            config.runtime.learner_devices,
            config.batch.batch_size,
        )
        if len(jax.local_devices()) > 1:
            lines.show(str(places))
        store = ParameterStore()
        stop.wakes(store.close)
        return cls(
            spec,
            agent,
            devices.LearnerDevices(agent, places.learners),
            store,
            [OnDevice(store, device) for device in places.actors],
            BUFFERS[agent.buffer],
        )

    def parameters(self, index: int) -> OnDevice:
        """Those for an actor, on its device."""
        return self.stores[index % len(self.stores)]

    def actor(
        self, config: Config, index: int, updates: int, restarted: int = 0
    ) -> lockstep.ActorAtWork:
        """Builds one actor and its environment, `updates` updates into the run."""
        seed = actor.stream(config.seed, index, updates, restarted)
        environment = make.factory(config)(seed, config.runtime.envs_per_actor)
        device = self.parameters(index).device
        acting = actor.Actor(self.agent, environment, config.batch, seed, index, device)
        return lockstep.ActorAtWork(acting, environment)


def _in_turn(turns: lockstep.Turns, learner: Learner, stop: shutdown.Stop) -> None:
    """Acts until there is a batch, learns, acts: same seed, same bits."""
    try:
        if not learner.done:
            turns.begin(learner.updates, learner.acting)
        learner.run(turns, stop, turns.restarts)
    finally:
        turns.end()


def _threads(
    config: Config, parts: _Parts, learner: Learner, stop: shutdown.Stop
) -> None:
    """Actors in threads of their own, the learner in this one, a queue between."""
    queue = parts.buffer.local(configuration.queue_capacity(config))
    feeder = Feeder(queue, config.batch.batch_size)
    stop.wakes(feeder.close)
    actors = _ActorThreads(config, parts, queue, stop, learner.updates)
    try:
        learner.run(feeder, stop, actors.restarted)
    finally:
        feeder.close()
        stop.set()
        actors.join()


class _ActorThreads:
    """The actors, each with a thread that watches it; keeps the first failure."""

    def __init__(
        self,
        config: Config,
        parts: _Parts,
        queue: LocalQueue,
        stop: shutdown.Stop,
        updates: int,
    ) -> None:
        self._config, self._parts, self._queue, self._stop = config, parts, queue, stop
        self._updates = updates
        self._failure: BaseException | None = None
        self._actors = [
            self._supervised(index) for index in range(config.runtime.num_actors)
        ]
        self._threads = [
            threading.Thread(
                target=self._run, args=(each,), name=f"{each.name}'s watch", daemon=True
            )
            for each in self._actors
        ]
        for thread in self._threads:
            thread.start()

    def restarted(self) -> int:
        """Restarts of all actors so far."""
        return sum(each.restarts.total for each in self._actors)

    def join(self) -> None:
        """Waits for all; raises the failure of the first to give up.

        An actor that still hangs is not waited for: nothing learned depends on it.
        """
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if self._failure is not None:
            raise self._failure
        for thread, each in zip(self._threads, self._actors, strict=True):
            if thread.is_alive():
                lines.say(f"{each.name} still hangs: it is left behind")

    def _supervised(self, index: int) -> restarts.Supervised:
        def live(restarted: int, heartbeat: Heartbeat) -> None:
            acting, environment = self._parts.actor(
                self._config, index, self._updates, restarted
            )
            with contextlib.closing(environment):
                acting.run(self._parts.parameters(index), self._queue, heartbeat)

        return restarts.Supervised(
            f"actor/{index}", live, self._config.runtime, self._stop
        )

    def _run(self, each: restarts.Supervised) -> None:
        try:
            each.run()
        except BaseException as error:  # noqa: BLE001 - `join` raises it
            self._failure = self._failure or error
            self._stop.set()
