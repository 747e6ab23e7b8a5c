"""The Launchpad program: its nodes and edges, and how it begins and ends.

    actor 0 ─┐ trajectories           trajectories
    actor 1 ─┼───────────────▶ queue ──────────────▶ learner
       …    ─┘                (Reverb)                  │
         ▲                                 parameters   │
         └──────────────────────────────────────────────┘ (Courier)

Each node is a process of this machine. The queue and the learner each listen on a free
port, on every network interface. Neither Reverb nor Courier asks for a password, so run
this on a machine or a network of your own.

The run is over when the learner ends. An actor that dies or hangs starts again. If it
does so too often, or if the queue ends, the run is taken down.
"""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Mapping

import jax
import launchpad as lp
from absl import flags
from launchpad.launch.run_locally import run_locally
from launchpad.nodes.python.local_multi_processing import PythonProcess

from stac import children
from stac import config as configuration
from stac.agents import make as agents
from stac.config import Config
from stac.environments import make
from stac.launch import child, processes
from stac.launch.launchpad import nodes
from stac.runtime.faults import lines, shutdown
from stac.runtime.queues import reverb_items
from stac.runtime.storage import workdir as workdir_

# The learner's grace and its last save, which mostly takes less than a second; and what
# else takes time at the end.
_END_SECONDS = shutdown.GRACE_SECONDS + 14.0
_LAST_SECONDS = 7.0

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow, which Reverb loads, and Courier
    "GRPC_VERBOSITY": "NONE",
}
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
      ConfigError: environment and network do not fit.
    """
    os.environ.update({**_QUIET, **os.environ, **_without_proxy(os.environ)})
    flags.FLAGS.mark_as_parsed()  # Launchpad reads its own flags: their defaults
    stop = shutdown.Stop()
    with shutdown.on_signals(stop, _END_SECONDS + _LAST_SECONDS):
        running = _launch(config, str(workdir))
        stop.wakes(running.ask)
        first = running.watch()
        running.finish(_END_SECONDS)
    [learner] = [each for each in running.everyone if each.role == child.LEARNER]
    if first is None and not learner.begun:
        lines.say(shutdown.NOTHING)
        return 0
    ended = first or learner
    if ended is learner and learner.status == 0 and not learner.why:
        return 0
    return ended.report()


def build(config: Config, workdir: str) -> lp.Program:
    """The program, not launched.

    Raises:
      ConfigError: environment and network do not fit.
    """
    configuration.check(
        not config.runtime.actor_devices,
        "--actor_devices: launchpad's actors are processes on the CPU: leave it out, or"
        " use --runtime=threads",
    )
    spec = make.spec(config)
    agent = agents.build(config, spec)
    core_state = jax.eval_shape(lambda: agent.initial_core_state(1))
    item = reverb_items.spec(spec, config.batch, core_state)
    program = lp.Program("stac")
    address = lp.Address("reverb")
    # Not lp.ReverbNode: it loads TensorFlow into the parent and never stops its server.
    capacity = configuration.queue_capacity(config)
    queue = lp.PyNode(nodes.serve, agent.buffer, capacity, address)
    address.assign(queue)
    program.add_node(queue, label=child.QUEUE)
    learner = program.add_node(
        lp.CourierNode(nodes.LearnerNode, config, spec, item, address, workdir),
        label=child.LEARNER,
    )
    with program.group(child.ACTOR):
        for index in range(config.runtime.num_actors):
            program.add_node(
                lp.PyNode(nodes.act, config, spec, item, address, learner, index)
            )
    return program


def _launch(config: Config, workdir: str) -> processes.Processes:
    program = build(config, workdir)
    # The one name of Launchpad's that is not public; its last release is out.
    run_locally._LOCAL_LAUNCHER_MAP["current_terminal"] = functools.partial(
        processes.Processes, runtime=config.runtime, files=workdir_.locks()
    )
    actors = config.runtime.num_actors
    lines.show(f"starting the processes: queue, learner, {actors} acting")
    return lp.launch(
        program,
        launch_type="local_mp",
        terminal="current_terminal",
        local_resources=_resources(config),
    )


def _without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Keeps gRPC, which Reverb and Courier use, from a proxy between our processes.

    Whatever proxies the environment names; others who read it still use them.
    """
    given = environ.get("no_grpc_proxy", environ.get("no_proxy", ""))
    return {"no_grpc_proxy": ",".join(filter(None, [given, _OWN_HOSTS]))}


def _resources(config: Config) -> dict[str, PythonProcess]:
    """The environment variables of each role's processes."""
    everyone = {"PYTHONPATH": children.python_path()}
    on_cpu = {"JAX_PLATFORMS": "cpu"}
    threads = str(make.share_of_cores(config.runtime.num_actors))
    own = {
        child.QUEUE: on_cpu,
        child.LEARNER: {},
        child.ACTOR: {**on_cpu, "NPROC": threads},  # of XLA's pool
    }
    # The role is for tools that look at processes, as benchmarks.soak does.
    return {
        role: PythonProcess(env={**everyone, "STAC_ROLE": role, **variables})
        for role, variables in own.items()
    }
