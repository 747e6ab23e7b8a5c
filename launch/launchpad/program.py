"""The Launchpad program: its nodes and edges, and how it begins and ends.

    actor 0 ─┐ trajectories           trajectories
    actor 1 ─┼───────────────▶ queue ──────────────▶ learner
       …    ─┘                (Reverb)                  │
         ▲                                 parameters   │
         └──────────────────────────────────────────────┘ (Courier)

Launchpad's own flags hold: `--lp_launch_type=local_mp`, a process for each node (the
default), or `local_mt`, a thread for each. The queue and the learner each listen on a
free port, on every network interface; neither Reverb nor Courier asks who is there, so
this belongs on a machine or a network that is one's own.

The run is over when the learner is. An actor that dies or hangs starts again; where it
does so too often, or where the queue ends, the run is taken down.
"""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import threading
import traceback
from collections.abc import Sequence

import jax
import launchpad as lp
from launchpad.launch import worker_manager
from launchpad.launch.run_locally import run_locally
from launchpad.nodes.python.local_multi_processing import PythonProcess

from stac.agents import actor_critic
from stac.config import Config
from stac.environments import make
from stac.launch import flags as command_line
from stac.launch.launchpad import hosts, nodes, processes, supervisor
from stac.runtime.faults import lines, shutdown
from stac.runtime.queues import reverb
from stac.runtime.storage import workdir as workdir_

# The learner's own grace and time for its last save, the longest there may be, which
# mostly takes less than a second; then the queue, and what it takes to see it all end.
_END_SECONDS = shutdown.GRACE_SECONDS + 14.0
_QUEUE_SECONDS = 1.0
_LAST_SECONDS = 6.0

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow, which Reverb loads, and Courier
    "GRPC_VERBOSITY": "NONE",
}
_ON_CPU = {"JAX_PLATFORMS": "cpu"}


def run(config: Config, workdir: str | pathlib.Path) -> int:
    """Trains to `total_frames`, or until a signal (shutdown.SIGNALS), and saves.

    Args:
      config: with runtime `launchpad`.
      workdir: a prepared directory; a checkpoint in it is continued.

    Returns:
      An exit status: 0, or 1 where a node failed, or 2 where it was the user's doing;
      what is to be said about it has been said.

    Raises:
      ConfigError: environment and network do not fit; a launch type that is not local.
    """
    launch_type = command_line.launch_type()
    os.environ.update({**_QUIET, **os.environ})  # before Reverb loads TensorFlow
    stop = shutdown.Stop()
    with shutdown.on_signals(stop, _END_SECONDS + _QUEUE_SECONDS + _LAST_SECONDS):
        if launch_type == "local_mt":
            return _as_threads(config, str(workdir), stop)
        return _as_processes(config, str(workdir), stop)


def build(
    config: Config, workdir: str, host: hosts.Host, queue_host: hosts.Host
) -> lp.Program:
    """The program, not launched.

    Args:
      config: with runtime `launchpad`.
      workdir: a prepared directory.
      host: of actors and learner.
      queue_host: which must end after them: a call to a server that stops meanwhile
        does not return.

    Raises:
      ConfigError: environment and network do not fit.
    """
    spec = make.spec(config)
    agent = actor_critic.build(config, spec)
    core_state = jax.eval_shape(lambda: agent.initial_core_state(1))
    item = reverb.template(spec, config.batch, core_state)
    program = lp.Program("stac")
    address = lp.Address("reverb")
    # Not lp.ReverbNode: it loads TensorFlow into the parent and never stops its server.
    queue = lp.PyClassNode(
        nodes.Queue, queue_host, item, config.runtime.queue_capacity, address
    )
    address.assign(queue)
    program.add_node(queue, label=nodes.QUEUE)
    learner = program.add_node(
        lp.CourierNode(nodes.Learner, host, config, spec, item, address, workdir),
        label=nodes.LEARNER,
    )
    with program.group(nodes.ACTOR):
        for index in range(config.runtime.num_actors):
            program.add_node(
                lp.PyClassNode(
                    nodes.Actor, host, config, spec, item, address, learner, index
                )
            )
    return program


def _as_processes(config: Config, workdir: str, stop: shutdown.Stop) -> int:
    program = build(config, workdir, hosts.OwnProcess(), hosts.OwnProcess())
    # The one name of Launchpad's that is not public; its last release is out.
    run_locally._LOCAL_LAUNCHER_MAP["current_terminal"] = functools.partial(
        processes.Processes, last_roles=(nodes.QUEUE,), files=workdir_.locks()
    )
    actors = config.runtime.num_actors
    lines.show(f"starting the processes: queue, learner, {actors} acting")
    running: processes.Processes = lp.launch(
        program,
        launch_type="local_mp",
        terminal="current_terminal",
        local_resources=_resources(config),
    )
    stop.wakes(running.ask)
    stop.saves(lambda: _learner(running.everyone).status == 0)
    watcher = supervisor.Supervisor(running, config.runtime, nodes.ACTOR)
    first = watcher.watch()
    done = first is not None and (first.role, first.status) == (nodes.LEARNER, 0)
    ended = running.finish(_END_SECONDS)
    if first is not None and not done:
        return watcher.report(first)
    learner = _learner(ended)
    not_begun = first is None and learner.status == -signal.SIGTERM
    if not_begun:
        lines.say("the learner had not begun: there was nothing to save")
    return 0 if learner.status == 0 or not_begun else watcher.report(learner)


def _learner(everyone: Sequence[processes.Process]) -> processes.Process:
    return next(process for process in everyone if process.role == nodes.LEARNER)


def _resources(config: Config) -> dict[str, PythonProcess]:
    """The environment variables of each role's processes."""
    root = str(pathlib.Path(__file__).parents[3])
    paths = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    everyone = {"PYTHONPATH": paths}
    acts = {"NPROC": str(make.share_of_cores(config.runtime.num_actors))}  # XLA's pool
    resources = {
        nodes.QUEUE: {**everyone, **_ON_CPU},
        nodes.LEARNER: everyone,
        nodes.ACTOR: {**everyone, **_ON_CPU, **acts},
    }
    # The role is for who looks at the processes (benchmarks.soak does).
    return {
        role: PythonProcess(env={**env, "STAC_ROLE": role})
        for role, env in resources.items()
    }


def _as_threads(config: Config, workdir: str, stop: shutdown.Stop) -> int:
    host, queue_host = hosts.SharedProcess(stop), hosts.SharedProcess(shutdown.Stop())
    program = build(config, workdir, host, queue_host)
    handlers = {number: signal.getsignal(number) for number in shutdown.SIGNALS}
    with processes.quiet_stderr():
        with processes.blocked(shutdown.SIGNALS):
            manager = lp.launch(program, launch_type="local_mt")
            # Launchpad put its own in their place, which would kill after a while.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        try:
            manager.wait(return_on_first_completed=True)
        finally:
            stop.set()
        left = _wait(manager, [nodes.LEARNER, nodes.ACTOR], _END_SECONDS)
        queue_host.stop.set()
        left = left or _wait(manager, [nodes.QUEUE], _QUEUE_SECONDS)
    failure = host.failure or queue_host.failure
    if left:  # nothing ends a thread but its process
        if failure:
            lines.say("".join(traceback.format_exception(failure)))
        shutdown.leave_saving(stop, hosts.FAILED if failure else 0)
    if failure:
        raise failure
    return 0


def _wait(
    manager: worker_manager.WorkerManager, labels: list[str], limit: float
) -> bool:
    """Waits so many seconds for the threads of some nodes; returns whether in vain."""
    waiting = threading.Thread(target=manager.wait, args=(labels, False), daemon=True)
    waiting.start()
    waiting.join(limit)
    return waiting.is_alive()
