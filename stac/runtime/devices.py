"""The devices of a process: some act, some learn, and k learn as a single one would.

Every learner device holds the whole learner state and a k-th of the batch. The agent
sums over devices where it must (`all_sum`); nothing else crosses them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from stac import config
from stac.agents import base
from stac.types import LearnerState, Params, Trajectory, Tree

AXIS = "learners"


class Split(NamedTuple):
    """The devices of a process; those that act may be those that learn."""

    actors: list[jax.Device]
    learners: list[jax.Device]

    def describe(self, num_actors: int) -> str:
        """The line that says who does what where so many actors are dealt out."""
        acting = self.actors[:num_actors]
        busy = {*acting, *self.learners}
        idle = [device for device in jax.local_devices() if device not in busy]
        words = {"acting on": acting, "learning on": self.learners, "idle:": idle}
        return "devices: " + "; ".join(
            f"{what} {', '.join(str(device.id) for device in devices)}"
            for what, devices in words.items()
            if devices
        )


def split(
    acting: Sequence[int], learning: Sequence[int], batch_size: int, shared: bool = True
) -> Split:
    """Splits the local devices of JAX's default platform.

    A device alone does both. Of several, at least a quarter act, as 2 of 8 in the paper
    (Sec. 8). The learners are the largest number of the others that divides the batch.
    The rest act as well, unless `acting` names those that do.

    Args:
      acting: indices of the devices that act; (): the split above.
      learning: indices of the devices that learn; (): the split above.
      batch_size: trajectories.
      shared: whether actors use these devices; False: all may learn.

    Raises:
      ConfigError: there is no such device, or none of a platform that JAX_PLATFORMS
        names; an index is given twice; the batch does not divide over the devices.
    """
    devices = _local_devices()
    everywhere = range(len(devices))
    _check_indices("actor_devices", acting, devices)
    _check_indices("learner_devices", learning, devices)
    if not learning:
        quarter = max(1, len(devices) // 4) if shared and len(devices) > 1 else 0
        free = [index for index in everywhere if index not in acting]
        free = free[0 if acting else quarter :] or list(everywhere)
        count = max(k for k in range(1, len(free) + 1) if batch_size % k == 0)
        learning = free[len(free) - count :]
    _check_divides(batch_size, len(learning))
    acting = acting or [index for index in everywhere if index not in learning]
    return Split(
        [devices[index] for index in acting or learning],
        [devices[index] for index in learning],
    )


@jax.custom_vjp
def all_sum(tree: Tree) -> Tree:
    """Sums over all learner devices, inside a mapped function.

    An agent differentiates its own device's share of a loss through the summed
    gradient, then sums the result. Device j's share depends on device i's addend for
    every j, so the cotangent of an addend is the sum of all devices' cotangents. JAX's
    own gradient of a psum depends on its version and on the kind of map, so it is
    written down here.
    """
    return jax.lax.psum(tree, AXIS)


all_sum.defvjp(
    lambda tree: (all_sum(tree), None),
    lambda _, cotangents: (all_sum(cotangents),),
)

Step = Callable[[LearnerState, Trajectory], tuple[LearnerState, base.Metrics]]


def pmapped(step: Step, devices: Sequence[jax.Device]) -> Step:
    """Maps `step` by pmap: trajectories [B, ...] are split, all else is replicated."""
    mapped = jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=devices)

    def update(
        state: LearnerState, trajectory: Trajectory
    ) -> tuple[LearnerState, base.Metrics]:
        shares = jax.tree.map(
            lambda leaf: leaf.reshape((len(devices), -1) + leaf.shape[1:]), trajectory
        )
        return mapped(state, shares)

    return update


def shard_mapped(step: Step, devices: Sequence[jax.Device]) -> Step:
    """Does what `pmapped` does by `jit(shard_map)`, for the day that pmap goes."""
    mapped = jax.shard_map(
        step,
        mesh=Mesh(np.array(devices), (AXIS,)),
        in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
        out_specs=PartitionSpec(),
        check_vma=False,  # the sum's derivative is `all_sum`'s own
    )
    return jax.jit(mapped)


class LearnerDevices:
    """Runs an agent's update on k devices.

    A state on the devices is replicated: each leaf has the shape that it has in a
    checkpoint, and every device a copy. The state given to `update` stays valid, so
    that the last finished state can be saved while the next update runs; donating it
    would free only a few megabytes.
    """

    def __init__(
        self,
        agent: base.Agent,
        devices: Sequence[jax.Device],
        mapped: Callable[[Step, Sequence[jax.Device]], Step] = pmapped,
    ) -> None:
        self.agent = agent
        self.devices = list(devices)
        self._replicated = NamedSharding(
            Mesh(np.array(self.devices), (AXIS,)), PartitionSpec()
        )

        def step(
            state: LearnerState, trajectory: Trajectory
        ) -> tuple[LearnerState, base.Metrics]:
            state, metrics = agent.update(state, trajectory, all_sum)
            return state, {
                name: jax.lax.pmax(value, AXIS) if name.endswith("_max") else value
                for name, value in metrics.items()
            }

        self._update = mapped(step, self.devices)

    def init(self, seed: int) -> LearnerState:
        """The agent's first state, in numpy."""
        with jax.default_device(self.devices[0]):
            state = jax.jit(self.agent.init)(jax.random.PRNGKey(seed))
        return self.fetch(state)

    def replicate(self, state: LearnerState) -> LearnerState:
        """Puts a state on every device; the way back from `fetch`."""
        # Through numpy, which has no weak types: a weakly typed leaf compiles twice.
        return jax.device_put(jax.tree.map(np.asarray, state), self._replicated)

    def update(
        self, state: LearnerState, trajectory: Trajectory
    ) -> tuple[LearnerState, base.Metrics]:
        """Starts one update on numpy leaves [B, ...]; does not wait for its end."""
        return self._update(state, trajectory)

    def fetch(self, tree: Tree) -> Tree:
        """A replicated tree in numpy; waits for it."""
        return jax.tree.map(lambda leaf: np.asarray(leaf.addressable_data(0)), tree)

    def actor_params(self, state: LearnerState) -> Params:
        """The part of the state that actors need, on the first device; waits for it."""
        first = jax.tree.map(
            lambda leaf: leaf.addressable_data(0), self.agent.actor_params(state)
        )
        return jax.block_until_ready(first)


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
