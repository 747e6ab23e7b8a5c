"""E dm_env environments as one: rows, actions, observations, first episodes cut."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from stac.environments import actions
from stac.environments.vector import batched
from stac.types import Timestep
from tests.environments import snapshotting
from tests.environments.rows import assert_laid_out, assert_rows_stay, stacked
from tests.environments.vector import scripted

LENGTHS = (3, 5)  # a true end after 3 steps, then a time limit after 5, and again


def built(num_envs: int = 2, *, lengths: tuple[int, ...] = LENGTHS, **named: Any):
    make = functools.partial(scripted.make, lengths)
    named = {"workers": "serial", "cores": 1, "stagger_steps": 0, "seed": 0} | named
    return batched.Batched(make, range(num_envs), **named)


def played(environment: batched.Batched, steps: int) -> Timestep:
    """Rows of a reset and of random actions: [E, steps + 1, ...]."""
    return stacked(environment, snapshotting.actions(environment, steps))


def counts(rows: Timestep) -> tuple[np.ndarray, np.ndarray]:
    """Which episode and which of its steps each row shows."""
    return rows.observation[..., 1], rows.observation[..., 2]


def test_rows_are_laid_out_as_the_protocol_says():
    rows = played(built(), 10)
    assert_laid_out(rows, *counts(rows))


def test_observations_are_the_spec_in_its_order_each_flat_in_c_order():
    environment = built(3)
    assert environment.spec.observation_shape == (12,)
    assert environment.spec.observation_dtype == np.float32
    row = environment.reset()
    alone = scripted.Scripted(2, LENGTHS).reset().observation
    expected = [2.0, 0.0, 0.0, 0.0, 0.0, 0.0, *alone["a_matrix"].ravel()]
    np.testing.assert_array_equal(row.observation[2], np.float32(expected))


def test_pictures_are_shipped_channels_first():
    environment = batched.Batched(
        scripted.make_picture, [0, 1], workers="serial", cores=1, stagger_steps=0
    )
    assert environment.spec.observation_shape == (3, 4, 5)
    assert environment.spec.observation_dtype == np.uint8
    shown = environment.reset().observation
    assert (shown.dtype, shown.shape) == (np.uint8, (2, 3, 4, 5))
    height, width, channel = 2, 3, 1
    assert (shown[:, channel, height, width] == height * 15 + width * 3 + channel).all()
    environment.close()


def test_samples_are_squashed_and_scaled_to_the_bounds():
    environment = built(1)
    environment.reset()
    low, high = scripted.MINIMUM, scripted.MAXIMUM
    np.testing.assert_array_equal(environment.spec.action_minimum, low)
    np.testing.assert_array_equal(environment.spec.action_maximum, high)
    half = np.arctanh(0.5)
    for sample, share_of_range in ((0, 0.5), (half, 0.75), (-half, 0.25)):
        taken = environment.step(np.full((1, 3), sample)).observation[0, 3:6]
        np.testing.assert_allclose(taken, low + share_of_range * (high - low), 1e-6)
    environment.step(np.zeros((1, 3)))  # the next episode's first row
    for sample, bound in ((-40.0, low), (40.0, high), (np.inf, high)):
        taken = environment.step(np.full((1, 3), sample)).observation[0, 3:6]
        np.testing.assert_array_equal(taken, np.float32(bound))
    environment.close()


def test_no_action_leaves_its_bounds_by_a_rounding():
    low, high = scripted.MINIMUM, scripted.MAXIMUM
    environment = built(1)
    for sample in np.linspace(-30, 30, 50):
        scaled = actions.scaled(np.full((1, 3), sample), environment)
        assert (scaled >= low).all()
        assert (scaled <= high).all()


def test_an_environment_may_keep_the_action_it_was_given(monkeypatch):
    kept = []
    monkeypatch.setattr(scripted.Scripted, "close", lambda self: kept.append(self))
    environment = built(1)
    environment.reset()
    for sample in (1.0, 2.0, 3.0):
        environment.step(np.full((1, 3), sample))
    environment.close()
    middle, half = (
        (scripted.MINIMUM + scripted.MAXIMUM) / 2,
        np.ptp([scripted.MINIMUM, scripted.MAXIMUM], axis=0) / 2,
    )
    np.testing.assert_allclose(
        kept[0].actions, [middle + np.tanh(sample) * half for sample in (1, 2, 3)]
    )


@pytest.mark.parametrize("way", ["serial", "processes"])
def test_a_later_step_does_not_write_into_an_earlier_row(way):
    environment = built(2, workers=way, cores=2)
    assert_rows_stay(environment, snapshotting.actions(environment, 5))


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros((2, 2)), r"\(2, 2\): must be \(2, 3\)"),
        (np.zeros(2), r"\(2,\): must be"),
        (np.full((2, 3), np.nan), "not numbers"),
    ],
)
def test_an_action_that_cannot_be_is_refused(action, message):
    environment = built(2)
    environment.reset()
    with pytest.raises(ValueError, match=message):
        environment.step(action)
    environment.close()


def test_what_cannot_be_stepped_says_so():
    environment = built(1)
    with pytest.raises(RuntimeError, match="step before reset"):
        environment.step(np.zeros((1, 3)))
    environment.close()
    environment.close()
    with pytest.raises(RuntimeError, match="closed"):
        environment.reset()


@pytest.mark.parametrize("way", ["serial", "processes"])
def test_simulations_that_diverge_are_counted_and_resets_are_tried_again(way):
    pytest.importorskip("dm_control")
    environment, hopeless = (
        batched.Batched(
            functools.partial(scripted.make_diverging, resets),
            range(2),
            workers=way,
            cores=2,
        )
        for resets in (3, 4)
    )
    rows = played(environment, 5)
    assert rows.last.tolist() == [
        [False] * 6,
        [False, False, False, True, False, False],
    ]
    assert (rows.discount[1, 3], rows.reward[1, 3]) == (0, 0)
    np.testing.assert_array_equal(rows.observation[1, 3], rows.observation[1, 2])
    assert rows.first[1].tolist() == [True, False, False, False, True, False]
    assert environment.diverged.tolist() == [0, 4]
    with pytest.raises(RuntimeError, match="not finite"):
        played(hopeless, 5)


def test_closing_closes_every_environment_once(monkeypatch):
    closed = []
    monkeypatch.setattr(scripted.Scripted, "close", lambda self: closed.append(self))
    environment = built(5)
    environment.close()
    environment.close()
    assert sorted(each.seed for each in closed) == [0, 1, 2, 3, 4]


# First episodes that are cut.

LONG = (50, 7)  # a first episode of 50 steps with a true end, then others of 7 and 50


def cuts(rows: Timestep) -> np.ndarray:
    """[E] the step at which each first episode ended."""
    return rows.last.argmax(axis=1)


def test_a_cut_is_a_time_limit_at_a_random_step_below_the_length():
    environment = built(64, lengths=LONG, stagger_steps=40)
    assert environment.spec.staggered
    rows = played(environment, 60)
    ends = cuts(rows)
    assert ends.min() >= 1
    assert ends.max() < 40
    assert len(set(ends)) > 20
    assert (rows.discount[np.arange(64), ends] == 1).all()
    assert (rows.reward[np.arange(64), ends] == ends).all()


def test_episodes_after_the_cut_are_whole_and_know_nothing_of_it():
    rows = played(built(8, lengths=LONG, stagger_steps=40), 110)
    episode, step = counts(rows)
    for env, end in enumerate(cuts(rows)):
        assert rows.first[env, end + 1]
        assert (episode[env, end + 1], step[env, end + 1]) == (1, 0)
        ends = np.nonzero(rows.last[env])[0]
        np.testing.assert_array_equal(np.diff(ends)[:2], [7 + 1, 50 + 1])
        np.testing.assert_array_equal(rows.discount[env, ends[:3]], [1, 1, 0])
        np.testing.assert_array_equal(rows.reward[env, ends[1:3]], [7, 50])


def test_a_true_end_before_the_cut_is_the_end_of_the_first_episode():
    rows = played(built(64, lengths=(5, 30), stagger_steps=40), 60)
    ends = cuts(rows)
    assert ends.max() == 5
    assert ends.min() < 5
    for env, end in enumerate(ends):
        assert rows.discount[env, end] == (0 if end == 5 else 1)
        assert np.nonzero(rows.last[env])[0][1] == end + 30 + 1  # no cut later on


def test_a_true_end_at_the_cut_stays_a_true_end():
    # The only draw from [1, 2) is 1, where the episode truly ends.
    rows = played(built(3, lengths=(1, 4), stagger_steps=2), 8)
    assert (cuts(rows) == 1).all()
    assert (rows.discount[:, 1] == 0).all()
    assert np.array_equal(np.nonzero(rows.last[0])[0], [1, 6, 8])


def test_cuts_follow_their_own_seed():
    ends = [
        cuts(played(built(32, lengths=LONG, stagger_steps=40, seed=seed), 45))
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


def test_a_second_reset_cuts_nothing():
    environment = built(16, lengths=(30,), stagger_steps=25)
    environment.reset()
    rows = played(environment, 40)
    assert (cuts(rows) == 30).all()


def test_without_staggering_no_episode_is_cut():
    environment = built(16, lengths=(30,))
    assert not environment.spec.staggered
    assert (cuts(played(environment, 40)) == 30).all()


# Who steps them.


@pytest.mark.parametrize("cores", [1, 3, 9])
def test_processes_give_the_same_bits(cores):
    named = {"lengths": (6, 4), "stagger_steps": 5, "seed": 3}
    alone = played(built(5, **named), 20)
    there = played(built(5, workers="processes", cores=cores, **named), 20)
    for field, same in zip(alone, there, strict=True):
        np.testing.assert_array_equal(field, same)
        assert field.dtype == same.dtype


@pytest.mark.parametrize(
    ("workers", "cores", "num_envs", "count"),
    [
        ("auto", 1, 3, 0),
        ("auto", 8, 1, 0),
        ("auto", 2, 3, 2),
        ("serial", 2, 3, 0),
        ("processes", 1, 3, 1),
        ("processes", 8, 2, 2),
    ],
)
def test_an_actor_with_one_core_or_one_environment_steps_it_itself(
    workers, cores, num_envs, count
):
    assert batched.processes(workers, cores, num_envs) == count
