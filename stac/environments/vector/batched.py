"""E dm_env environments behind one reset and one step.

They are stepped in the caller's thread (`share.Share`) or in processes
(`worker_processes.Processes`), with bitwise equal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from stac import config, snapshots
from stac.environments import actions, base
from stac.environments.vector import share, worker_processes
from stac.types import Timestep

T = TypeVar("T")
Workers = share.Share | worker_processes.Processes


class Batched:
    """A `base.BatchedEnvironment` of continuous control.

    Observations are float32 [E, F]: the entries of the observation dictionary in the
    order of its spec, each flattened in C order; or, where `pixels` [H, W, 3] is the
    only entry, uint8 [E, 3, H, W]. The discount of a `last` row is the environment's
    own: 0 at a true end, 1 at a time limit.
    """

    def __init__(
        self,
        make: share.Make,
        seeds: Sequence[int],
        *,
        workers: str = "serial",
        threads: int = 1,
        stagger_steps: int = 0,
        seed: int = 0,
    ) -> None:
        """Builds one environment per seed.

        Args:
          make: builds one environment from its seed; where processes step, it pickles.
          seeds: [E]; equal ones, with equal actions, give equal rows.
          workers: a row of `stac.config.WORKERS`.
          threads: how many processes step; more than E are not layout.
          stagger_steps: L; the first episode of each environment is cut, as by a time
            limit, after a number of steps drawn from [1, L), so that episodes of equal
            length do not all end together. 0: no episode is cut.
          seed: of these draws.

        Raises:
          ConfigError: what `make` refuses.
        """
        config.check(stagger_steps != 1, "stagger_steps=1 leaves no step to cut at")
        self.num_envs = len(seeds)
        cuts = [0] * self.num_envs
        if stagger_steps:
            draws = np.random.default_rng(seed).integers(1, stagger_steps, len(seeds))
            cuts = [int(cut) for cut in draws]
        job = share.Job(make, tuple(seeds), tuple(cuts))
        self._workers: Workers | None = start(workers, threads, job)
        self._begun = False
        layout = self._workers.layout
        self._minimum, self._maximum = layout.action_minimum, layout.action_maximum
        self.spec = base.EnvironmentSpec(
            observation_shape=layout.observation_shape,
            observation_dtype=np.dtype(layout.observation_dtype),
            num_actions=len(layout.action_minimum),
            continuous=True,
            frames_per_step=1,
            action_minimum=layout.action_minimum,
            action_maximum=layout.action_maximum,
            staggered=stagger_steps > 0,
        )

    def reset(self) -> Timestep:
        """Starts E episodes; a second call starts E others, of which none is cut."""
        workers = self._open()
        self._begun = True
        self._try(workers.reset)
        return _timestep(workers.rows)

    def step(self, action: np.ndarray) -> Timestep:
        """Steps each environment, or starts its next episode after a `last` row.

        Args:
          action: [E, A] float, samples before the tanh; ignored after a `last` row.

        Raises:
          ValueError: another shape, or NaN.
          RuntimeError: before `reset` or after `close`; a worker process ended. Where
            anything but a wrong action is raised, the environments are closed.
        """
        workers = self._open()
        if not self._begun:
            raise RuntimeError("step before reset")
        workers.rows.action[...] = actions.squashed(
            action, self.num_envs, self._minimum, self._maximum
        )
        self._try(workers.step)
        return _timestep(workers.rows)

    def snapshot(self) -> bytes:
        """Pickles whole environments, models included.

        They may be stepped another way after `restore`.

        24 humanoids are 17 MB and take 2 s, in 2 processes on 2 busy cores.
        """
        states = self._try(self._open().snapshot)
        return snapshots.pack(self._title(), (self._begun, states))

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base."""
        workers = self._open()
        begun, states = snapshots.unpack(self._title(), snapshot)
        refusal = self._try(lambda: workers.load(states))
        if refusal:
            raise ValueError(refusal)
        self._try(workers.adopt)
        self._begun = begun

    def close(self) -> None:
        """Ends processes and simulators; may be called twice."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def _try(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except BaseException:  # some environments have stepped and others have not
            self.close()
            raise

    def _title(self) -> str:
        shape, actions = self.spec.observation_shape, self.spec.num_actions
        return f"{self.num_envs} environments, observations {shape}, {actions} actions"

    def _open(self) -> Workers:
        if self._workers is None:
            raise RuntimeError("these environments are closed")
        return self._workers


def start(workers: str, threads: int, job: share.Job) -> Workers:
    """Builds the environments where they will be stepped.

    "auto" is serial where the actor has one core or one environment, else processes.
    On idle cores two processes are 1.3 to 1.7 times as fast as the actor's own thread
    on all five tasks that were measured (BUILD_NOTES.md, section 5). Where a learner
    and other actors fill the cores, the own thread is faster; an actor has one core
    there.
    """
    config.choose("environment.workers", workers, config.WORKERS)
    if workers == "auto":
        alone = min(threads, len(job.seeds)) == 1
        workers = "serial" if alone else "processes"
    if workers == "processes":
        return worker_processes.Processes(job, threads)
    own = share.Share(job)
    own.rows = share.rows(own.layout, len(job.seeds))
    return own


def _timestep(rows: share.Rows) -> Timestep:
    """Copies the rows: they are written again, and a Timestep never is."""
    return Timestep(
        observation=rows.observation.copy(),
        reward=rows.reward.copy(),
        discount=rows.discount.copy(),
        first=rows.first.copy(),
        last=rows.last.copy(),
    )
