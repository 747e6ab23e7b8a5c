"""The devices of all hosts: some act, some learn, and k learn as a single one would.

Every learner device holds the whole learner state and a k-th of the batch. The agent
sums over devices where it must (`all_sum`); nothing else crosses them, or the hosts
that they are on. A host is one process of JAX.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import flatten_util
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stac import config
from stac.agents import base
from stac.types import Array, LearnerState, Params, Sample, Trajectory, Tree

AXIS = "learners"
STOPPING = "stopping"  # the metric that counts the learner devices told to stop
_JOIN_SECONDS = 120  # for all hosts to reach the first one's service
_MEET_MILLISECONDS = 600_000  # from there to the first sum


def join_hosts(service: str, count: int, index: int, here: str) -> None:
    """Makes this process the `index`-th of `count` hosts; before any use of JAX.

    Args:
      service: "name:port" or "[fd00::2]:port", where host 0 is to serve the others.
      count: of the hosts.
      index: of this host, from 0.
      here: its address for the others, for sums on CPUs.
    """
    from jaxlib import _jax  # only here: it is JAX's own business

    # gloo would take what this host's own name stands for here, which may be 127.0.1.1.
    _jax.make_gloo_tcp_collectives = functools.partial(
        _jax.make_gloo_tcp_collectives, hostname=here
    )
    # The default since JAX 0.8; before, CPU devices of two processes cannot sum.
    if "jax_cpu_collectives_implementation" in jax.config.values:
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # JAX would take SIGTERM for itself.
    if "jax_enable_preemption_service" in jax.config.values:
        jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        service,
        count,
        index,
        initialization_timeout=_JOIN_SECONDS,
        coordinator_bind_address=service if index == 0 else None,
        # All of the host's devices; of a Slurm task JAX would take one.
        cluster_detection_method="deactivate",
    )


def leave_hosts() -> None:
    """Waits for the other hosts to leave as well; for the end of a whole run alone."""
    jax.distributed.shutdown()


def _meet() -> None:
    """Waits for all hosts, which build their agents at their own speed.

    gloo, which sums between CPU devices, gives up where a host comes to the first sum
    half a minute after another. JAX has no public name for a barrier with a time-out.
    """
    from jax._src import distributed

    client: Any = distributed.global_state.client
    client.wait_at_barrier("stac", _MEET_MILLISECONDS)


class Split(NamedTuple):
    """The devices of a run; those that act may be those that learn."""

    actors: list[jax.Device]  # of this host
    learners: list[jax.Device]  # of all hosts

    def describe(self, num_actors: int) -> str:
        """A line: the devices of so many actors, those that learn, and idle ones."""
        acting, learning = self.actors[:num_actors], _here(self.learners)
        busy = {*acting, *learning}
        idle = [device for device in jax.local_devices() if device not in busy]
        words = {"acting on": acting, "learning on": learning, "idle:": idle}
        return "devices: " + "; ".join(
            f"{what} {', '.join(str(device.id) for device in devices)}"
            for what, devices in words.items()
            if devices
        )


def split(
    acting: Sequence[int], learning: Sequence[int], batch_size: int, shared: bool = True
) -> Split:
    """Splits the devices of JAX's default platform, on every host in the same way.

    A device alone does both. Of several, at least a quarter act, as 2 of 8 in the paper
    (Sec. 8). The learners are the largest number of the others that divides the batch.
    The rest act as well, unless `acting` names those that do.

    Args:
      acting: indices of the host's devices that act; (): the split above.
      learning: indices of the host's devices that learn; (): the split above.
      batch_size: trajectories, of all hosts together.
      shared: whether actors use these devices; False: all may learn.

    Raises:
      ConfigError: there is no such device, or none of a platform that JAX_PLATFORMS
        names; an index is given twice; the batch does not divide over the devices; the
        hosts have different numbers of devices.
    """
    devices = _local_devices()
    hosts = [jax.local_devices(process_index=k) for k in range(jax.process_count())]
    everywhere = range(len(devices))
    numbers = ", ".join(str(len(host)) for host in hosts)
    config.check(
        all(len(host) == len(devices) for host in hosts),
        f"hosts must have as many devices as each other, but have {numbers}",
    )
    _check_indices("actor_devices", acting, devices)
    _check_indices("learner_devices", learning, devices)
    if not learning:
        quarter = max(1, len(devices) // 4) if shared and len(devices) > 1 else 0
        free = [index for index in everywhere if index not in acting]
        free = free[0 if acting else quarter :] or list(everywhere)
        fit = [k for k in range(1, len(free) + 1) if batch_size % (k * len(hosts)) == 0]
        learning = free[len(free) - max(fit, default=1) :]
    _check_divides(batch_size, len(learning) * len(hosts))
    acting = acting or [index for index in everywhere if index not in learning]
    return Split(
        [devices[index] for index in acting or learning],
        [host[index] for host in hosts for index in learning],
    )


@jax.custom_vjp
def all_sum(tree: Tree) -> Tree:
    """Sums over all learner devices, inside a mapped function.

    An agent differentiates its own device's share of a loss through the summed
    gradient, then sums the result. Device j's share depends on device i's addend for
    every j, so the cotangent of an addend is the sum of all devices' cotangents. JAX's
    own gradient of a psum depends on its version and on the kind of map, so it is
    written down here.

    Between hosts it is one exchange, in the place of one for each leaf: measured with
    two hosts on one machine, an update of catch takes 20 ms, and not 70 to 300.
    """
    if jax.process_count() == 1:
        return jax.lax.psum(tree, AXIS)
    flat, split = flatten_util.ravel_pytree(tree)
    return split(jax.lax.psum(flat, AXIS))


all_sum.defvjp(
    lambda tree: (all_sum(tree), None),
    lambda _, cotangents: (all_sum(cotangents),),
)


class Shares(NamedTuple):
    """An update's input that is split over the learner devices of a host."""

    trajectory: Trajectory | Sample  # leaves [B, ...]
    stopping: Array  # [k] float32: 1 where the host was told to stop


class LearnerDevices:
    """Runs an agent's update on k devices of one or several hosts.

    A state on the devices is replicated: each leaf has the shape that it has in a
    checkpoint, and every device a copy. The state given to `update` stays valid, so
    that the last finished state can be saved while the next update runs; donating it
    would free only a few megabytes.
    """

    def __init__(self, agent: base.Agent, devices: Sequence[jax.Device]) -> None:
        self.agent = agent
        self.devices = list(devices)
        self._here = _here(devices)
        self.hosts = jax.process_count()
        self.accelerated = self.devices[0].platform != "cpu"
        self._replicated = NamedSharding(
            Mesh(np.array(self.devices), (AXIS,)), PartitionSpec()
        )

        def step(
            state: LearnerState, shares: Shares
        ) -> tuple[LearnerState, base.Metrics]:
            state, metrics = agent.update(state, shares.trajectory, all_sum)
            stopping = jax.lax.psum(shares.stopping.sum(), AXIS)
            return state, {
                name: jax.lax.pmax(value, AXIS) if name.endswith("_max") else value
                for name, value in metrics.items()
            } | {STOPPING: stopping}

        self._step: Any = jax.pmap(  # the shares are split, all else is replicated
            step, AXIS, in_axes=(None, 0), out_axes=None, devices=self.devices
        )
        self._call = self._step

    @property
    def compiled(self) -> bool:
        """Whether `compile` has ended."""
        return self._call is not self._step

    def init(self, seed: int) -> LearnerState:
        """The agent's first state, in numpy."""
        with jax.default_device(self._here[0]):
            state = jax.jit(self.agent.init)(jax.random.PRNGKey(seed))
        return self.fetch(state)

    def replicate(self, state: LearnerState) -> LearnerState:
        """Puts a state on every device; the way back from `fetch`."""

        def put(leaf: Array) -> jax.Array:
            # Through numpy, without weak types: a weakly typed leaf compiles twice.
            whole = np.asarray(leaf)
            return jax.make_array_from_callback(
                whole.shape, self._replicated, lambda index: whole[index]
            )

        return jax.tree.map(put, state)

    def agreed(self, state: LearnerState) -> LearnerState:
        """The first host's state in the place of every other's, in numpy.

        All hosts must call it, at the same point of the run.
        """
        if self.hosts == 1:
            return state
        _meet()

        def share(leaf: Array) -> Array:
            rows = np.zeros((len(self._here), *np.shape(leaf)), leaf.dtype)
            rows[0] = leaf if jax.process_index() == 0 else 0
            return rows

        add = functools.partial(jax.lax.psum, axis_name=AXIS)
        over_hosts = jax.pmap(add, AXIS, out_axes=None, devices=self.devices)
        return self.fetch(over_hosts(jax.tree.map(share, state)))

    def compile(self, state: LearnerState, trajectory: Trajectory) -> None:
        """Compiles the update for such a batch, before there is one.

        Args:
          state: replicated.
          trajectory: numpy leaves [B, ...], of which only the shapes matter.
        """
        shares = self._shares(trajectory, stopping=False)
        self._call = self._step.lower(state, shares).compile()

    def update(
        self,
        state: LearnerState,
        trajectory: Trajectory | Sample,
        stopping: bool = False,
    ) -> tuple[LearnerState, base.Metrics]:
        """Starts one update on numpy leaves [B, ...]; does not wait for its end.

        Args:
          state: replicated.
          trajectory: this host's share of the batch.
          stopping: whether this host was told to stop. The metric STOPPING of the
            result is above 0 on every host if any was.
        """
        updated: tuple[LearnerState, base.Metrics] = self._call(
            state, self._shares(trajectory, stopping)
        )
        return updated

    def _shares(self, trajectory: Trajectory | Sample, stopping: bool) -> Tree:
        count = len(self._here)
        shares = Shares(trajectory, np.full(count, stopping, np.float32))
        return jax.tree.map(
            lambda leaf: leaf.reshape((count, -1) + leaf.shape[1:]), shares
        )

    def fetch(self, tree: Tree) -> Tree:
        """A replicated tree in numpy; waits for it."""
        return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), tree)

    def actor_params(self, state: LearnerState) -> Params:
        """The part of the state that actors need, on the first device; waits for it."""
        first = jax.tree.map(
            lambda leaf: leaf.addressable_data(0), self.agent.actor_params(state)
        )
        return jax.block_until_ready(first)


def _here(devices: Sequence[jax.Device]) -> list[jax.Device]:
    """Those of this host."""
    return [each for each in devices if each.process_index == jax.process_index()]


def _local_devices() -> list[jax.Device]:
    """The devices of JAX's default platform."""
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX's own, by its version
        platforms = os.environ.get("JAX_PLATFORMS")
        raise config.ConfigError(
            f"JAX_PLATFORMS={platforms}: JAX finds no such device here; leave it out,"
            " or set JAX_PLATFORMS=cpu"
            if platforms
            else f"JAX finds no device here: {error}"
        ) from error


def _check_indices(
    name: str, indices: Sequence[int], devices: Sequence[jax.Device]
) -> None:
    given = f"runtime.{name}={','.join(map(str, indices))}"
    here = f"{len(devices)} {devices[0].platform} device{'s' * (len(devices) > 1)}"
    for index in indices:
        config.check(
            0 <= index < len(devices),
            f"{given}: this host has {here}: use indices from 0 to {len(devices) - 1}",
        )
    config.check(len(set(indices)) == len(indices), f"{given}: names a device twice")


def _check_divides(batch_size: int, devices: int) -> None:
    """Refuses a batch that has no equal shares, and names the sizes that have."""
    below = batch_size - batch_size % devices
    sizes = [str(size) for size in (below, below + devices) if size]
    config.check(
        below == batch_size,
        f"a batch of {batch_size} trajectories does not divide over {devices} learner"
        f" devices: use --config.batch.batch_size={' or '.join(sizes)}, or other"
        " --learner_devices",
    )
