"""E environments behind one reset and one step.

They are stepped in the caller's thread or in processes, with bitwise equal rows.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from stac import config, snapshots
from stac.environments import actions, base
from stac.environments.vector import share, worker_processes
from stac.types import Timestep


class Shares:
    """E environments in shares: one in the caller's thread, or one in each process.

    A share steps some of the environments. It has `spec`, `reset`, `step`, `snapshot`,
    `restore` and `close`.
    """

    spec: base.EnvironmentSpec

    def __init__(
        self,
        build: Callable[..., Any],
        columns: Sequence[Sequence[Any]],
        workers: str,
        cores: int,
    ) -> None:
        """Builds the environments.

        Args:
          build: builds a share from its part of each column; where processes step, it
            pickles.
          columns: each of length E.
          workers: a row of `stac.config.WORKERS`.
          cores: how many processes step; more than E are not started.

        Raises:
          ConfigError: what `build` refuses.
          WorkerError: anything else that went wrong in a process.
        """
        self.num_envs = len(columns[0])
        count = processes(workers, cores, self.num_envs)
        self._share = None if count else build(*columns)
        self._processes: list[worker_processes.Process] = []
        ends = [self.num_envs * part // max(1, count) for part in range(count + 1)]
        self._places = [slice(*pair) for pair in itertools.pairwise(ends)]
        try:
            for _ in self._places:
                self._processes.append(worker_processes.Process())
            specs = self._answers(build, columns, worker_processes.BUILD_SECONDS)
        except BaseException:
            self.close()
            raise
        self.spec = self._share.spec if self._share is not None else specs[0]

    def reset(self) -> Timestep:
        """Starts E episodes."""
        return self._joined(self._each("reset"))

    def step(self, action: np.ndarray) -> Timestep:
        """Steps each environment, or starts its next episode after a `last` row.

        Where anything is raised but for a wrong action, the environments are closed.
        """
        given = actions.scaled if self.spec.continuous else actions.checked
        return self._joined(self._each("step", given(action, self)))

    def picture(self, *arguments: Any) -> np.ndarray:
        """The first environment as uint8 [H, W, 3]; only where this thread steps it."""
        assert self._share is not None
        picture: np.ndarray = self._share.picture(*arguments)
        return picture

    def snapshot(self) -> bytes | None:
        """Pickles whole environments, models included.

        24 humanoids of dm_control are 17 MB and take 2 s, in 2 processes on 2 busy
        cores.
        """
        states = [state for part in self._each("snapshot") for state in part]
        return None if None in states else snapshots.pack(self._title(), states)

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base.

        Where one process refuses, others may have restored their part: `reset` next.
        """
        refusals = self._each("restore", snapshots.unpack(self._title(), snapshot))
        if any(refusals):
            raise ValueError(max(refusals))

    def close(self) -> None:
        """Ends processes and simulators; may be called twice."""
        own, self._share = self._share, None
        if own is not None:
            own.close()
        ending, self._processes = self._processes, []
        for process in ending:
            process.hang_up()
        for process in ending:
            process.end()

    def _each(self, method: str, *columns: Sequence[Any] | np.ndarray) -> list[Any]:
        """Calls a method of every share, with its part of each [E] column.

        Raises:
          WorkerError: a process raised, died, or did not answer in `STEP_SECONDS`.
        """
        if self._share is None and not self._processes:
            raise RuntimeError("these environments are closed")
        try:
            if self._share is not None:
                return [getattr(self._share, method)(*columns)]
            return self._answers(method, columns, worker_processes.STEP_SECONDS)
        except BaseException:  # some environments have stepped and others have not
            self.close()
            raise

    def _answers(self, call: Any, columns: Sequence[Any], seconds: float) -> list[Any]:
        """The answers of all processes, which work at the same time."""
        for process, place in zip(self._processes, self._places, strict=True):
            process.send((call, *(column[place] for column in columns)))
        return [process.answer(seconds) for process in self._processes]

    def _title(self) -> str:
        shape, actions = self.spec.observation_shape, self.spec.num_actions
        return f"{self.num_envs} environments, observations {shape}, {actions} actions"

    def _joined(self, parts: Sequence[Timestep]) -> Timestep:
        """The rows of all shares, in new arrays: a Timestep is never written again."""
        return Timestep(*map(np.concatenate, zip(*parts, strict=True)))


class Batched(Shares):
    """A `base.BatchedEnvironment` of continuous control, from dm_env environments.

    Observations are float32 [E, F]: the entries of the observation dictionary in the
    order of its spec, each flattened in C order; or, where `pixels` [H, W, 3] is the
    only entry, uint8 [E, 3, H, W]. The discount of a `last` row is the environment's
    own: 0 at a true end, 1 at a time limit. A second reset cuts no episode.
    """

    def __init__(
        self,
        make: share.Make,
        seeds: Sequence[int],
        *,
        workers: str = "serial",
        cores: int = 1,
        stagger_steps: int = 0,
        seed: int = 0,
    ) -> None:
        """Builds one environment per seed.

        Args:
          make: builds one environment from its seed; where processes step, it pickles.
          seeds: [E]; equal ones, with equal actions, give equal rows.
          workers: as `Shares` has it.
          cores: as `Shares` has it.
          stagger_steps: L; the first episode of each environment is cut, as by a time
            limit, after a number of steps drawn from [1, L), so that episodes of equal
            length do not all end together. 0: no episode is cut.
          seed: of these draws.
        """
        config.check(stagger_steps != 1, "stagger_steps=1 leaves no step to cut at")
        cuts = [0] * len(seeds)
        if stagger_steps:
            random = np.random.default_rng(seed)
            cuts = random.integers(1, stagger_steps, len(seeds)).tolist()
        build = functools.partial(share.Share, make)
        super().__init__(build, (seeds, cuts), workers, cores)
        self.diverged = np.zeros(self.num_envs, np.int32)

    def _joined(self, parts: Sequence[Any]) -> Timestep:
        rows, diverged = zip(*parts, strict=True)
        self.diverged = np.concatenate(diverged)
        return super()._joined(rows)


def processes(workers: str, cores: int, num_envs: int) -> int:
    """How many processes step the environments; 0: the caller's thread does.

    "auto" is serial where the actor has one core or one environment, else processes.
    On idle cores two processes are 1.3 to 1.7 times as fast as the actor's own thread
    on all five tasks that were measured (docs/performance.md). Where a learner and
    other actors fill the cores, the own thread is faster; an actor has one core there.
    """
    config.choose("environment.workers", workers, config.WORKERS)
    count = min(cores, num_envs)
    alone = workers == "serial" or (workers == "auto" and count == 1)
    return 0 if alone else count
