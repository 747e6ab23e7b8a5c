"""Some dm_env environments of a batch, stepped one after the other into its rows.

A `Share` lives in the thread or process that built it, for that is where rendering
contexts may be used. It knows nothing of JAX, so that a worker process starts quickly.
"""

from __future__ import annotations

import math
import mmap
import pickle
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import dm_env
import numpy as np

from stac import snapshots

Make = Callable[[int], dm_env.Environment]  # from a seed; must pickle
_COMPRESSION = 1  # zlib's fastest makes 0.7 MB of a cartpole's 12 MB in 0.1 s
PIXELS = "pixels"  # the entry that is shipped as an image where it is the only one


class Layout(NamedTuple):
    """What one environment's row looks like."""

    observation_shape: tuple[int, ...]  # (F,), or (3, H, W)
    observation_dtype: str  # "float32", or "uint8"
    action_minimum: np.ndarray  # [A] float64
    action_maximum: np.ndarray  # [A] float64


class Rows(NamedTuple):
    """What E environments were told and what they said last, overwritten every step."""

    action: np.ndarray  # [E, A] float64, within the bounds
    observation: np.ndarray  # [E, F] float32, or [E, 3, H, W] uint8
    reward: np.ndarray  # [E] float32
    discount: np.ndarray  # [E] float32
    first: np.ndarray  # [E] bool
    last: np.ndarray  # [E] bool

    def part(self, where: slice) -> Rows:
        """Views of some environments' rows."""
        return Rows(*(field[where] for field in self))


class Job(NamedTuple):
    """Which environments a share has."""

    make: Make
    seeds: tuple[int, ...]  # one each
    cuts: tuple[int, ...]  # the step at which the first episode is cut; 0: it is not


class Played(NamedTuple):
    """One environment and what is known of its episode."""

    environment: dm_env.Environment
    cut: int  # 0 once the first episode is over
    steps: int  # of the episode; counted up to the cut
    over: bool
    begun: bool  # whether there was a first episode


class Share:
    """A few environments; rows mean what stac.environments.base says."""

    rows: Rows  # theirs alone; told before the first reset

    def __init__(self, job: Job) -> None:
        """Builds them, in this thread."""
        self._environments = [job.make(seed) for seed in job.seeds]
        first = self._environments[0]
        self.layout = layout(first)
        self._action_dtype = first.action_spec().dtype
        self._entries = _entries(first.observation_spec())
        self._cuts = list(job.cuts)  # 0 once the first episode is over
        self._steps = [0] * len(job.seeds)  # of the episode; counted up to the cut
        self._over = [True] * len(job.seeds)
        self._begun = False
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
                timestep = environment.reset()
            else:
                # A copy: an environment may keep it, and the rows are written again.
                action = self.rows.action[index].astype(self._action_dtype)
                timestep = environment.step(action)
            self._write(index, timestep, self.rows)

    def snapshot(self) -> list[bytes]:
        """One of each environment, so that another share may have it next.

        Whole environments are pickled, models included, of which textures are most.
        """
        return [
            zlib.compress(pickle.dumps(one, pickle.HIGHEST_PROTOCOL), _COMPRESSION)
            for one in map(
                Played,
                self._environments,
                self._cuts,
                self._steps,
                self._over,
                [self._begun] * len(self._over),
            )
        ]

    def load(self, states: Sequence[bytes]) -> str:
        """Builds environments of snapshots and keeps them for `adopt`.

        Returns:
          Why that cannot be done; nothing where it was.
        """
        try:
            self._loaded = [snapshots.load(zlib.decompress(one)) for one in states]
        except (ValueError, zlib.error) as error:
            return str(error)
        return ""

    def adopt(self) -> None:
        """Takes what was loaded in the place of its own environments."""
        self.close()
        for index, one in enumerate(self._loaded):
            self._environments.append(one.environment)
            self._cuts[index] = one.cut
            self._steps[index] = one.steps
            self._over[index] = one.over
            self._begun = one.begun
        self._loaded = []

    def close(self) -> None:
        """Frees the simulators; may be called twice."""
        environments, self._environments = self._environments, []
        for environment in environments:
            environment.close()

    def _write(self, index: int, timestep: dm_env.TimeStep, rows: Rows) -> None:
        first = timestep.first()
        over = timestep.last() or self._is_cut(index, first)
        self._over[index] = over
        if over:
            self._cuts[index] = 0
        rows.reward[index] = 0.0 if first else timestep.reward
        rows.discount[index] = 1.0 if first else timestep.discount
        rows.first[index] = first
        rows.last[index] = over
        self._write_observation(timestep.observation, rows.observation[index])

    def _is_cut(self, index: int, first: bool) -> bool:
        """Whether the first episode ends here, as by a time limit."""
        if not self._cuts[index]:
            return False
        self._steps[index] = 0 if first else self._steps[index] + 1
        return self._steps[index] == self._cuts[index]

    def _write_observation(
        self, said: Mapping[str, np.ndarray], row: np.ndarray
    ) -> None:
        if row.ndim == 3:
            row[...] = np.moveaxis(said[PIXELS], -1, 0)
            return
        for name, where, flat in self._entries:
            value = said[name]
            row[where] = value if flat else np.ravel(value)


class Shares:
    """Several shares, each run where it was built; the same wherever that is."""

    _places: Sequence[slice]  # the rows of each

    def run(self, what: str) -> None:
        """See stac.environments.vector.workers.Workers, like the next two."""
        self._each(what)

    def snapshot(self) -> list[bytes]:
        return [state for states in self._each("snapshot") for state in states]

    def load(self, states: Sequence[bytes]) -> str:
        return max(self._each("load", [(states[place],) for place in self._places]))

    def _each(self, what: str, given: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        """What a method of every share returns, all run at the same time."""
        raise NotImplementedError


def layout(environment: dm_env.Environment) -> Layout:
    """Reads it from the specs: entries in their order, each flattened in C order.

    Raises:
      ValueError: observations that are no dictionary, or actions without bounds.
    """
    seen, acts = environment.observation_spec(), environment.action_spec()
    if not isinstance(seen, Mapping):
        raise ValueError(f"observations must be a dictionary, not {seen}")
    bounds = [np.broadcast_to(b, acts.shape) for b in (acts.minimum, acts.maximum)]
    minimum, maximum = (np.array(bound, np.float64) for bound in bounds)
    if len(acts.shape) != 1 or not np.isfinite([minimum, maximum]).all():
        raise ValueError(f"actions must be a vector with bounds, not {acts}")
    if list(seen) == [PIXELS] and len(seen[PIXELS].shape) == 3:
        height, width, channels = seen[PIXELS].shape
        return Layout((channels, height, width), "uint8", minimum, maximum)
    size = sum(math.prod(entry.shape) for entry in seen.values())
    return Layout((size,), "float32", minimum, maximum)


def rows(made: Layout, num_envs: int, shared: mmap.mmap | None = None) -> Rows:
    """Empty rows: in memory of their own, or laid out one after the other in `shared`.

    Every process that asks with the same arguments gets the same places.
    """
    buffer = shared if shared is not None else bytearray(size(made, num_envs))
    fields, start = [], 0
    for shape, dtype in _fields(made, num_envs):
        count = math.prod(shape)
        field = np.frombuffer(buffer, dtype, count, offset=start)
        fields.append(field.reshape(shape))
        start += _padded(field.nbytes)
    return Rows(*fields)


def size(made: Layout, num_envs: int) -> int:
    """Bytes that `rows` needs."""
    return sum(
        _padded(math.prod(shape) * np.dtype(dtype).itemsize)
        for shape, dtype in _fields(made, num_envs)
    )


def split(num_envs: int, workers: int) -> list[slice]:
    """E environments in at most `workers` parts that differ by one at most."""
    parts = np.array_split(np.arange(num_envs), min(workers, num_envs))
    return [slice(int(part[0]), int(part[-1]) + 1) for part in parts]


def _fields(made: Layout, num_envs: int) -> list[tuple[tuple[int, ...], str]]:
    """Shape and dtype of each field of `Rows`."""
    return [
        ((num_envs, len(made.action_minimum)), "float64"),
        ((num_envs, *made.observation_shape), made.observation_dtype),
        ((num_envs,), "float32"),
        ((num_envs,), "float32"),
        ((num_envs,), "bool"),
        ((num_envs,), "bool"),
    ]


def _padded(nbytes: int) -> int:
    """Up to a whole cache line, so that every field is aligned."""
    return -(-nbytes // 64) * 64


def _entries(spec: Mapping[str, dm_env.specs.Array]) -> list[tuple[str, slice, bool]]:
    """(name, its place in the row, whether it is flat already) of each entry."""
    entries, start = [], 0
    for name, entry in spec.items():
        stop = start + math.prod(entry.shape)
        entries.append((name, slice(start, stop), len(entry.shape) < 2))
        start = stop
    return entries


def job(make: Make, seeds: Sequence[int], cuts: Sequence[int], where: slice) -> Job:
    """The job of the worker that has the environments `where`."""
    return Job(make, tuple(seeds[where]), tuple(cuts[where]))
