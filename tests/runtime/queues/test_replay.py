"""The replay: what it keeps, what it draws, and how it goes on."""

from __future__ import annotations

import numpy as np
import pytest

from stac.agents import base
from stac.environments.base import EnvironmentSpec
from stac.runtime.queues import replay
from stac.types import Experience, Report, Trajectory

SIZE = base.ReplaySize(capacity=10, least=4, draws=64, minibatch=8, initial=2)
INITIAL = np.zeros((2, 1), np.float32)
ROWS = 4  # of a trajectory: three transitions


def taken(start: int, envs: int = 1, ends: tuple[int, ...] = ()) -> Experience:
    """Trajectories whose observations count steps from `start`, 100 an environment.

    Rows in `ends` begin an episode.
    """
    row = np.arange(start, start + ROWS, dtype=np.float32)
    observation = row[None] + 100.0 * np.arange(envs, dtype=np.float32)[:, None]
    first = np.isin(row, ends)[None].repeat(envs, 0)
    column = observation[:, :-1]
    trajectory = Trajectory(
        observation=observation[..., None],
        first=first,
        action=column[..., None] + 0.5,
        behaviour_log_prob=column,
        reward=10.0 * column,
        discount=column / 1000.0,
        core_state=(),
    )
    zeros = np.zeros(envs, np.int32)
    report = Report(row[None], zeros, zeros + start, zeros + 7, zeros)
    return Experience(trajectory, report)


def filled(*starts: int, size: base.ReplaySize = SIZE, **keywords) -> replay.Replay:
    built = replay.Replay(size, 1, INITIAL)
    for start in starts:
        built.exchange(taken(start, **keywords))
    return built


def steps(built: replay.Replay, start: int = 0, **keywords) -> list[int]:
    """The steps that a large sample holds, each once."""
    sample = built.exchange(taken(start, **keywords)).trajectory
    return sorted(set(sample.transitions.observation[:, 0].astype(int).tolist()))


def test_a_transition_keeps_its_parts_together_and_none_crosses_an_episode() -> None:
    built = replay.Replay(SIZE, 1, INITIAL)
    sample = built.exchange(taken(0, envs=2, ends=(2,))).trajectory
    seen = sample.transitions.observation[:, 0]
    assert set(seen) == {0, 2, 100, 102}, "row 2 begins an episode"
    np.testing.assert_array_equal(sample.transitions.next_observation[:, 0], seen + 1)
    np.testing.assert_array_equal(sample.transitions.action[:, 0], seen + 0.5)
    np.testing.assert_array_equal(sample.transitions.reward, 10 * seen)
    np.testing.assert_array_equal(sample.transitions.discount, seen / np.float32(1000))
    assert len(built) == 4


def test_the_oldest_make_room_and_reports_are_those_of_the_new() -> None:
    built = filled(0, 3, 6)
    assert len(built) == 9
    assert steps(built, 9) == list(range(2, 12)), "0 and 1 are overwritten"
    assert built.exchange(taken(12)).report.parameter_version == 12
    assert len(built) == SIZE.capacity


def test_it_is_ready_when_it_holds_enough() -> None:
    built = replay.Replay(SIZE, 1, INITIAL)
    few, enough = (built.exchange(taken(start)).trajectory for start in (0, 3))
    assert not few.ready.any(), "3 transitions"
    assert enough.ready.all(), "6 transitions"
    assert few.ready.shape == (SIZE.draws,)
    nothing = filled(0, 3, ends=(1, 2, 3, 4, 5, 6))
    assert not nothing.exchange(taken(6, ends=(7, 8, 9))).trajectory.ready.any()


def test_a_step_that_is_not_finite_is_left_out_and_its_actor_named_once(capsys) -> None:
    built = filled(0)
    for start in (3, 6):
        broken = taken(start)
        broken.trajectory.reward[0, 1] = np.nan
        broken.trajectory.observation[0, -1] = np.inf
        built.exchange(broken)
    assert steps(built, 9) == [0, 1, 2, 3, 6, 9, 10, 11]
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("look at what these actors send: 7")


def test_draws_are_uniform_and_independent() -> None:
    built = filled(0, 3, 6, size=SIZE._replace(draws=30_000))
    sample = built.exchange(taken(9)).trajectory
    counts = np.bincount(sample.transitions.observation[:, 0].astype(int))[2:]
    np.testing.assert_allclose(counts / 30_000, 0.1, atol=0.01)
    assert len(np.unique(sample.keys, axis=0)) > 29_990


def test_it_goes_on_with_the_same_samples_bit_for_bit() -> None:
    whole, cut = filled(0, 3, 6, 9), filled(0, 3)
    again = replay.Replay(SIZE, 1, INITIAL)
    again.restore(cut.snapshot())
    for start in (6, 9):
        again.exchange(taken(start))
    for ours, theirs in zip(
        again.exchange(taken(12)).trajectory.transitions,
        whole.exchange(taken(12)).trajectory.transitions,
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(again._draw().keys, whole._draw().keys)


def test_other_seeds_and_later_samples_draw_others() -> None:
    first, other = (replay.Replay(SIZE, seed, INITIAL) for seed in (1, 2))
    drawn = [
        built.exchange(taken(0)).trajectory.keys for built in (first, other, first)
    ]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_a_transition_takes_the_bytes_that_are_counted() -> None:
    built = filled(0, 3)
    spec = EnvironmentSpec((1,), np.dtype(np.float32), 1, True, 1)
    assert built._ring is not None
    whole = sum(leaf.nbytes for leaf in built._ring)
    assert whole == SIZE.capacity * replay.transition_bytes(spec)


def test_a_snapshot_of_another_replay_is_refused_and_none_is_no_fault() -> None:
    other = replay.Replay(SIZE._replace(capacity=11), 1, INITIAL)
    with pytest.raises(ValueError, match="a replay of 11 transitions"):
        other.restore(filled(0).snapshot())
    other.restore({})
    assert len(other) == 0
    assert replay.Replay(SIZE, 1, INITIAL, saved=False).snapshot() == {}
    empty = replay.Replay(SIZE, 1, INITIAL)
    empty.restore(replay.Replay(SIZE, 1, INITIAL).snapshot())
    assert len(empty) == 0
