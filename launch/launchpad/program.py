"""The Launchpad program: its nodes and edges, and how it begins and ends.

    actor 0 ─┐ trajectories           trajectories
    actor 1 ─┼───────────────▶ queue ──────────────▶ learner
       …    ─┘                (Reverb)                  │
         ▲                                 parameters   │
         └──────────────────────────────────────────────┘ (Courier)

Each node is a process of this machine. The queue and the learner each listen on a free
port, on every network interface. Neither Reverb nor Courier asks for a password, so run
this on a machine or a network of your own. Actors of other machines may join where
`--listen=HOST:PORT` is given (`join.py`, `remote.py`); PORT is then the learner's, and
the next one the queue's.

The run is over when the learner ends. An actor that dies or hangs starts again. If it
does so too often, or if the queue ends, the run is taken down.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

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
from stac.environments.base import EnvironmentSpec
from stac.launch import child, listening, processes
from stac.launch.fork_server import ForkServer
from stac.launch.launchpad import nodes
from stac.runtime.faults import lines, shutdown
from stac.runtime.logs import terminal
from stac.runtime.queues import reverb_items
from stac.runtime.storage import workdir as workdir_

_LAST_SECONDS = 7.0  # for what takes time after the processes

_QUIET = {
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow, which Reverb loads, and Courier
    "GRPC_VERBOSITY": "NONE",
}
_OWN_HOSTS = ("localhost", "127.0.0.1")  # where the parts of one program listen


def run(config: Config, workdir: str | pathlib.Path, forks: ForkServer) -> int:
    """Trains to `total_frames`, or until a signal (shutdown.SIGNALS), and saves.

    Args:
      config: with runtime `launchpad`.
      workdir: a prepared directory; a checkpoint in it is continued.
      forks: which starts the processes.

    Returns:
      An exit status: 0, or 1 where a node failed, or 2 for a user's mistake. The reason
      has been printed.

    Raises:
      ConfigError: environment and network do not fit.
    """
    if config.runtime.listen:
        check_free(listening.parse("listen", config.runtime.listen))
    prepare()
    stop = shutdown.Stop()
    with (
        shutdown.on_signals(stop, processes.END_SECONDS + _LAST_SECONDS),
        _table() as view,
    ):
        running = _launch(config, str(workdir), forks, view)
        stop.wakes(running.ask)
        first = running.watch()
        running.finish(processes.END_SECONDS)
    [learner] = [each for each in running.everyone if each.role == child.LEARNER]
    if first is None and not learner.begun:
        lines.to_stderr(shutdown.NOTHING)
        return 0
    ended = first or learner
    if ended is learner and learner.status == 0 and not learner.why:
        return 0
    return ended.report()


def prepare(*hosts: str) -> None:
    """Sets up this process and its children to talk to each other and to `hosts`."""
    os.environ.update({**_QUIET, **os.environ, **_without_proxy(os.environ, hosts)})
    flags.FLAGS.mark_as_parsed()  # Launchpad reads its own flags: their defaults


def check_free(address: listening.Address) -> None:
    """Raises ConfigError for another machine's host, or a port that is not free."""
    here = address._replace(host="")
    for each in (address, here, here.next):
        try:
            listening.server(each).close()
        except OSError as error:
            raise configuration.ConfigError(
                f"--listen={address}: cannot open {each}: {listening.reason(error)}"
            ) from None


def build(config: Config, workdir: str) -> lp.Program:
    """The program, not launched: `lp.launch` takes it with any launch type.

    Raises:
      ConfigError: environment and network do not fit.
    """
    configuration.check(
        not config.runtime.actor_devices,
        "--actor_devices: launchpad's actors are processes on the CPU: leave it out, or"
        " use --runtime=threads",
    )
    spec, item = parts(config)
    listen = config.runtime.listen
    at = listening.parse("listen", listen) if listen else None
    program = lp.Program("stac")
    address = lp.Address("reverb")
    # Not lp.ReverbNode: it loads TensorFlow into the parent and never stops its server.
    capacity = configuration.queue_capacity(config)
    queue = _Queue(nodes.serve, capacity, address)
    queue.port = at and at.next.port
    address.assign(queue)
    program.add_node(queue, label=child.QUEUE)
    learner = _Learner(nodes.LearnerNode, config, spec, item, address, workdir)
    learner.port = at and at.port
    handle = program.add_node(learner, label=child.LEARNER)
    add_actors(program, 0, config, spec, item, address, handle)
    return program


def parts(config: Config) -> tuple[EnvironmentSpec, reverb_items.Spec]:
    """The environment's spec, and the shape of the queue's items.

    Raises:
      ConfigError: environment and network do not fit.
    """
    spec = make.spec(config)
    agent = agents.build(config, spec)
    core_state = jax.eval_shape(lambda: agent.initial_core_state(1))
    return spec, reverb_items.spec(spec, config.batch, core_state)


def add_actors(program: lp.Program, first: int, config: Config, *others: Any) -> None:
    """Adds this machine's actors, numbered from `first`; `others`: see nodes.act."""
    with program.group(child.ACTOR):
        for index in range(first, first + config.runtime.num_actors):
            program.add_node(lp.PyNode(nodes.act, config, *others, index))


def fixed(address: str) -> lp.Address:
    """An address that is known before the program is launched."""
    known = lp.Address()
    known.bind(_Fixed(address))
    return known


class _Fixed(lp.AbstractAddressBuilder):
    def __init__(self, address: str) -> None:
        self._address = address

    def build(self) -> str:
        return self._address


class _AtPort:
    """A node that listens at a port of the user's choice, or at any free one."""

    port: int | None = None
    addresses: list[lp.Address]

    def bind_addresses(self, **keywords: Any) -> None:
        super().bind_addresses(**keywords)  # type: ignore[misc] # of a lp.Node
        for address in self.addresses if self.port else []:
            address.bind(_Fixed(f"localhost:{self.port}"))


class _Queue(_AtPort, lp.PyNode):
    pass


class _Learner(_AtPort, lp.CourierNode):
    pass


@contextlib.contextmanager
def _table() -> Iterator[terminal.View | None]:
    """The live table of the run, which this process draws for the learner's."""
    if not terminal.is_live(sys.stdout):
        yield None
        return
    from stac.runtime.logs import table  # only here: a plain run does without

    with contextlib.closing(table.Table(sys.stdout)) as drawn:
        yield drawn


def _launch(
    config: Config, workdir: str, forks: ForkServer, view: terminal.View | None
) -> processes.Processes:
    program = build(config, workdir)
    actors = config.runtime.num_actors
    lines.to_stdout(f"starting the processes: queue, learner, actors ({actors})")
    if listen := config.runtime.listen:
        at = listening.parse("listen", listen)
        lines.to_stdout(
            f"starting to listen at {at}, where python -m launch.actors --connect={at}"
            f" joins; the ports {at.port} (learner) and {at.next.port} (queue) are open"
            " on all network interfaces"
        )
    return start(program, config, forks, view)


def start(
    program: lp.Program,
    config: Config,
    forks: ForkServer,
    view: terminal.View | None = None,
) -> processes.Processes:
    """Launches a program as processes of this terminal; see processes.Process."""
    # The one name of Launchpad's that is not public; its last release is out.
    run_locally._LOCAL_LAUNCHER_MAP["current_terminal"] = functools.partial(
        processes.Processes,
        runtime=config.runtime,
        files=workdir_.locks(),
        view=view,
        begin=forks.start,
    )
    return lp.launch(
        program,
        launch_type="local_mp",
        terminal="current_terminal",
        local_resources=_resources(config, view is not None),
    )


def _without_proxy(
    environ: Mapping[str, str], hosts: Sequence[str] = ()
) -> dict[str, str]:
    """Keeps gRPC, which Reverb and Courier use, from a proxy between our processes.

    Whatever proxies the environment names; others who read it still use them.
    """
    given = environ.get("no_grpc_proxy", environ.get("no_proxy", ""))
    names = filter(None, [*given.split(","), *_OWN_HOSTS, *hosts])
    return {"no_grpc_proxy": ",".join(dict.fromkeys(names))}


def _resources(config: Config, with_table: bool) -> dict[str, PythonProcess]:
    """The environment variables of each role's processes."""
    everyone = {"PYTHONPATH": children.python_path()}
    if with_table:
        everyone[child.TABLE] = "1"
    on_cpu = {"JAX_PLATFORMS": "cpu"}
    threads = str(make.share_of_cores(config.runtime.num_actors))
    own = {
        child.QUEUE: on_cpu,
        child.LEARNER: {},
        child.ACTOR: {**on_cpu, "NPROC": threads},  # of XLA's pool
    }
    return {
        role: PythonProcess(env={**everyone, child.ROLE: role, **variables})
        for role, variables in own.items()
    }
