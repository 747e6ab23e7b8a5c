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
import pathlib
import threading
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import jax

from stac import config as configuration
from stac.agents import make as agents
from stac.agents.base import Agent
from stac.config import Config
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.evaluation import scores
from stac.launch import lockstep, replays
from stac.runtime import actor, assembly, devices
from stac.runtime.faults import lines, restarts, shutdown
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.learner import Feeder, Learner
from stac.runtime.logs.loggers import Logger
from stac.runtime.logs.statistics import EnvironmentShare
from stac.runtime.queues.base import Closed
from stac.runtime.queues.local import LocalQueue, OnDevice, ParameterStore
from stac.runtime.queues.replay import Replay

_JOIN_SECONDS = 30.0  # an unroll ends within seconds; a first one may still compile
_AHEAD_SECONDS = 30.0  # that the first actor gets at most, before the others start


def run(
    config: Config,
    workdir: str | pathlib.Path,
    others: Mapping[str, Logger] = MappingProxyType({}),
) -> None:
    """Trains to `total_frames`, or until a signal (shutdown.SIGNALS), and saves.

    Args:
      config: with runtime `threads` or `lockstep`.
      workdir: a prepared directory; a checkpoint in it is continued.
      others: loggers beside those of the workdir and the terminal, by their names.

    Raises:
      ConfigError: environment, network and devices do not fit, or the checkpoint.
      Exception: the first that an actor raised, after saving.
    """
    stop = shutdown.Stop()
    with shutdown.on_signals(stop):
        train(config, workdir, stop, stop, others)


def train(
    config: Config,
    workdir: str | pathlib.Path,
    asked: shutdown.Stop,
    stop: shutdown.Stop,
    others: Mapping[str, Logger] = MappingProxyType({}),
) -> None:
    """Does what `run` does, until `asked` is set.

    Args:
      config: see `run`.
      workdir: see `run`; of several hosts only the first has it.
      asked: to end; it gets the function that saves.
      stop: wakes all parts of this process. It is `asked` itself, but where there are
        several hosts: there all parts go on until the hosts' last common update.
      others: see `run`.
    """
    parts = Parts.build(config, stop)
    turns = lockstep.Turns(config, parts.actor, parts.parameters, stop, parts.replay)
    in_turn = config.runtime.name == "lockstep"
    with assembly.open_learner(
        config,
        parts.devices,
        workdir,
        parts.store.publish,
        asked,
        acting=turns.snapshot if in_turn else replays.saving(parts.replay),
        others=others,
        play=scores.beside(config) if config.runtime.evaluate_every else None,
    ) as learner:
        replays.resume(parts.replay, learner)
        if in_turn:
            turns.run(learner)
        else:
            _threads(parts, learner, asked, stop)


class Parts(NamedTuple):
    """The parts that both runtimes need."""

    config: Config
    spec: EnvironmentSpec
    agent: Agent
    devices: devices.LearnerDevices
    store: ParameterStore
    stores: list[OnDevice]  # one per device that acts
    replay: Replay | None

    @classmethod
    def build(cls, config: Config, stop: shutdown.Stop) -> Parts:
        spec = make.spec(config)
        agent = agents.build(config, spec)
        places = devices.split(
            config.runtime.actor_devices,
            config.runtime.learner_devices,
            config.batch.batch_size,
        )
        if len(jax.local_devices()) > 1:
            lines.to_stdout(places.describe(config.runtime.num_actors))
        store = ParameterStore()
        stop.wakes(store.close)
        return cls(
            config,
            spec,
            agent,
            devices.LearnerDevices(agent, places.learners),
            store,
            [OnDevice(store, device) for device in places.actors],
            replays.build(agent, spec, config, len(places.learners)),
        )

    def parameters(self, index: int) -> OnDevice:
        """Those for an actor, on its device."""
        return self.stores[index % len(self.stores)]

    def actor(self, index: int, updates: int, restarted: int = 0) -> actor.Actor:
        """Builds one actor and its environment, `updates` updates into the run."""
        seed = actor.stream(self.config.seed, index, updates, restarted)
        envs = make.envs_per_actor(self.config)
        environment = make.factory(self.config)(seed, envs)
        device = self.parameters(index).device
        return actor.Actor(
            self.agent, environment, self.config.batch, seed, index, device
        )

    def indices(self) -> range:
        """The actors of this host: those of all hosts are numbered through."""
        count = self.config.runtime.num_actors
        return range(jax.process_index() * count, (jax.process_index() + 1) * count)


def _threads(
    parts: Parts, learner: Learner, asked: shutdown.Stop, stop: shutdown.Stop
) -> None:
    """Actors in threads of their own, the learner in this one, a queue between.

    The first actor that gives up ends the run, and its failure is raised.
    """
    config, hosts = parts.config, jax.process_count()
    queue = LocalQueue(configuration.queue_capacity(config) // hosts)
    batch_size, ahead = config.batch.batch_size // hosts, parts.devices.accelerated
    feeder = Feeder(queue, batch_size, parts.replay, ahead)
    stop.wakes(feeder.close)
    beating: dict[int, Heartbeat] = {}  # of each actor, its newest
    actors = [
        _supervised(parts, index, queue, learner.updates, stop, beating)
        for index in parts.indices()
    ]
    share = EnvironmentShare(
        lambda: {index: each.times() for index, each in beating.copy().items()}
    )
    failures: list[BaseException] = []

    def watch(each: restarts.Supervised) -> None:
        try:
            if each is not actors[0]:
                _await_an_update(parts.store, stop)
            each.run()
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)
            stop.set()

    watches = {
        each.name: threading.Thread(target=watch, args=(each,), daemon=True)
        for each in actors
    }
    for thread in watches.values():
        thread.start()
    try:
        learner.run(
            feeder,
            asked,
            lambda: sum(each.restarts.total for each in actors),
            share,
            assembly.example(parts.agent, parts.spec, config),
        )
    finally:
        feeder.close()
        stop.set()
        _join(watches, failures)


def _await_an_update(store: ParameterStore, stop: shutdown.Stop) -> None:
    """Leaves the cores and the GIL to the first actor until an update is finished.

    ALE loads its games under the GIL, 90 ms each: nobody acts or learns meanwhile.
    """
    deadline = time.monotonic() + _AHEAD_SECONDS
    with contextlib.suppress(Closed):  # the run ends
        before, _ = store.latest()
        while store.latest()[0] == before and time.monotonic() < deadline:
            stop.wait(0.1)


def _supervised(
    parts: Parts,
    index: int,
    queue: LocalQueue,
    updates: int,
    stop: shutdown.Stop,
    beating: dict[int, Heartbeat],
) -> restarts.Supervised:
    def live(restarted: int, heartbeat: Heartbeat) -> None:
        beating[index] = heartbeat
        with contextlib.closing(parts.actor(index, updates, restarted)) as acting:
            acting.run(parts.parameters(index), queue, heartbeat)

    return restarts.Supervised(f"actor/{index}", live, parts.config.runtime, stop)


def _join(
    watches: Mapping[str, threading.Thread], failures: Sequence[BaseException]
) -> None:
    """Waits for the watches of all actors; raises the first failure.

    An actor that still hangs is not waited for: nothing learned depends on it.
    """
    deadline = time.monotonic() + _JOIN_SECONDS
    for thread in watches.values():
        thread.join(max(0.0, deadline - time.monotonic()))
    if failures:
        raise failures[0]
    for name, thread in watches.items():
        if thread.is_alive():
            lines.to_stderr(f"{name} still hangs: it is left behind")
