"""Delays, noise and failures, one by one and in their order."""

from __future__ import annotations

import numpy as np
import pytest

from stac.config.challenges import Challenges
from stac.environments.realworld import pipeline as pipeline
from tests.environments.realworld.twin import Twin, late

LOW, HIGH = np.array([-1.0, -0.5]), np.array([1.0, 0.5])


class Loaded:
    """A generator that gives the uniform draws one was told to give."""

    def __init__(self, *rows: list[float]) -> None:
        self.rows = list(rows)

    def random(self, shape: tuple[int, ...] = ()) -> np.ndarray:
        return np.array(self.rows.pop(0), float).reshape(shape)


def actions(seed: int = 0, **challenges: float) -> pipeline.Piece:
    random = np.random.default_rng(seed)
    return pipeline.effects("action", Challenges(**challenges), random, LOW, HIGH)


def observations(seed: int = 0, **challenges: float) -> pipeline.Piece:
    random = np.random.default_rng(seed)
    return pipeline.effects("observation", Challenges(**challenges), random)


def applied(piece: pipeline.Piece, count: int) -> list[float]:
    """What becomes of the actions 1, 2, 3, …"""
    return [float(piece(np.full(2, t))[0]) for t in range(1, count + 1)]


@pytest.mark.parametrize("steps", [0, 1, 3, 40])
def test_a_delay_gives_what_went_in_that_many_calls_before(steps):
    delay = pipeline.Delay(steps)
    assert [delay(t) for t in range(50)] == [max(0, t - steps) for t in range(50)]


def test_a_delay_of_3_and_a_repetition_of_2_are_the_suites_example():
    piece = actions(action_delay=3, action_repetition=1.0, action_repetition_steps=2)
    assert applied(piece, 10) == [1, 1, 1, 1, 2, 2, 4, 4, 6, 6]


def test_only_a_free_repetition_draws_whether_to_hold():
    draws = Loaded([0.4], [0.6], [0.49])  # below 0.5 the action is held for 3
    piece = pipeline.Repetition(0.5, 3, draws)
    assert [float(piece(np.array(t))) for t in range(1, 8)] == [1, 1, 1, 4, 5, 5, 5]
    assert draws.rows == []


def test_each_element_fails_on_its_own_and_counts_its_own_steps():
    draws = Loaded([0.0, 0.9], [0.0, 0.0], [0.9, 0.9], [0.0, 0.9], [0.9, 0.9])
    piece = pipeline.Failures(0.5, 2, False, draws)
    assert [piece(np.array([5.0, 6.0])).tolist() for _ in range(5)] == [
        [0.0, 6.0],  # the first begins to fail
        [0.0, 0.0],  # a second hit does nothing while it fails; the other begins
        [5.0, 0.0],  # both steps of the first are over
        [0.0, 6.0],
        [0.0, 6.0],
    ]


@pytest.mark.parametrize(("probability", "steps"), [(0.01, 1), (0.05, 5), (0.1, 10)])
def test_elements_fail_as_often_as_free_times_and_steps_say(probability, steps):
    random = np.random.default_rng(0)
    piece = pipeline.Failures(probability, steps, False, random)
    for _ in range(300):  # from a start at which none fails
        piece(np.ones(2000))
    share = 1 - np.mean([piece(np.ones(2000)) for _ in range(300)])
    # A free element waits (1-p)/p calls on average, and then fails for `steps`.
    expected = steps / (steps + (1 - probability) / probability)
    assert share == pytest.approx(expected, rel=0.03)


def test_a_stuck_element_reads_what_came_out_before():
    draws = Loaded([0.0, 0.0], [0.9, 0.0], [0.9, 0.9], [0.9, 0.9])
    piece = pipeline.Failures(0.5, 2, True, draws)
    read = [piece(np.array([t, 10.0 * t])).tolist() for t in (1.0, 2.0, 3.0, 4.0)]
    # At the first call there is nothing before: both read themselves, and are stuck
    # for one call more.
    assert read == [[1.0, 10.0], [1.0, 10.0], [3.0, 30.0], [4.0, 40.0]]


def test_actions_are_clipped_after_noise_and_only_there():
    far = np.array([7.0, -7.0])
    assert actions()(far).tolist() == [7.0, -7.0]
    assert actions(action_delay=2)(far).tolist() == [7.0, -7.0]
    assert actions(action_noise=0.1)(far).tolist() == [1.0, -0.5]
    noisy = actions(action_noise=1.0)
    seen = np.array([noisy(np.zeros(2)) for _ in range(1000)])
    assert (seen.min(axis=0).tolist(), seen.max(axis=0).tolist()) == (
        LOW.tolist(),
        HIGH.tolist(),
    )
    assert observations(observation_noise=0.1)(far)[0] > 5.0


def test_an_action_takes_delay_noise_dropped_stuck_and_repetition_in_this_order():
    piece = actions(
        seed=5,
        action_delay=2,
        action_noise=0.4,
        action_dropped=0.3,
        action_dropped_steps=2,
        action_stuck=0.3,
        action_stuck_steps=3,
        action_repetition=0.6,
        action_repetition_steps=3,
    )
    random = np.random.default_rng(5)
    bounds = (LOW.tolist(), HIGH.tolist())
    twin = Twin(random, 0.4, (0.3, 2), (0.3, 3), bounds)
    asked = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    held, left = None, 0
    for action, old in zip(asked, late(list(asked), 2), strict=True):
        fresh = twin(list(old))
        if left:
            left -= 1
        else:
            left = 2 if random.random() < 0.6 else 0
            held = fresh
        assert piece(action).tolist() == held


def test_an_observation_takes_noise_dropped_stuck_and_delay_in_this_order():
    piece = observations(
        seed=5,
        observation_delay=3,
        observation_noise=0.4,
        observation_dropped=0.3,
        observation_dropped_steps=2,
        observation_stuck=0.3,
        observation_stuck_steps=3,
    )
    twin = Twin(np.random.default_rng(5), 0.4, (0.3, 2), (0.3, 3))
    seen = np.random.default_rng(0).uniform(-9.0, 9.0, (200, 6))
    noisy = [twin(list(row)) for row in seen]
    given = [piece(row).tolist() for row in seen]
    assert given == late(noisy, 3)
    assert given != noisy


def test_nothing_writes_into_what_it_was_given():
    piece = actions(
        action_delay=1,
        action_noise=0.5,
        action_dropped=0.5,
        action_stuck=0.5,
        action_repetition=0.5,
        action_repetition_steps=2,
    )
    given = [np.array([0.1 * t, -0.1 * t]) for t in range(50)]
    kept = [(one.copy(), piece(one)) for one in given]
    out = [result.copy() for _, result in kept]
    for one, (copy, result), was in zip(given, kept, out, strict=True):
        assert one.tolist() == copy.tolist()
        assert result.tolist() == was.tolist()
