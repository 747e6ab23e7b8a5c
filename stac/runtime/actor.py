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

import functools
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from stac import snapshots
from stac.agents import base
from stac.config import BatchConfig
from stac.environments.base import BatchedEnvironment
from stac.runtime import experience
from stac.runtime.faults.heartbeat import Heartbeat
from stac.runtime.logs import episodes
from stac.runtime.queues.base import Closed, ParameterSource, TrajectoryQueue
from stac.types import (
    Array,
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
_STATE = "_key _steps _core_state _timestep _cores _previous _episodes".split()


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
        self._batch = batch
        self._index = index
        self._device = device or acting_device()
        self.heartbeat = Heartbeat()  # `run` may be given another
        self._act = _compiled(agent.act)  # type: ignore[arg-type] # it does hash
        with jax.default_device(self._device):
            key = jax.random.fold_in(jax.random.PRNGKey(seed), index)
        self._key = np.asarray(key)
        self._steps = 0
        self._episodes = episodes.Episodes(
            environment.num_envs, environment.spec.staggered
        )
        core_state = _to_numpy(agent.initial_core_state(environment.num_envs))
        self._core_state = jax.device_put(core_state, self._device)
        self._spec = experience.spec(environment.spec, batch, core_state)
        self._timestep: Timestep | None = None
        self._cores: list[CoreState] = []  # of the rows kept, each before acting
        self._previous: Trajectory | None = None
        self._diverged: np.ndarray | int = 0  # simulations reported so far

    def run(
        self,
        parameters: ParameterSource,
        queue: TrajectoryQueue,
        heartbeat: Heartbeat | None = None,
    ) -> None:
        """Unrolls with the newest parameters until the run, or its heartbeat, ends."""
        self.heartbeat = heartbeat or self.heartbeat
        try:
            while True:
                with self.heartbeat.waiting():
                    version, params = parameters.latest()
                unrolled = self.unroll(version, params)
                with self.heartbeat.waiting():
                    queue.put(unrolled)
        except Closed:
            return

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
        trajectory, report = self._blank(version)
        kept = self._keep(trajectory, report)
        log_probs = []  # on the device; the environment does not wait for them
        for row in range(kept, self._batch.unroll_length):
            action, log_prob, timestep = self._step(params)
            if row > 0:
                _write_transition(trajectory, row - 1, action, timestep)
                log_probs.append(log_prob)
            self._write_row(trajectory, report, row, timestep)
        columns = np.stack(jax.device_get(log_probs), axis=1)
        trajectory.behaviour_log_prob[:, max(kept - 1, 0) :] = columns
        self.heartbeat.starting = False
        return self._finish(trajectory, report)

    def snapshot(self) -> bytes | None:
        """Everything that decides the unrolls to come, the environment included.

        To be called between two unrolls, or before the first, from any thread; it
        changes nothing. None where the environment takes no snapshots.
        """
        if not hasattr(self._environment, "snapshot"):
            return None
        state = {name: getattr(self, name) for name in _STATE}
        state |= {name: _to_numpy(state[name]) for name in ("_core_state", "_cores")}
        return snapshots.pack(self._title(), (state, self._environment.snapshot()))

    def restore(self, snapshot: bytes) -> None:
        """Continues from a snapshot: the same unrolls, bit for bit, whatever the seed.

        For an actor that has not unrolled yet, of the same configuration. Reading a
        snapshot runs code from it (stac.snapshots).

        Raises:
          ValueError: this is no snapshot of such an actor, in one line; the actor and
            its environment are still as they were built.
        """
        state, environment = snapshots.unpack(self._title(), snapshot)
        if not hasattr(self._environment, "restore"):
            raise ValueError("the environment takes no snapshots")
        self._environment.restore(environment)
        vars(self).update(state)

    def _title(self) -> str:
        envs, rows = self._environment.num_envs, self._batch.unroll_length
        core = jax.tree.map(np.shape, self._core_state)
        return (
            f"an actor of {envs} environments, {rows} rows an unroll,"
            f" {self._batch.overlap} of them shared, core state {core}"
        )

    def _step(self, params: Params) -> tuple[np.ndarray, Array, Timestep]:
        """Acts on the newest row and steps to the next: (action, log mu, row)."""
        assert self._timestep is not None
        observation, first = self._timestep.observation, self._timestep.first
        arguments = (observation, first, self._core_state)
        step = np.uint32(self._steps % 2**32)
        with self.heartbeat.waiting():
            if self._steps == 0:
                with _COMPILING:
                    output, core = self._act(params, self._key, step, *arguments)
            else:
                output, core = self._act(params, self._key, step, *arguments)
            action = np.asarray(output.action)
        self._core_state = core
        self._timestep = self._environment.step(action)
        self._steps += 1
        return action, output.log_prob, self._timestep

    def _keep(self, trajectory: Trajectory, report: Report) -> int:
        """Fills in the rows known before the first step; returns how many."""
        if self._timestep is None:
            self._timestep = self._environment.reset()
            self._write_row(trajectory, report, 0, self._timestep)
            return 1
        if self._previous is None:
            return 0
        overlap, period = self._spec.overlap, self._spec.period
        for name in experience.ROWS:
            rows = getattr(self._previous, name)
            getattr(trajectory, name)[:, :overlap] = rows[:, period:]
        for name in experience.TRANSITIONS:
            columns = getattr(self._previous, name)
            getattr(trajectory, name)[:, : overlap - 1] = columns[:, period:]
        return overlap

    def _write_row(
        self, trajectory: Trajectory, report: Report, row: int, timestep: Timestep
    ) -> None:
        trajectory.observation[:, row] = timestep.observation
        trajectory.first[:, row] = timestep.first
        returns, lengths = self._episodes.add(timestep)
        report.episode_return[:, row] = returns
        report.episode_length[:, row] = lengths
        self._cores.append(self._core_state)

    def _finish(self, trajectory: Trajectory, report: Report) -> Experience:
        """Adds row 0's core state and keeps the rows that the next one shares."""
        trajectory = trajectory._replace(core_state=_to_numpy(self._cores[0]))
        self._cores = self._cores[self._batch.period :]
        self._previous = trajectory if self._batch.overlap else None
        diverged = getattr(self._environment, "diverged", 0)
        report.diverged[:] = diverged - self._diverged
        self._diverged = np.array(diverged)
        return Experience(trajectory, report)

    def _blank(self, version: int) -> Experience:
        """Arrays to fill in, and a report without episodes."""
        blank = experience.empty(self._spec, self._environment.num_envs)
        blank.report.episode_return[:] = np.nan
        blank.report.episode_length[:] = 0
        blank.report.parameter_version[:] = version
        blank.report.actor[:] = self._index
        return blank


def _write_transition(
    trajectory: Trajectory, column: int, action: np.ndarray, timestep: Timestep
) -> None:
    """The transition into `timestep`."""
    trajectory.action[:, column] = action
    trajectory.reward[:, column] = timestep.reward
    trajectory.discount[:, column] = timestep.discount


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
