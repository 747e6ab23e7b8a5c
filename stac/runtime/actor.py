"""The actor: steps E environments with the policy and cuts the steps into trajectories.

`stac.types` draws the rows of a trajectory. One unroll makes `n - overlap` steps:

    overlap 0    x_0 .. x_{n-1} | x_n .. x_{2n-1}      no row is shared, and the
                 transition from x_{n-1} to x_n is in no trajectory
    overlap 2    x_0 .. x_{n-1}                        two rows, and the column
                       x_{n-2} .. x_{2n-3}             between them, are shared

The action for the last row is chosen when the next unroll begins, with the parameters
of that unroll. Shared columns keep actions of older parameters: `parameter_version` in
the report, and so the `lag` in the logs, is about the columns that are not shared.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from stac import snapshots
from stac.agents import base
from stac.config import BatchConfig
from stac.environments.base import BatchedEnvironment
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.logs import episodes
from stac.runtime.queues.base import Closed, ParameterSource, TrajectoryQueue
from stac.types import (
    ActorOutput,
    CoreState,
    Experience,
    Params,
    Report,
    Timestep,
    Trajectory,
)

# Actors of one process share one compiled program: the first to come compiles it.
_COMPILING = threading.Lock()

# Attributes that hold all that changes from one unroll to the next.
_STATE = "_key _steps _newest _shared _episodes".split()


class _Row(NamedTuple):
    """One row of E trajectories and of their report."""

    timestep: Timestep
    output: ActorOutput | None  # the action before this row; None after a reset
    core_state: CoreState  # before acting on this row
    episode_return: np.ndarray
    episode_length: np.ndarray


class Actor:
    """One batched environment, one random key, one policy on one device.

    The key of a step comes from (seed, index, number of the step) alone.
    """

    def __init__(
        self,
        agent: base.Agent,
        environment: BatchedEnvironment,
        batch: BatchConfig,
        seed: int,
        index: int,
        device: jax.Device | None = None,  # None: `acting_device()`
    ) -> None:
        self._environment = environment
        self._envs = environment.num_envs
        observed = environment.spec.observation_dtype
        floats = (np.float32, np.float32)
        self._dtypes: tuple[Any, ...] = (observed, *floats, bool, bool)  # of a Timestep
        self._batch = batch
        self._index = index
        self._device = device or acting_device()
        self.heartbeat = Heartbeat()  # `run` may be given another
        self._act = _compiled(agent.act)  # type: ignore[arg-type] # it does hash
        with jax.default_device(self._device):
            key = jax.random.fold_in(jax.random.PRNGKey(seed), index)
        self._key = np.asarray(key)
        self._steps = 0
        self._episodes = episodes.Episodes(self._envs, environment.spec.staggered)
        core_state = _to_numpy(agent.initial_core_state(self._envs))
        self._first_core_state = jax.device_put(core_state, self._device)
        self._newest: _Row | None = None
        self._shared: list[_Row] = []  # with the next trajectory
        self._diverged: np.ndarray | int = 0  # simulations reported so far
        self._title = (
            f"an actor of {self._envs} environments, {batch.unroll_length} rows an"
            f" unroll, {batch.overlap} of them shared,"
            f" core state {jax.tree.map(np.shape, core_state)}"
        )

    def run(
        self,
        parameters: ParameterSource,
        queue: TrajectoryQueue,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """Unrolls with the newest parameters until the run, or its heartbeat, ends."""
        self.heartbeat = heartbeat or self.heartbeat
        with contextlib.suppress(Closed):
            while True:
                with contextlib.ExitStack() as acting:
                    with self.heartbeat.waiting():
                        acting.enter_context(queue.room(self._envs))
                        version, params = parameters.latest()
                    unrolled = self.unroll(version, params)
                    with self.heartbeat.waiting():
                        queue.put(unrolled)

    def unroll(self, version: int, params: Params) -> Experience:
        """Steps `period` times (n - 1 at first) and returns E trajectories of n rows.

        Args:
          version: updates behind `params`, for the report.
          params: the result of `agent.actor_params`.

        Returns:
          Fresh numpy arrays, leaves [E, ...]; the actor never writes to them again. In
          the report, episodes that ended in rows of the trajectory before are left out.
        """
        self.heartbeat.resume()
        params = jax.device_put(params, self._device)
        rows = list(self._shared)
        if self._newest is None:
            rows.append(self._row(self._environment.reset(), self._first_core_state))
        while len(rows) < self._batch.unroll_length:
            rows.append(self._step(params))
        report = self._report(rows, version)
        self._shared = rows[self._batch.period :]
        self.heartbeat.starting = False
        return Experience(_trajectory(rows), report)

    def close(self) -> None:
        """Closes the environment."""
        self._environment.close()

    def snapshot(self) -> bytes | None:
        """Everything that decides the unrolls to come, the environment included.

        To be called between two unrolls, or before the first, from any thread; it
        changes nothing. None where the environment takes no snapshots.
        """
        environment = getattr(self._environment, "snapshot", lambda: None)()
        if environment is None:
            return None
        state = {name: getattr(self, name) for name in _STATE}
        state |= {name: _to_numpy(state[name]) for name in ("_newest", "_shared")}
        return snapshots.pack(self._title, (state, environment))

    def restore(self, snapshot: bytes) -> None:
        """Continues from a snapshot: the same unrolls, bit for bit, whatever the seed.

        For an actor that has not unrolled yet, of the same configuration. Reading a
        snapshot runs code from it (stac.snapshots).

        Raises:
          ValueError: this is no snapshot of such an actor, in one line; the actor and
            its environment are still as they were built.
        """
        state, environment = snapshots.unpack(self._title, snapshot)
        if not hasattr(self._environment, "restore"):
            raise ValueError("the environment takes no snapshots")
        self._environment.restore(environment)
        vars(self).update(state)

    def _step(self, params: Params) -> _Row:
        """Acts on the newest row and steps to the next."""
        assert self._newest is not None
        newest, core_state = self._newest.timestep, self._newest.core_state
        arguments = (newest.observation, newest.first, core_state)
        step = np.uint32(self._steps % 2**32)
        compiling = _COMPILING if self._steps == 0 else contextlib.nullcontext()
        with self.heartbeat.waiting(), compiling:
            output, core_state = self._act(params, self._key, step, *arguments)
            action = np.asarray(output.action)
        self._steps += 1
        # The environment waits for the action alone; the rest stays on the device.
        output = ActorOutput(action, output.log_prob)
        return self._row(self._environment.step(action), core_state, output)

    def _row(
        self,
        timestep: Timestep,
        core_state: CoreState,
        output: ActorOutput | None = None,
    ) -> _Row:
        # Copies: the environment may write into its arrays again.
        typed = zip(timestep, self._dtypes, strict=True)
        timestep = Timestep(*(np.array(leaf, dtype) for leaf, dtype in typed))
        ended = self._episodes.add(timestep)
        self._newest = _Row(timestep, output, core_state, *ended)
        return self._newest

    def _report(self, rows: Sequence[_Row], version: int) -> Report:
        returns = np.stack([row.episode_return for row in rows], 1, dtype=np.float32)
        lengths = np.stack([row.episode_length for row in rows], 1)
        shared = len(self._shared)
        returns[:, :shared], lengths[:, :shared] = np.nan, 0
        zeros = np.zeros(self._envs, np.int32)
        diverged = zeros + getattr(self._environment, "diverged", 0)
        report = Report(
            episode_return=returns,
            episode_length=lengths,
            parameter_version=zeros + np.int32(version),
            actor=zeros + np.int32(self._index),
            diverged=diverged - self._diverged,
        )
        self._diverged = diverged
        return report


def _trajectory(rows: Sequence[_Row]) -> Trajectory:
    """Stacks the rows; the first one's transition lies before the trajectory."""
    timesteps, outputs = (
        jax.tree.map(lambda *leaves: np.stack(leaves, axis=1), *each)
        for each in (
            [row.timestep for row in rows],
            jax.device_get([row.output for row in rows[1:]]),
        )
    )
    return Trajectory(
        observation=timesteps.observation,
        first=timesteps.first,
        action=outputs.action,
        behaviour_log_prob=outputs.log_prob,
        reward=timesteps.reward[:, 1:],
        discount=timesteps.discount[:, 1:],
        core_state=_to_numpy(rows[0].core_state),
    )


@functools.lru_cache(maxsize=8)
def _compiled(act: Callable[..., Any]) -> Callable[..., Any]:
    """Jits `act` with the key of a step, once for all actors of a process."""

    def act_at(params, key, step, observation, first, core_state):  # type: ignore[no-untyped-def]
        key = jax.random.fold_in(key, step)
        return act(params, key, observation, first, core_state)

    return jax.jit(act_at)


def stream(seed: int, index: int, updates: int, restarts: int = 0) -> int:
    """A seed in [0, 2^31) for one actor and its environment, unrelated to all others.

    Args:
      seed: of the run.
      index: of the actor.
      updates: at which the actor starts, so that a continued run sees new episodes.
      restarts: of the actor so far, so that it does not fail again in the same way.
    """
    entropy = [seed, index, updates, restarts]
    words = np.random.SeedSequence(entropy).generate_state(1)
    return int(words[0] >> 1)


def acting_device() -> jax.Device:
    """The CPU; or another local device where JAX has no CPU (JAX_PLATFORMS=cuda)."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.local_devices()[-1]


def _to_numpy(tree: CoreState) -> CoreState:
    return jax.tree.map(np.asarray, tree)
