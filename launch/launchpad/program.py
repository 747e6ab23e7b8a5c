"""The Launchpad program: its nodes and edges, and how it begins and ends.

    actor 0 ─┐ trajectories           trajectories
    actor 1 ─┼───────────────▶ queue ──────────────▶ learner
       …    ─┘                (Reverb)                  │
         ▲                                 parameters   │
         └──────────────────────────────────────────────┘ (Courier)

Launchpad's own flags hold: `--lp_launch_type=local_mp`, a process for each node (the
default), or `local_mt`, a thread for each. The queue and the learner each listen on a
free port, on every network interface. Neither Reverb nor Courier asks for a password,
so run this on a machine or a network of your own.

The run is over when the learner ends. An actor that dies or hangs starts again. If it
does so too often, or if the queue ends, the run is taken down.
"""

from __future__ import annotations

import functools
import os
import pathlib
import signal
import threading
import traceback
from collections.abc import Mapping, Sequence

import jax
import launchpad as lp
from launchpad.launch import worker_manager
from launchpad.launch.run_locally import run_locally
from launchpad.nodes.python.local_multi_processing import PythonProcess

from stac import config as configuration
from stac.agents import make as agents
from stac.config import Config
from stac.environments import make
from stac.launch import flags as command_line
from stac.launch.launchpad import hosts, nodes, processes, supervisor
from stac.runtime.faults import lines, shutdown
from stac.runtime.queues import reverb_items
from stac.runtime.storage import workdir as workdir_

# The learner's grace and its last save, which mostly takes less than a second; then the
# queue; and the longest for all of that, as seen from outside.
_END_SECONDS = shutdown.GRACE_SECONDS + 14.0
_QUEUE_SECONDS = 1.0
_LAST_SECONDS = 6.0

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow, which Reverb loads, and Courier
    "GRPC_VERBOSITY": "NONE",
}
_ON_CPU = {"JAX_PLATFORMS": "cpu"}
_OWN_HOSTS = "localhost,127.0.0.1"  # where the parts of one program listen


def run(config: Config, workdir: str | pathlib.Path) -> int:
    """Trains to `total_frames`, or until a signal (shutdown.SIGNALS), and saves.

    Args:
      config: with runtime `launchpad`.
      workdir: a prepared directory; a checkpoint in it is continued.

    Returns:
      An exit status: 0, or 1 where a node failed, or 2 for a user's mistake. The reason
      has been printed.

    Raises:
      ConfigError: environment and network do not fit; a launch type that is not local.
    """
    launch_type = command_line.launch_type()
    os.environ.update({**_QUIET, **os.environ, **_without_proxy(os.environ)})
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
      queue_host: of the queue, which must end after them: a call to a server that
        stops meanwhile does not return.

    Raises:
      ConfigError: environment and network do not fit.
    """
    spec = make.spec(config)
    agent = agents.build(config, spec)
    core_state = jax.eval_shape(lambda: agent.initial_core_state(1))
    item = reverb_items.spec(spec, config.batch, core_state)
    program = lp.Program("stac")
    address = lp.Address("reverb")
    # Not lp.ReverbNode: it loads TensorFlow into the parent and never stops its server.
    queue = lp.PyClassNode(
        nodes.QueueNode,
        queue_host,
        agent.buffer,
        configuration.queue_capacity(config),
        address,
    )
    address.assign(queue)
    program.add_node(queue, label=nodes.QUEUE)
    learner = program.add_node(
        lp.CourierNode(nodes.LearnerNode, host, config, spec, item, address, workdir),
        label=nodes.LEARNER,
    )
    with program.group(nodes.ACTOR):
        for index in range(config.runtime.num_actors):
            program.add_node(
                lp.PyClassNode(
                    nodes.ActorNode, host, config, spec, item, address, learner, index
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
    stop.saves(lambda: _saved(_learner(running.everyone)))
    watcher = supervisor.Supervisor(running, config.runtime, nodes.ACTOR)
    first = watcher.watch()
    done = first is not None and (first.role, first.status) == (nodes.LEARNER, 0)
    learner = _learner(running.finish(_END_SECONDS))
    if first is not None and not done:
        return watcher.report(first)
    if first is None and not learner.begun:
        lines.say(shutdown.NOTHING)
        return 0
    return 0 if learner.status == 0 else watcher.report(learner)


def _learner(everyone: Sequence[processes.Process]) -> processes.Process:
    return next(process for process in everyone if process.role == nodes.LEARNER)


def _saved(learner: processes.Process) -> shutdown.Saved:
    """What this process knows of the learner's last save."""
    if not learner.begun:
        return shutdown.Saved(True, shutdown.NOTHING)
    if learner.status == 0:
        return shutdown.Saved(True, "the learner has saved")
    return shutdown.Saved(False, "the learner has not saved its last updates")


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Keeps gRPC, which Reverb and Courier use, from a proxy between our processes.

    Whatever proxies the environment names; others who read it still use them.
    """
    given = environ.get("no_grpc_proxy", environ.get("no_proxy", ""))
    return {"no_grpc_proxy": ",".join(filter(None, [given, _OWN_HOSTS]))}


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
    # The role is for tools that look at processes, as benchmarks.soak does.
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
            # Launchpad's own handlers would kill this process after a while.
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
    if left:  # only the end of the process ends a thread
        if failure:
            lines.say("".join(traceback.format_exception(failure)))
        shutdown.leave_saving(stop, hosts.FAILED if failure else 0)
    if failure:
        raise failure
    return 0


def _wait(
    manager: worker_manager.WorkerManager, labels: list[str], limit: float
) -> bool:
    """Waits so many seconds for the threads of some nodes; returns whether any runs."""
    waiting = threading.Thread(target=manager.wait, args=(labels, False), daemon=True)
    waiting.start()
    waiting.join(limit)
    return waiting.is_alive()
