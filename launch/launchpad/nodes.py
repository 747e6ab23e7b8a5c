"""The nodes of the Launchpad program: what each of them does.

A node is a thread or a process; it learns which as its `Host`. The queue's process has
no JAX program, the actors' have one for the CPU, the learner's the devices.
"""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent import futures
from typing import Any

import jax
import launchpad as lp
import numpy as np

from stac.agents import actor_critic
from stac.agents.base import Agent
from stac.config import Config
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.launch.launchpad.hosts import Host
from stac.runtime import actor, assembly, devices
from stac.runtime.experience import Spec
from stac.runtime.faults.pulse import Pulse
from stac.runtime.faults.shutdown import GRACE_SECONDS, Stop
from stac.runtime.queues import reverb
from stac.runtime.queues.feeder import Feeder
from stac.runtime.queues.local import Closed
from stac.types import Params

QUEUE, LEARNER, ACTOR = "queue", "learner", "actor"  # labels

_ACTOR_GRACE_SECONDS = 3.0  # nothing of an actor is worth waiting for
_RETRY_SECONDS = 0.2  # until the learner has parameters
_LOOK_SECONDS = 0.25  # how late an actor that waits for the learner sees the end
_ENDING_SECONDS = 2.0  # between the end of the learner and that of an actor
_LOST_SECONDS = 600.0  # of silence; a learner that compiles may be silent for long


class Queue:
    """Holds the trajectories."""

    def __init__(
        self, host: Host, item: Spec, capacity: int, address: lp.Address
    ) -> None:
        self._host, self._item, self._capacity = host, item, capacity
        self._address = address

    def run(self) -> None:
        self._host.run(self._serve, _ACTOR_GRACE_SECONDS)

    def _serve(self, stop: Stop) -> None:
        port = lp.get_port_from_address(self._address.resolve())
        with reverb.serve(self._item, self._capacity, port):
            stop.wait(threading.TIMEOUT_MAX)


class Learner:
    """Updates, and answers actors that ask for parameters."""

    def __init__(
        self,
        host: Host,
        config: Config,
        spec: EnvironmentSpec,
        item: Spec,
        queue: lp.Address,
        workdir: str,
    ) -> None:
        self._host, self._config, self._spec, self._item = host, config, spec, item
        self._queue, self._workdir = queue, workdir
        self._newest: tuple[int, list[np.ndarray]] | None = None
        self._restarts = [0] * config.runtime.num_actors

    def actor_started(self, index: int, restarts: int) -> None:
        """An actor began, after so many restarts; for the logs."""
        self._restarts[index] = restarts

    def get_parameters(self, known: int) -> tuple[int, list[np.ndarray]] | None:
        """(updates, leaves of the actors' parameters), or None: nothing newer.

        Args:
          known: updates behind the parameters that the caller has; -1 for none.
        """
        newest = self._newest
        return newest if newest and newest[0] > known else None

    def run(self) -> None:
        self._host.run(self._learn, GRACE_SECONDS)

    def _learn(self, stop: Stop) -> None:
        config, spec = self._config, self._spec
        learners = devices.LearnerDevices(
            actor_critic.build(config, spec),
            config.runtime.learner_devices,
            config.batch.batch_size,
        )
        with assembly.open_learner(
            config, spec.frames_per_step, learners, self._workdir, self._publish
        ) as learner:
            stop.saves(learner.save)
            learner.count_restarts(lambda: sum(self._restarts))
            # Only now: this loads TensorFlow, and the actors have what they need.
            queue = reverb.connect(self._queue.resolve(), self._item)
            feeder = Feeder(queue, config.batch.batch_size)
            stop.wakes(feeder.close)
            try:
                learner.run(feeder, stop)
            finally:
                feeder.close()

    def _publish(self, version: int, params: Params) -> None:
        self._newest = version, jax.tree.leaves(params)


class Actor:
    """Acts."""

    def __init__(
        self,
        host: Host,
        config: Config,
        spec: EnvironmentSpec,
        item: Spec,
        queue: lp.Address,
        learner: Any,  # a Courier client of Learner
        index: int,
    ) -> None:
        self._host, self._config, self._spec, self._item = host, config, spec, item
        self._queue, self._learner, self._index = queue, learner, index

    def run(self) -> None:
        self._host.run(self._act, _ACTOR_GRACE_SECONDS)

    def _act(self, stop: Stop) -> None:
        agent = actor_critic.build(self._config, self._spec)  # whose acts compile once

        def live(restarts: int, pulse: Pulse) -> None:
            self._live(agent, stop, restarts, pulse)

        name, runtime = f"{ACTOR}/{self._index}", self._config.runtime
        self._host.supervise(name, live, runtime, stop)

    def _live(self, agent: Agent, stop: Stop, restarts: int, pulse: Pulse) -> None:
        """One life: its writer, its environment, and nothing of the lives before."""
        config = self._config
        parameters = LearnersParameters(self._learner, _structure(agent), stop)
        queue = reverb.connect(self._queue.resolve(), self._item)
        with stop.closing(queue.close):
            with pulse.waiting():
                updates, _ = parameters.latest()
            self._learner.futures.actor_started(self._index, restarts)
            seed = actor.stream(config.seed, self._index, updates, restarts)
            environment = make.factory(config)(seed, config.runtime.envs_per_actor)
            with contextlib.closing(environment):
                made = actor.Actor(agent, environment, config.batch, seed, self._index)
                made.run(parameters, queue, pulse)


class LearnersParameters:
    """A ParameterSource over Courier: one question an unroll, an answer if newer."""

    def __init__(self, learner: Any, structure: Any, stop: Stop) -> None:
        self._learner = learner
        self._structure = structure
        self._stop = stop
        self._newest: tuple[int, Params] | None = None

    def latest(self) -> tuple[int, Params]:
        """See ParameterSource.

        Raises:
          ConnectionError: the learner has not answered for ten minutes.
        """
        while True:
            known = self._newest[0] if self._newest else -1
            answer = self._ask(known)
            if answer is not None:
                version, leaves = answer
                self._newest = version, jax.tree.unflatten(self._structure, leaves)
            if self._newest is not None:
                return self._newest
            if self._stop.wait(_RETRY_SECONDS):
                raise Closed

    def _ask(self, known: int) -> tuple[int, list[np.ndarray]] | None:
        """Calls the learner, which may come up later, and watches for the end."""
        answer = self._learner.futures.get_parameters(known)
        deadline = time.monotonic() + _LOST_SECONDS
        while time.monotonic() < deadline:
            try:
                return answer.result(timeout=_LOOK_SECONDS)
            except futures.TimeoutError:
                self._check(answer)
            except Exception as error:  # Courier's own class has no name
                if self._stop.wait(_ENDING_SECONDS):
                    raise Closed from error
                raise
        raise ConnectionError(f"no answer from the learner for {_LOST_SECONDS:.0f} s")

    def _check(self, answer: futures.Future[Any]) -> None:
        if self._stop.is_set():
            answer.cancel()
            raise Closed


def _structure(agent: Agent) -> Any:
    """The tree that the leaves of the actors' parameters are of."""
    key = jax.ShapeDtypeStruct((2,), np.uint32)
    params = jax.eval_shape(lambda key: agent.actor_params(agent.init(key)), key)
    return jax.tree.structure(params)
