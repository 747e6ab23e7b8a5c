"""E dm_env environments behind one reset and one step.

Three ways to step them, which give bitwise equal rows (`vector/workers.py`): in
the caller's thread, in threads, or in processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from stac import config, snapshots
from stac.environments import base
from stac.environments.vector import share
from stac.environments.vector import workers as stepping
from stac.types import Timestep

T = TypeVar("T")


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
          threads: how many threads or processes step; more than E are not made.
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
        chosen = stepping.choose(workers, threads, make, seeds)
        self._workers: stepping.Workers | None = stepping.start(
            chosen, threads, make, seeds, cuts
        )
        self._begun = False
        made = self._workers.layout
        self._minimum, self._maximum = made.action_minimum, made.action_maximum
        self.spec = base.EnvironmentSpec(
            observation_shape=made.observation_shape,
            observation_dtype=np.dtype(made.observation_dtype),
            num_actions=len(made.action_minimum),
            continuous=True,
            frames_per_step=1,
            action_minimum=made.action_minimum,
            action_maximum=made.action_maximum,
            staggered=stagger_steps > 0,
        )

    def reset(self) -> Timestep:
        """Starts E episodes; a second call starts E others, of which none is cut."""
        workers = self._open()
        self._begun = True
        self._try(lambda: workers.run("reset"))
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
        workers.rows.action[...] = self._scaled(action)
        self._try(lambda: workers.run("step"))
        return _timestep(workers.rows)

    def snapshot(self) -> bytes:
        """Whole environments, models included; it does not matter who steps them.

        24 humanoids are 17 MB and take 2 s, in 2 processes on 2 busy cores.
        """
        states = self._try(self._open().snapshot)
        return snapshots.pack(self._what(), (self._begun, states))

    def restore(self, snapshot: bytes) -> None:
        """See stac.environments.base."""
        workers = self._open()
        begun, states = snapshots.unpack(self._what(), snapshot)
        refusal = self._try(lambda: workers.load(states))
        if refusal:
            raise ValueError(refusal)
        self._try(lambda: workers.run("adopt"))
        self._begun = begun

    def close(self) -> None:
        """Ends threads, processes and simulators; may be called twice."""
        workers, self._workers = self._workers, None
        if workers is not None:
            workers.close()

    def _try(self, do: Callable[[], T]) -> T:
        try:
            return do()
        except BaseException:  # some environments have stepped and others have not
            self.close()
            raise

    def _what(self) -> str:
        seen, acts = self.spec.observation_shape, self.spec.num_actions
        return f"{self.num_envs} environments, observations {seen}, {acts} actions"

    def _open(self) -> stepping.Workers:
        if self._workers is None:
            raise RuntimeError("these environments are closed")
        return self._workers

    def _scaled(self, action: np.ndarray) -> np.ndarray:
        """[E, A] float64 within the bounds: tanh, then linear from [-1, 1]."""
        samples = np.asarray(action, np.float64)
        expected = (self.num_envs, self.spec.num_actions)
        if samples.shape != expected:
            raise ValueError(f"actions {samples.shape}: must be {expected}")
        if np.isnan(samples).any():
            raise ValueError(f"actions are not numbers: {action}")
        low, high = self._minimum, self._maximum
        share_of_range = (np.tanh(samples) + 1.0) / 2.0
        return np.clip(low + share_of_range * (high - low), low, high)


def _timestep(rows: share.Rows) -> Timestep:
    """A copy: the rows are written again, what was handed out never is."""
    return Timestep(
        observation=rows.observation.copy(),
        reward=rows.reward.copy(),
        discount=rows.discount.copy(),
        first=rows.first.copy(),
        last=rows.last.copy(),
    )
