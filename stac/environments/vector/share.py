"""Some dm_env environments of a batch, stepped one after the other into its rows.

A `Share` lives in the process that built it, for only there may a rendering context be
used. It does not import JAX, so that a worker process starts quickly.
"""

from __future__ import annotations

import math
import mmap
import pickle
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import dm_env
import numpy as np

from stac import snapshots
from stac.environments import rendering

Make = Callable[[int], dm_env.Environment]  # from a seed; must pickle
_COMPRESSION = 1  # zlib's fastest makes 0.7 MB of a cartpole's 12 MB in 0.1 s
PIXELS = "pixels"  # a dictionary with this entry alone is an image


class Layout(NamedTuple):
    """Shapes and bounds of one environment's row."""

    observation_shape: tuple[int, ...]  # (F,), or (3, H, W)
    observation_dtype: str  # "float32", or "uint8"
    action_minimum: np.ndarray  # [A] float64
    action_maximum: np.ndarray  # [A] float64


class Rows(NamedTuple):
    """The actions and the newest row of E environments, overwritten every step."""

    action: np.ndarray  # [E, A] float64, within the bounds
    observation: np.ndarray  # [E, F] float32, or [E, 3, H, W] uint8
    reward: np.ndarray  # [E] float32
    discount: np.ndarray  # [E] float32
    first: np.ndarray  # [E] bool
    last: np.ndarray  # [E] bool

    def part(self, place: slice) -> Rows:
        """Views of some environments' rows."""
        return Rows(*(field[place] for field in self))


class Job(NamedTuple):
    """The environments of one share."""

    make: Make
    seeds: tuple[int, ...]  # one each
    cuts: tuple[int, ...]  # the step at which the first episode is cut; 0: it is not

    def part(self, place: slice) -> Job:
        """The job of a share that has only some of the environments."""
        return Job(self.make, self.seeds[place], self.cuts[place])


class Played(NamedTuple):
    """The state of one environment and of its episode, as a snapshot holds it."""

    environment: dm_env.Environment
    cut: int  # 0 once the first episode is over
    steps: int  # of the episode; counted up to the cut
    over: bool
    begun: bool  # whether there was a first episode


class Share:
    """A few environments; rows mean what stac.environments.base says."""

    rows: Rows  # of these environments alone; set before the first reset

    def __init__(self, job: Job) -> None:
        """Builds the environments."""
        self._environments = [job.make(seed) for seed in job.seeds]
        first = self._environments[0]
        self.layout = layout(first)
        self._action_dtype = first.action_spec().dtype
        self._entries = _entries(first.observation_spec())
        self._cuts = list(job.cuts)  # 0 once the first episode is over
        self._steps = [0] * len(job.seeds)  # of the episode; counted up to the cut
        self._over = [True] * len(job.seeds)
        self._begun = False
        self._diverged = 0  # simulations so far
        self._loaded: list[Played] = []

    def reset(self) -> None:
        """Starts an episode in each environment."""
        if self._begun:
            self._cuts = [0] * len(self._cuts)
        self._begun = True
        self._over = [True] * len(self._over)
        self.step()

    def step(self) -> None:
        """Takes the actions in its rows and writes the rest of them."""
        for index, environment in enumerate(self._environments):
            if self._over[index]:
                self._write(index, environment.reset())
                continue
            # A copy: an environment may keep it, and the rows are written again.
            action = self.rows.action[index].astype(self._action_dtype)
            try:
                timestep = environment.step(action)
            except Exception as error:
                if not rendering.is_divergence(error):
                    raise
                self._end_diverged(index, error)
            else:
                self._write(index, timestep)

    def snapshot(self) -> list[bytes]:
        """One snapshot per environment, so that another share may have it next.

        Whole environments are pickled, models included, of which textures are most.
        """
        return [
            zlib.compress(pickle.dumps(played, pickle.HIGHEST_PROTOCOL), _COMPRESSION)
            for played in map(
                Played,
                self._environments,
                self._cuts,
                self._steps,
                self._over,
                [self._begun] * len(self._over),
            )
        ]

    def load(self, states: Sequence[bytes]) -> str:
        """Builds environments from snapshots and keeps them for `adopt`.

        Returns:
          The reason why that failed; the empty string where it did not.
        """
        try:
            self._loaded = [snapshots.load(zlib.decompress(state)) for state in states]
        except (ValueError, zlib.error) as error:
            return str(error)
        return ""

    def adopt(self) -> None:
        """Replaces its own environments with the loaded ones."""
        self.close()
        for index, played in enumerate(self._loaded):
            self._environments.append(played.environment)
            self._cuts[index] = played.cut
            self._steps[index] = played.steps
            self._over[index] = played.over
            self._begun = played.begun
        self._loaded = []

    def close(self) -> None:
        """Frees the simulators; may be called twice."""
        environments, self._environments = self._environments, []
        for environment in environments:
            environment.close()

    def _write(self, index: int, timestep: dm_env.TimeStep) -> None:
        first, rows = timestep.first(), self.rows
        over = timestep.last() or self._is_cut(index, first)
        self._write_end(index, over)
        rows.reward[index] = 0.0 if first else timestep.reward
        rows.discount[index] = 1.0 if first else timestep.discount
        rows.first[index] = first
        self._write_observation(timestep.observation, rows.observation[index])

    def _end_diverged(self, index: int, error: Exception) -> None:
        """Ends the episode of a simulation that diverged: reward 0, discount 0.

        That is dm_control's own convention (`composer.Environment`). A cut would
        bootstrap from a state that is not finite. The row keeps the observation before
        the step, the last one that was sound; the other environments do not notice.
        """
        rows = self.rows
        self._write_end(index, over=True)
        rows.reward[index] = rows.discount[index] = 0.0
        rows.first[index] = False
        self._diverged += 1
        if math.log10(self._diverged).is_integer():  # the 1st, 10th, 100th, …
            reason = " ".join(str(error).split())
            print(
                f"environment {index}: its simulation diverged and its episode ended"
                f" ({self._diverged} so far, among {len(self._over)}): {reason}",
                file=sys.stderr,
                flush=True,
            )

    def _write_end(self, index: int, over: bool) -> None:
        self._over[index] = over
        if over:
            self._cuts[index] = 0
        self.rows.last[index] = over

    def _is_cut(self, index: int, first: bool) -> bool:
        """Whether the first episode ends here, as by a time limit."""
        if not self._cuts[index]:
            return False
        self._steps[index] = 0 if first else self._steps[index] + 1
        return self._steps[index] == self._cuts[index]

    def _write_observation(
        self, entries: Mapping[str, np.ndarray], row: np.ndarray
    ) -> None:
        if row.ndim == 3:
            row[...] = np.moveaxis(entries[PIXELS], -1, 0)
            return
        for name, place, flat in self._entries:
            value = entries[name]
            row[place] = value if flat else np.ravel(value)


def layout(environment: dm_env.Environment) -> Layout:
    """Reads it from the specs: entries in their order, each flattened in C order.

    Raises:
      ValueError: observations that are no dictionary, or actions without bounds.
    """
    observed, acted = environment.observation_spec(), environment.action_spec()
    if not isinstance(observed, Mapping):
        raise ValueError(f"observations must be a dictionary, not {observed}")
    bounds = [np.broadcast_to(b, acted.shape) for b in (acted.minimum, acted.maximum)]
    minimum, maximum = (np.array(bound, np.float64) for bound in bounds)
    if len(acted.shape) != 1 or not np.isfinite([minimum, maximum]).all():
        raise ValueError(f"actions must be a vector with bounds, not {acted}")
    if list(observed) == [PIXELS] and len(observed[PIXELS].shape) == 3:
        height, width, channels = observed[PIXELS].shape
        return Layout((channels, height, width), "uint8", minimum, maximum)
    size = sum(math.prod(entry.shape) for entry in observed.values())
    return Layout((size,), "float32", minimum, maximum)


def rows(row: Layout, num_envs: int, memory: mmap.mmap | None = None) -> Rows:
    """Empty rows, in memory of their own or laid out one after the other in `memory`.

    Every process that calls this with the same arguments gets the same places.
    """
    buffer = memory if memory is not None else bytearray(size(row, num_envs))
    fields, start = [], 0
    for shape, dtype in _fields(row, num_envs):
        count = math.prod(shape)
        field = np.frombuffer(buffer, dtype, count, offset=start)
        fields.append(field.reshape(shape))
        start += _padded(field.nbytes)
    return Rows(*fields)


def size(row: Layout, num_envs: int) -> int:
    """Bytes that `rows` needs."""
    return sum(
        _padded(math.prod(shape) * np.dtype(dtype).itemsize)
        for shape, dtype in _fields(row, num_envs)
    )


def split(num_envs: int, workers: int) -> list[slice]:
    """E environments in at most `workers` parts that differ by one at most."""
    parts = np.array_split(np.arange(num_envs), min(workers, num_envs))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _fields(row: Layout, num_envs: int) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of each field of `Rows`."""
    return [
        ((num_envs, len(row.action_minimum)), "float64"),
        ((num_envs, *row.observation_shape), row.observation_dtype),
        ((num_envs,), "float32"),
        ((num_envs,), "float32"),
        ((num_envs,), "bool"),
        ((num_envs,), "bool"),
    ]


def _padded(nbytes: int) -> int:
    """Rounds up to a whole cache line, so that every field is aligned."""
    return -(-nbytes // 64) * 64


def _entries(spec: Mapping[str, dm_env.specs.Array]) -> list[tuple[str, slice, bool]]:
    """(name, its place in the row, whether it is flat already) of each entry."""
    entries, start = [], 0
    for name, entry in spec.items():
        stop = start + math.prod(entry.shape)
        entries.append((name, slice(start, stop), len(entry.shape) < 2))
        start = stop
    return entries
