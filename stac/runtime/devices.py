"""The learner's devices: one update over k of them equals one on a single device.

Every device holds the whole learner state and a k-th of the batch. The agent sums over
devices where it must (`all_sum`); nothing else crosses devices. pmap is used only here.
"""

from __future__ import annotations

import os

import jax
import numpy as np

from stac import config
from stac.agents import base
from stac.types import LearnerState, Params, Trajectory, Tree

AXIS = "learners"


@jax.custom_vjp
def all_sum(tree: Tree) -> Tree:
    """Sums over all learner devices, inside a pmapped function.

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


class LearnerDevices:
    """Runs an agent's update on k local devices.

    "States" are LearnerStates with a leading axis k, one replica per device; "state" is
    one replica in numpy, as a checkpoint holds it. The states given to `update` stay
    valid, so that the last finished state can be saved while the next update runs;
    donating them would free only a few megabytes.
    """

    def __init__(self, agent: base.Agent, count: int, batch_size: int) -> None:
        """Takes the first `count` local devices of the default backend; 0: all.

        Raises:
          ConfigError: there are fewer, or none of a platform that JAX_PLATFORMS names,
            or the batch does not divide over them.
        """
        devices = _local_devices()
        kind = devices[0].platform
        config.check(
            count <= len(devices),
            f"runtime.learner_devices={count}: this host has {len(devices)} {kind}"
            f" device{'s' if len(devices) > 1 else ''}",
        )
        self.devices = devices[: count or len(devices)]
        self.count = len(self.devices)
        below = batch_size - batch_size % self.count
        sizes = [str(size) for size in (below, below + self.count) if size]
        config.check(
            below == batch_size,
            f"a batch of {batch_size} trajectories does not divide over {self.count}"
            f" learner devices: use --config.batch.batch_size={' or '.join(sizes)}, or"
            " another --config.runtime.learner_devices",
        )
        self.agent = agent
        self._place = jax.pmap(lambda tree: tree, AXIS, devices=self.devices)
        self._update = jax.pmap(
            lambda state, trajectory: agent.update(state, trajectory, all_sum),
            AXIS,
            devices=self.devices,
        )

    def init(self, seed: int) -> LearnerState:
        """The agent's first state, one replica, in numpy."""
        with jax.default_device(self.devices[0]):
            state = jax.jit(self.agent.init)(jax.random.PRNGKey(seed))
        return jax.tree.map(np.asarray, state)

    def for_actors(self) -> list[jax.Device]:
        """The devices that actors of this process use: the rest, or else the same."""
        return jax.local_devices()[self.count :] or self.devices

    def replicate(self, state: LearnerState) -> LearnerState:
        """Puts one state on every device; the way back from `fetch`."""
        # Through numpy, which has no weak types: a weakly typed leaf compiles twice.
        return self._place(
            jax.tree.map(lambda leaf: np.stack([leaf] * self.count), state)
        )

    def update(
        self, states: LearnerState, trajectory: Trajectory
    ) -> tuple[LearnerState, base.Metrics]:
        """Starts one update on numpy leaves [B, ...]; does not wait for its end."""
        shares = jax.tree.map(
            lambda leaf: leaf.reshape(self.count, -1, *leaf.shape[1:]), trajectory
        )
        return self._update(states, shares)

    def fetch(self, states: Tree) -> Tree:
        """The first replica of any tree of replicas, in numpy; waits for it."""
        return jax.tree.map(
            lambda leaf: np.asarray(leaf.addressable_data(0))[0, ...], states
        )

    def fetch_metrics(self, metrics: base.Metrics) -> dict[str, float]:
        """The metrics of `update` as floats; waits for them."""
        # The maximum is that of any replica, but for the metrics named `_max`.
        return {name: float(np.asarray(leaf).max()) for name, leaf in metrics.items()}

    def actor_params(self, states: LearnerState) -> Params:
        """The part of the first replica that actors need, in numpy; waits for it."""
        return self.fetch(self.agent.actor_params(states))


def _local_devices() -> list[jax.Device]:
    """The devices of JAX's default platform."""
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX's own, by its version
        raise config.ConfigError(
            f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')}: JAX finds no such device"
            " here; leave it out, or set JAX_PLATFORMS=cpu"
        ) from error
