"""Small experiences whose trajectories carry numbers, and threads that must end."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from stac.runtime.queues.reverb_items import Spec
from stac.runtime.storage import checkpoints
from stac.types import Experience, Report, Trajectory

WAIT = 5.0  # seconds after which a test calls something stuck
SOON = 0.1  # seconds in which nothing is to happen


def numbered(numbers: range, rows: int = 3, reward: float = 1.0) -> Experience:
    """One trajectory a number, which stands in `report.actor` and in observations."""
    number = np.array(numbers, np.int32)
    count = len(numbers)
    columns = (count, rows - 1)
    return Experience(
        Trajectory(
            observation=np.tile(number[:, None, None], (1, rows, 2)).astype(np.float32),
            first=np.zeros((count, rows), bool),
            action=np.zeros(columns, np.int32),
            behaviour_log_prob=np.zeros(columns, np.float32),
            reward=np.full(columns, reward, np.float32),
            discount=np.ones(columns, np.float32),
            core_state={"count": number.astype(np.float32)},
        ),
        Report(
            episode_return=np.full((count, rows), np.nan, np.float32),
            episode_length=np.zeros((count, rows), np.int32),
            parameter_version=np.zeros(count, np.int32),
            actor=number,
            diverged=np.zeros(count, np.int32),
        ),
    )


def overlapping(
    puts: int, rows: int, overlap: int, envs: int = 3, width: int = 2, seed: int = 0
) -> list[Experience]:
    """What an actor puts, of random numbers: one stream, of which each has its rows."""
    random = np.random.default_rng(seed)
    period = rows - overlap
    total = rows + (puts - 1) * period

    def floats(*shape: int) -> np.ndarray:
        return random.standard_normal((envs, *shape)).astype(np.float32)

    stream = Trajectory(
        observation=random.integers(0, 256, (envs, total, width), np.uint8),
        first=random.random((envs, total)) < 0.5,
        action=floats(total - 1, 3),
        behaviour_log_prob=floats(total - 1),
        reward=floats(total - 1),
        discount=floats(total - 1),
        core_state=(),
    )

    def put(number: int) -> Experience:
        start = number * period
        cut = {
            name: leaf[:, start : start + rows - (leaf.shape[1] < total)]
            for name, leaf in stream._asdict().items()
            if name != "core_state"
        }
        returns = floats(rows)
        returns[:, : overlap if number else 0] = np.nan
        report = Report(
            episode_return=returns,
            episode_length=random.integers(0, 99, (envs, rows), np.int32),
            parameter_version=np.full(envs, number, np.int32),
            actor=np.arange(envs, dtype=np.int32) + 100 * seed,
            diverged=random.integers(0, 9, envs, np.int32),
        )
        core = {"a": floats(4), "b": floats(1, 3).astype(np.float16)}
        return Experience(Trajectory(**cut, core_state=core), report)

    return [put(number) for number in range(puts)]


def like(experience: Experience, overlap: int = 0) -> Spec:
    """The shape of one trajectory of an experience."""
    return Spec(
        jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), experience
        ),
        overlap,
    )


def bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    """All there is to know of a tree's leaves."""
    return [
        (str(leaf.dtype), leaf.shape, leaf.tobytes()) for leaf in jax.tree.leaves(tree)
    ]


def digest(tree: Any) -> str:
    """Of names, dtypes, shapes and every bit of a state, wherever its arrays live."""
    total = hashlib.sha256()
    for name, leaf in checkpoints.named(tree).items():
        total.update(f"{name} {checkpoints.describe(leaf)}\n".encode())
        total.update(leaf.tobytes())
    return total.hexdigest()


class Doing:
    """Calls a function in a thread; `result` returns or raises what it did."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._outcome: list[Any] = []
        self._error: list[BaseException] = []
        self._thread = threading.Thread(
            target=self._run, args=(function, arguments), daemon=True
        )
        self._thread.start()

    def waits(self) -> bool:
        """Whether it is still at it a little later."""
        self._thread.join(SOON)
        return self._thread.is_alive()

    def result(self) -> Any:
        self._thread.join(WAIT)
        assert not self._thread.is_alive(), "it is stuck"
        if self._error:
            raise self._error[0]
        return self._outcome[0]

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        try:
            self._outcome.append(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            self._error.append(error)
