"""How much one unit carries, for the table of what saturates first on many hosts.

    python -m benchmarks.scaling

Bytes of the paper's agent and of its trajectories on Atari, seconds of a checkpoint,
trajectories a second through one Reverb server, and answers a second of one Courier
server, each with its clients on the same cores.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.update import SPEC
from stac.agents import actor_critic
from stac.configs import atari as numbers
from stac.environments import make
from stac.launch import cli
from stac.runtime import actor
from stac.runtime.queues import reverb, reverb_items
from stac.runtime.storage import checkpoints
from stac.types import Experience, Tree

GAME = "james_bond"
PROCESSES = multiprocessing.get_context("spawn")


def agent_and_checkpoint(network: str) -> Tree:
    """Returns what actors get."""
    for name in ("impala", "stacx"):
        agent = actor_critic.build(numbers.config(agent=name, network=network), SPEC)
        state = jax.tree.map(np.asarray, jax.jit(agent.init)(jax.random.PRNGKey(0)))
        show(f"{network}, {name}: parameters", nbytes(state.params) / 1e6, "MB")
        show("  an actor's", nbytes(agent.actor_params(state)) / 1e6, "MB")
        show("  a checkpoint", nbytes(state) / 1e6, "MB")
    with tempfile.TemporaryDirectory() as path:
        writer = checkpoints.Checkpoints(path, keep=1)
        writer.save(1, state, {})
        began = time.perf_counter()
        writer.save(2, state, {})
        show("  saved in", time.perf_counter() - began, "s")
        writer.close()
    return agent.actor_params(state)


def through_courier(name: str, params: Tree, seconds: float, actors: int) -> None:
    """Actors ask for parameters, and do nothing else; () are none newer."""
    import courier

    server = courier.Server()
    server.Bind("get_parameters", lambda *asker: (1, params) if params else None)
    server.Start()
    counts = PROCESSES.Array("q", actors, lock=False)
    children = [started(ask, server.port, counts, index) for index in range(actors)]
    while not all(counts):
        time.sleep(0.1)
    before, began = sum(counts), time.perf_counter()
    time.sleep(seconds)
    rate = (sum(counts) - before) / (time.perf_counter() - began)
    ended(children)
    server.Stop()
    show(f"Courier, {actors} actors, {name}: answers", rate, "/s")
    show("  their parameters", rate * nbytes(params) / 1e6, "MB/s")


def ask(port: int, counts: Any, index: int) -> None:
    import courier

    client = courier.Client(f"localhost:{port}")
    while True:
        client.get_parameters(index, 0, -1)
        counts[index] += 1


def through_reverb(seconds: float, writers: int) -> None:
    experience, spec = played()
    count, rows = experience.trajectory.first.shape
    show("a trajectory, not compressed", nbytes(experience) / count / 1e3, "kB")
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    children = [started(serve, port)]
    children += [started(put, port, experience, spec) for _ in range(writers)]
    queue = reverb.ReverbQueue(f"localhost:{port}", spec)
    queue.get(4 * count)  # all writers are at it
    before, taken, began = loopback(), 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        queue.get(count)
        taken += count
    sent = loopback() - before
    ended(children)
    show(f"Reverb, {writers} writers: trajectories", taken / passed, "/s")
    show("  agent steps", taken * rows / passed, "/s")
    show("  a trajectory on the wire, in and out", sent / taken / 1e3, "kB")


def played() -> tuple[Experience, reverb_items.Spec]:
    """An unroll of an actor in the middle of play: 32 trajectories of 20 rows."""
    config = numbers.config(agent="impala", network="shallow")
    environment = dataclasses.replace(config.environment, task=GAME)
    config = dataclasses.replace(config, environment=environment)
    games = make.factory(config)(1, make.envs_per_actor(config))
    agent = actor_critic.build(config, games.spec)
    acting = actor.Actor(agent, games, config.batch, seed=1, index=0)
    params = agent.actor_params(agent.init(jax.random.PRNGKey(0)))
    unrolls = [acting.unroll(0, params) for _ in range(3)]
    return unrolls[-1], reverb_items.spec(games.spec, config.batch, ())


def serve(port: int) -> None:
    with reverb.serve(64, port):
        time.sleep(threading.TIMEOUT_MAX)


def put(port: int, experience: Experience, spec: reverb_items.Spec) -> None:
    queue = reverb.ReverbQueue(f"localhost:{port}", spec)
    while True:
        queue.put(experience)


def started(work: Callable[..., None], *arguments: Any) -> Any:
    """A process, which runs until it is ended."""
    child = PROCESSES.Process(target=work, args=arguments)
    child.start()
    return child


def ended(children: list[Any]) -> None:
    for child in children:
        child.kill()
        child.join()


def nbytes(tree: Tree) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def loopback() -> int:
    """Bytes that this machine sent to itself."""
    with open("/proc/net/dev") as devices:
        [line] = [line for line in devices if line.strip().startswith("lo:")]
    return int(line.split()[9])


def show(name: str, value: float, unit: str) -> None:
    print(f"{name:48} {value:10,.2f} {unit}", flush=True)


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=2)
    arguments = parser.parse_args()
    seconds, clients = arguments.seconds, arguments.clients
    os.environ |= {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    for network in ("shallow", "deep"):
        params = agent_and_checkpoint(network)
        through_courier(network, params, seconds, clients)
    through_courier("nothing newer", (), seconds, clients)
    through_reverb(seconds, clients)


if __name__ == "__main__":
    sys.exit(cli.run(main))
