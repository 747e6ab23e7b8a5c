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


def _forward(tree: Tree) -> tuple[Tree, None]:
    return all_sum(tree), None


def _backward(_: None, cotangents: Tree) -> tuple[Tree]:
    return (all_sum(cotangents),)


all_sum.defvjp(_forward, _backward)


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
        _check_divides(batch_size, self.count)
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
        shape = (self.count,)
        # Through numpy, which has no weak types: a weakly typed leaf compiles twice.
        return self._place(
            jax.tree.map(
                lambda leaf: np.broadcast_to(leaf, shape + np.shape(leaf)), state
            )
        )

    def update(
        self, states: LearnerState, trajectory: Trajectory
    ) -> tuple[LearnerState, base.Metrics]:
        """Starts one update on numpy leaves [B, ...]; does not wait for its end."""
        share = (self.count, -1)
        trajectory = jax.tree.map(
            lambda leaf: leaf.reshape(share + leaf.shape[1:]), trajectory
        )
        return self._update(states, trajectory)

    def fetch(self, states: Tree) -> Tree:
        """The first replica of any tree of replicas, in numpy; waits for it."""
        return jax.tree.map(lambda leaf: np.asarray(leaf)[0, ...], _first(states))

    def fetch_metrics(self, metrics: base.Metrics) -> dict[str, float]:
        """The metrics of `update` as floats; waits for them."""
        first = self.fetch(metrics)
        return {
            name: float(
                np.asarray(leaf).max() if name.endswith("_max") else first[name]
            )
            for name, leaf in metrics.items()
        }

    def actor_params(self, states: LearnerState) -> Params:
        """The part of the first replica that actors need, in numpy; waits for it."""
        return self.fetch(jax.vmap(self.agent.actor_params)(_first(states)))


def _local_devices() -> list[jax.Device]:
    """The devices of JAX's default platform.

    Raises:
      ConfigError: JAX finds no device of the platforms that it may use.
    """
    try:
        return jax.local_devices()
    except (RuntimeError, AssertionError) as error:  # JAX's own, by its version
        platforms = os.environ.get("JAX_PLATFORMS")
        config.check(
            not platforms,
            f"JAX_PLATFORMS={platforms}: JAX finds no such device here; leave it out,"
            " or set JAX_PLATFORMS=cpu",
        )
        raise config.ConfigError(f"JAX finds no device here: {error}") from error


def _check_divides(batch_size: int, devices: int) -> None:
    """Refuses a batch that has no equal shares, and names the sizes that have."""
    below = batch_size - batch_size % devices
    sizes = [str(size) for size in (below, below + devices) if size]
    config.check(
        below == batch_size,
        f"a batch of {batch_size} trajectories does not divide over {devices} learner"
        f" devices: use --config.batch.batch_size={' or '.join(sizes)}, or another"
        " --config.runtime.learner_devices",
    )


def _first(tree: Tree) -> Tree:
    """Leaves [k, ...] -> [1, ...], the first device's part, without a copy."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)
