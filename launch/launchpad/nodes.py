"""The nodes of the Launchpad program and their work.

Each node has a process. The queue's has no JAX program, the actors' have one for the
CPU, and the learner's has the devices.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import Any

import jax
import launchpad as lp

from stac.agents import make as agents
from stac.config import Config
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.evaluation import scores
from stac.launch import child, replays
from stac.launch.launchpad import join
from stac.runtime import actor, assembly, devices
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.faults.shutdown import GRACE_SECONDS, Saved, Stop
from stac.runtime.learner import Feeder
from stac.runtime.logs.statistics import EnvironmentShare
from stac.runtime.queues import reverb
from stac.runtime.queues.base import Closed
from stac.runtime.queues.reverb_items import Spec
from stac.types import Params

_SHORT_GRACE_SECONDS = 3.0  # nothing of an actor or the queue is worth waiting for
_RETRY_SECONDS = 0.2  # until the learner has parameters
_ENDING_SECONDS = 2.0  # between the end of the learner and that of an actor


def serve(capacity: int, address: lp.Address) -> None:
    """Holds the trajectories."""

    def work(stop: Stop, heartbeat: Heartbeat) -> None:
        stop.saves(_nothing_of_ours)
        port = lp.get_port_from_address(address.resolve())
        with reverb.serve(capacity, port):
            stop.wait(threading.TIMEOUT_MAX)

    child.run(work, _SHORT_GRACE_SECONDS)


class LearnerNode:
    """Updates, and answers actors that ask for parameters and machines that join."""

    def __init__(
        self,
        config: Config,
        spec: EnvironmentSpec,
        item: Spec,
        queue: lp.Address,
        workdir: str,
    ) -> None:
        self._config, self._spec, self._item = config, spec, item
        self._queue, self._workdir = queue, workdir
        self._newest: tuple[int, Params] | None = None
        self._restarts: dict[int, int] = {}  # of each actor, by its index
        self._times: dict[int, tuple[float, float]] = {}  # see Heartbeat.times
        self._joined: join.Joined | None = None
        if config.runtime.listen:  # what has a public name can be called from elsewhere
            joined = self._joined = join.Joined(config)
            self.join, self.tell, self.leave = joined.join, joined.tell, joined.leave

    def get_parameters(
        self,
        actor: int,
        restarts: int,
        known: int,
        times: tuple[float, float] = (0.0, 0.0),
    ) -> tuple[int, Params] | None:
        """(updates, the actors' parameters), or None: nothing newer.

        Args:
          actor: the index of the actor that asks.
          restarts: how often it was started again, for the logs.
          known: updates behind the parameters that it has; -1 for none.
          times: see Heartbeat.times.
        """
        self._times[actor] = times[0], times[1]
        newest = self._newest
        if newest is None or newest[0] <= known:
            return None
        self._restarts[actor] = restarts
        return newest

    def run(self) -> None:
        child.run(self._learn, GRACE_SECONDS)

    def _learn(self, stop: Stop, heartbeat: Heartbeat) -> None:
        config, spec = self._config, self._spec
        joined, share = self._joined, EnvironmentShare(self._times.copy)

        def about_actors() -> dict[str, float]:
            return {**share(), **(joined.metrics() if joined else {})}

        agent = agents.build(config, spec)
        places = devices.split(
            (), config.runtime.learner_devices, config.batch.batch_size, shared=False
        )
        learners = devices.LearnerDevices(agent, places.learners)
        play = scores.beside(config) if config.runtime.evaluate_every else None
        replay = replays.build(agent, spec, config, len(places.learners))
        with assembly.open_learner(
            config,
            learners,
            self._workdir,
            self._publish,
            stop,
            acting=replays.saving(replay),
            view=child.view(),
            play=play,
        ) as learner:
            # Only now: the actors have what they need, and this imports Reverb.
            queue = reverb.ReverbQueue(self._queue.resolve(), self._item)
            replays.resume(replay, learner)
            feeder = Feeder(queue, config.batch.batch_size, replay)
            example = assembly.example(agent, spec, config)
            with stop.closing(feeder.close):
                learner.run(feeder, stop, self._count_restarts, about_actors, example)
            if joined is not None and learner.done:
                joined.end("the run is over")

    def _count_restarts(self) -> int:
        return sum(list(self._restarts.values()))  # a copy: actors may add theirs

    def _publish(self, version: int, params: Params) -> None:
        self._newest = version, jax.device_get(params)


def act(
    config: Config,
    spec: EnvironmentSpec,
    item: Spec,
    queue: lp.Address,
    learner: Any,  # a Courier client of LearnerNode
    index: int,
) -> None:
    """Acts, from the start of the process to its end."""
    restarts = int(os.environ.get(child.RESTARTS, "0"))

    def work(stop: Stop, heartbeat: Heartbeat) -> None:
        stop.saves(_nothing_of_ours)
        agent = agents.build(config, spec)
        parameters = LearnersParameters(learner, index, restarts, stop, heartbeat)
        trajectories = reverb.ReverbQueue(queue.resolve(), item)
        with stop.closing(trajectories.close):
            with heartbeat.waiting():
                updates, _ = parameters.latest()
            seed = actor.stream(config.seed, index, updates, restarts)
            environment = make.factory(config)(seed, make.envs_per_actor(config))
            with contextlib.closing(environment):
                acting = actor.Actor(agent, environment, config.batch, seed, index)
                acting.run(parameters, trajectories, heartbeat)

    child.run(work, _SHORT_GRACE_SECONDS, config.runtime.silence_seconds)


def _nothing_of_ours() -> Saved:
    """The last save of a node that keeps nothing, of which nothing is said."""
    return Saved(True, "")


class LearnersParameters:
    """A ParameterSource over Courier: one question an unroll, an answer if newer."""

    def __init__(
        self, learner: Any, index: int, restarts: int, stop: Stop, heartbeat: Heartbeat
    ) -> None:
        """`index`, `restarts` and `heartbeat` of the actor that asks."""
        self._learner, self._asker, self._stop = learner, (index, restarts), stop
        self._heartbeat = heartbeat
        self._newest: tuple[int, Params] | None = None

    def latest(self) -> tuple[int, Params]:
        """See ParameterSource."""
        while True:
            known = self._newest[0] if self._newest else -1
            self._newest = self._ask(known) or self._newest
            if self._newest is not None:
                return self._newest
            if self._stop.wait(_RETRY_SECONDS):
                raise Closed

    def _ask(self, known: int) -> tuple[int, Params] | None:
        """Calls the learner, which may come up later; the end of the run cancels it."""
        answer = self._learner.futures.get_parameters(
            *self._asker, known, self._heartbeat.times()
        )
        try:
            with self._stop.closing(answer.cancel):
                return answer.result()
        except Exception as error:  # Courier's own class has no name
            if self._stop.wait(_ENDING_SECONDS):
                raise Closed from error
            raise
