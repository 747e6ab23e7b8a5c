"""The nodes of the Launchpad program and their work.

A node runs in a thread or in a process; its `Host` knows. The queue's process has no
JAX program, the actors' processes have one for the CPU, and the learner's has the
devices.
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

from stac.agents import make as agents
from stac.agents.base import Agent
from stac.config import Config, RunError
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.launch.launchpad.hosts import Host
from stac.runtime import actor, assembly, devices
from stac.runtime.experience import Spec
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.faults.lines import say
from stac.runtime.faults.shutdown import GRACE_SECONDS, Stop
from stac.runtime.learner import Learner
from stac.runtime.queues.base import Closed
from stac.runtime.queues.feeder import Feeder
from stac.runtime.queues.make import BUFFERS
from stac.types import Params

QUEUE, LEARNER, ACTOR = "queue", "learner", "actor"  # labels

_ACTOR_GRACE_SECONDS = 3.0  # nothing of an actor is worth waiting for
_RETRY_SECONDS = 0.2  # until the learner has parameters
_LOOK_SECONDS = 0.25  # how late an actor that waits for the learner sees the end
_ENDING_SECONDS = 2.0  # between the end of the learner and that of an actor
_LOST_SECONDS = 600.0  # without an answer; a learner that compiles may take long
LATE_SECONDS = 120.0  # without a first trajectory, which is then told of
NEVER_SECONDS = 1800.0  # without a first trajectory end the run


class QueueNode:
    """Holds the trajectories."""

    def __init__(
        self,
        host: Host,
        buffer: str,
        item: Spec,
        capacity: int,
        address: lp.Address,
    ) -> None:
        self._host, self._item, self._capacity = host, item, capacity
        self._buffer, self._address = buffer, address

    def run(self) -> None:
        self._host.run(self._serve, _ACTOR_GRACE_SECONDS)

    def _serve(self, stop: Stop) -> None:
        port = lp.get_port_from_address(self._address.resolve())
        with BUFFERS[self._buffer].serve(self._item, self._capacity, port):
            stop.wait(threading.TIMEOUT_MAX)


class LearnerNode:
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
        self._reached = False  # by an actor
        self._gave_up = False

    def actor_started(self, index: int, restarts: int) -> None:
        """An actor began, after so many restarts; for the logs."""
        self._restarts[index] = restarts
        self._reached = True

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
        agent = agents.build(config, spec)
        learners = devices.LearnerDevices(
            agent, config.runtime.learner_devices, config.batch.batch_size
        )
        with assembly.open_learner(
            config, learners, self._workdir, self._publish, stop
        ) as learner:
            # Only now: this loads TensorFlow, and the actors have what they need.
            queue = BUFFERS[agent.buffer].connect(self._queue.resolve(), self._item)
            feeder = Feeder(queue, config.batch.batch_size)
            stop.wakes(feeder.close)
            first = threading.Thread(
                target=self._await_the_first, args=(feeder, learner, stop), daemon=True
            )
            first.start()
            try:
                learner.run(feeder, stop, lambda: sum(self._restarts))
            finally:
                feeder.close()
        if self._gave_up:
            raise RunError(self._absence(NEVER_SECONDS))

    def _await_the_first(self, feeder: Feeder, learner: Learner, stop: Stop) -> None:
        """Tells of a first trajectory that does not come, and then stops the run."""
        began, before, told = time.monotonic(), learner.updates, False
        while not (stop.wait(_LOOK_SECONDS) or learner.done):
            if learner.updates > before or feeder.size():
                return
            waited = time.monotonic() - began
            if waited > LATE_SECONDS and not told:
                say(self._absence(waited))
                told = True
            if waited > NEVER_SECONDS:
                self._gave_up = True
                stop.set()

    def _absence(self, seconds: float) -> str:
        """Says that no trajectory came, and the likely cause."""
        cause = "no actor has reached the learner: a firewall or proxy on localhost?"
        if self._reached:
            cause = (
                "the actors have parameters, so building their environments or a first"
                " unroll takes long, or they cannot reach the queue"
            )
        return f"no trajectory has come for {seconds:.0f} s; {cause}"

    def _publish(self, version: int, params: Params) -> None:
        self._newest = version, jax.tree.leaves(params)


class ActorNode:
    """Acts."""

    def __init__(
        self,
        host: Host,
        config: Config,
        spec: EnvironmentSpec,
        item: Spec,
        queue: lp.Address,
        learner: Any,  # a Courier client of LearnerNode
        index: int,
    ) -> None:
        self._host, self._config, self._spec, self._item = host, config, spec, item
        self._queue, self._learner, self._index = queue, learner, index

    def run(self) -> None:
        self._host.run(self._act, _ACTOR_GRACE_SECONDS)

    def _act(self, stop: Stop) -> None:
        agent = agents.build(self._config, self._spec)  # whose acts compile once

        def live(restarts: int, heartbeat: Heartbeat) -> None:
            self._live(agent, stop, restarts, heartbeat)

        name = f"{ACTOR}/{self._index}"
        self._host.act(name, live, self._config.runtime, stop)

    def _live(
        self, agent: Agent, stop: Stop, restarts: int, heartbeat: Heartbeat
    ) -> None:
        """One life: its writer, its environment, and nothing of the lives before."""
        config = self._config
        parameters = LearnersParameters(self._learner, _structure(agent), stop)
        queue = BUFFERS[agent.buffer].connect(self._queue.resolve(), self._item)
        stop.wakes(queue.close)
        with contextlib.closing(queue):
            with heartbeat.waiting():
                updates, _ = parameters.latest()
            self._learner.futures.actor_started(self._index, restarts)
            seed = actor.stream(config.seed, self._index, updates, restarts)
            environment = make.factory(config)(seed, config.runtime.envs_per_actor)
            with contextlib.closing(environment):
                acting = actor.Actor(
                    agent, environment, config.batch, seed, self._index
                )
                acting.run(parameters, queue, heartbeat)


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
