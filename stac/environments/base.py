"""The one interface behind which every environment stands.

A batched environment steps E copies of one task together, like dm_env but with a batch
axis. When an episode ends in row t (`last`), row t holds its final observation; the
action given for that row is ignored, and row t+1 holds the first observation of the
next episode with `first` True, reward 0 and discount 1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np

from stac import config
from stac.types import Timestep


class EnvironmentSpec(NamedTuple):
    """Sizes and bounds that networks and actors need before the first step."""

    observation_shape: tuple[int, ...]  # without the batch axis; images [C, H, W]
    observation_dtype: np.dtype
    num_actions: int  # discrete choices, or action dimensions when `continuous`
    continuous: bool
    frames_per_step: int  # the action repeat: the unit of every schedule is frames
    action_minimum: np.ndarray | None = None  # [A], continuous only
    action_maximum: np.ndarray | None = None  # [A], continuous only
    staggered: bool = False  # first episodes are cut short: their returns do not count


class BatchedEnvironment(Protocol):
    """E environments behind one reset and one step; snapshots are `Restorable`'s.

    It may have an attribute `diverged`, [E] int32: how many simulations of each
    environment diverged, and so ended an episode or a reset, since it was built.
    """

    spec: EnvironmentSpec
    num_envs: int

    def reset(self) -> Timestep:
        """Starts E episodes; every row is `first`."""
        ...

    def step(self, action: np.ndarray) -> Timestep:
        """Takes one action per environment, or starts its next episode.

        Args:
          action: [E] in [0, num_actions); or [E, A], samples before the tanh: the
            environment squashes them and scales them to its bounds.

        Raises:
          ValueError: actions of another shape, or out of range.
          RuntimeError: before `reset` or after `close`, or anything that went wrong.
        """
        ...

    def close(self) -> None:
        """Frees threads, processes and simulators; may be called twice."""
        ...


@runtime_checkable
class Restorable(Protocol):
    """Snapshots, which a `BatchedEnvironment` may have besides.

    Without them, a run in lockstep continues with new episodes.
    """

    def snapshot(self) -> bytes | None:
        """Everything that decides the rows to come; taking it changes nothing.

        None where that cannot be packed.

        It may be taken before `reset` too, and from any thread, but not during a step.
        """
        ...

    def restore(self, snapshot: bytes) -> None:
        """Continues from a snapshot: the rows are the same, bit for bit.

        The environments must be newly built, of the same configuration; they may be
        stepped another way. The next call is the one that came after `snapshot`: `step`
        or else `reset`. A snapshot is trusted as code is (stac.snapshots).

        Raises:
          ValueError: this is no snapshot of such environments, in one line; they are
            still as they were built.
        """
        ...


def first_rows(observation: np.ndarray) -> Timestep:
    """The rows after a reset: [E, ...] observations, reward 0 and discount 1."""
    num_envs = len(observation)
    return Timestep(
        observation=observation,
        reward=np.zeros(num_envs, np.float32),
        discount=np.ones(num_envs, np.float32),
        first=np.ones(num_envs, bool),
        last=np.zeros(num_envs, bool),
    )


def seeds(seed: int, num_envs: int) -> np.ndarray:
    """[E] unrelated seeds in [0, 2^31); `seed + i` would overlap between actors."""
    words = np.random.SeedSequence(seed).generate_state(num_envs)
    return (words >> 1).astype(np.int64)


def refusal(what: str, error: Exception) -> config.ConfigError:
    """A refusal for a reason that another's code gives, in one line."""
    return config.ConfigError(f"{what}: {config.describe(error)}")


def named(kind: str, name: str, known: Iterable[str], hint: str = "") -> str:
    """The one of the known names that has the same letters.

    Raises:
      ConfigError: there is none; the message names the nearest ones, or gives the hint.
    """
    spelled = {letters(task): task for task in known}
    return spelled.get(letters(name)) or config.choose(
        kind, _AFFIXES.sub("", name.strip()), spelled.values(), hint
    )


def letters(name: str) -> str:
    """A name in lower case, without signs, library and version."""
    return re.sub(r"[^a-z0-9]", "", _AFFIXES.sub("", name.strip()).lower())


_AFFIXES = re.compile(
    r"^(ale|dm_control)/|(-ram)?(noframeskip|deterministic)?-v\d+$", re.IGNORECASE
)

# (seed, num_envs) -> environment; must pickle: it goes to other processes.
EnvironmentFactory = Callable[[int, int], BatchedEnvironment]
