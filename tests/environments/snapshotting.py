"""What the tests of snapshots share: environments that go on, and their twins."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from stac.environments import base
from stac.types import Timestep

Build = Callable[[], base.BatchedEnvironment]


def actions(environment: base.BatchedEnvironment, steps: int) -> np.ndarray:
    """Random actions [T, E] or [T, E, A], always the same."""
    spec, random = environment.spec, np.random.default_rng(5)
    shape = (steps, environment.num_envs)
    if spec.continuous:
        return random.normal(size=(*shape, spec.num_actions))
    return random.integers(spec.num_actions, size=shape)


def rows(
    environment: base.BatchedEnvironment, taken: Iterable[np.ndarray]
) -> list[Timestep]:
    """What a reset and these actions give; closed at last."""
    seen = [environment.reset(), *(environment.step(action) for action in taken)]
    environment.close()
    return seen


def assert_exact(
    build: Build, steps: int, at: Iterable[int], there: Build | None = None
) -> list[Timestep]:
    """Snapshots neither change what goes on nor lose a bit of it.

    Args:
      build: of an environment.
      steps: to play.
      at: how many rows there were at each snapshot; 0: it was not reset yet.
      there: builds the environments that are restored.

    Returns:
      All rows.
    """
    there = there or build
    watched = build()
    taken = actions(watched, steps)
    alone = rows(there(), taken)
    points = set(at)
    snapshots = {}
    for row in range(steps + 1):
        if row in points:
            snapshots[row] = watched.snapshot()
        same = watched.reset() if row == 0 else watched.step(taken[row - 1])
        assert_equal(same, alone[row], f"row {row} of what was watched")
    watched.close()
    assert len(snapshots) == len(points)
    for point, snapshot in snapshots.items():
        restored = there()
        restored.restore(snapshot)
        for row in range(point, steps + 1):
            same = restored.reset() if row == 0 else restored.step(taken[row - 1])
            assert_equal(same, alone[row], f"row {row} of what was restored at {point}")
        restored.close()
    return alone


def assert_equal(one: Timestep, other: Timestep, where: str) -> None:
    for name, field, twin in zip(Timestep._fields, one, other, strict=True):
        assert field.dtype == twin.dtype
        np.testing.assert_array_equal(field, twin, f"{name} of {where}")


def assert_refused_unchanged(build: Build, others: Iterable[Build]) -> None:
    """Other environments' snapshots and damaged ones are refused, in one line."""
    fitting = build()
    fitting.reset()
    good = fitting.snapshot()
    fitting.close()
    bad = [
        b"",
        b"\n\n",
        good[:-1],
        good[:-3] + b"xyz",
        good.replace(b"format", b"x", 1),
    ]
    bad += [pickle.dumps("a snapshot")]
    for other in others:
        made = other()
        made.reset()
        bad.append(made.snapshot())
        made.close()
    refusing = build()
    for snapshot in bad:
        with pytest.raises(ValueError, match="snapshot") as refusal:
            refusing.restore(snapshot)
        assert "\n" not in str(refusal.value)
    assert_same_rows(refusing, build())


def assert_same_rows(
    one: base.BatchedEnvironment, other: base.BatchedEnvironment, steps: int = 12
) -> list[Timestep]:
    """From a reset on; both are closed."""
    taken = actions(one, steps)
    seen = rows(one, taken)
    for row, (same, twin) in enumerate(zip(seen, rows(other, taken), strict=True)):
        assert_equal(same, twin, f"row {row}")
    return seen
