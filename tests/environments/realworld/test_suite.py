"""The order of effects around a simulator, from row to row."""

from __future__ import annotations

import numpy as np
import pytest

from stac.environments.realworld import suite
from tests.environments.realworld.twin import (
    Counter,
    Twin,
    challenged,
    clocks,
    late,
    play,
)

ASKED = np.array([0.25, -0.25])


def test_without_challenges_the_simulator_is_as_it_is():
    simulator, alone = Counter(length=3), Counter(length=3)
    environment = challenged(simulator)
    for _ in range(3):
        for row, own in zip(play(environment, 3), play(alone, 3), strict=True):
            assert (row.step_type, row.reward, row.discount) == own[:3]
            assert list(row.observation) == ["observations"]
            flat = [*own.observation["a"], own.observation["b"]]
            assert row.observation["observations"].tolist() == flat
    assert simulator.applied == alone.applied
    assert environment.action_spec() == alone.action_spec()
    assert environment.observation_spec()["observations"].shape == (3,)


def test_rewards_are_late_and_a_reset_gives_none():
    rows = play(challenged(Counter(), reward_delay=3), 9)
    assert rows[0].reward is None
    # The first step's reward is 0.2 (the clock stood at 1 at the reset).
    expected = late([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], 3)
    assert [row.reward for row in rows[1:]] == pytest.approx(expected)


def test_entries_come_in_the_suites_order_and_the_added_ones_are_not_late():
    environment = challenged(
        Counter(),
        observation_delay=4,
        dummy_dimensions=3,
        safety=True,
        multi_objective=True,
        multi_objective_observed=True,
    )
    rows = play(environment, 6)
    names = ["observations", "constraints", "dummies", "multiobj"]
    assert all(list(row.observation) == names for row in rows)
    for t, row in enumerate(rows):
        clock = t + 1
        holds = [clock % 2 == 0, clock % 3 == 0] if t else [True, False]
        assert row.observation["constraints"].tolist() == holds
        share = sum(holds) / 2
        assert row.observation["multiobj"].tolist() == [clock / 10.0, share]
    assert clocks(rows) == late([1, 2, 3, 4, 5, 6, 7], 4)
    dummies = np.array([row.observation["dummies"] for row in rows])
    assert len(set(dummies.ravel())) == 7 * 3


def test_an_observation_handed_out_is_never_written_again():
    environment = challenged(
        Counter(), observation_delay=2, observation_stuck=0.5, safety=True
    )
    rows = play(environment, 20)
    before = [{k: np.copy(v) for k, v in row.observation.items()} for row in rows]
    play(environment, 20, first=False)
    for row, copy in zip(rows, before, strict=True):
        assert all((row.observation[k] == copy[k]).all() for k in copy)


@pytest.mark.parametrize("kind", ["observation_delay", "observation_stuck"])
def test_a_reader_who_writes_into_an_observation_changes_no_other(kind):
    environment = challenged(Counter(), **{kind: 1})
    environment.reset().observation["observations"][:] = 99.0
    assert clocks(play(environment, 1, first=False)) == [1.0]


def test_the_reward_is_mixed_with_the_share_of_constraints_and_then_delayed():
    rows = play(
        challenged(
            Counter(),
            reward_delay=2,
            safety=True,
            multi_objective=True,
            multi_objective_coefficient=0.25,
        ),
        6,
    )
    mixed = [
        0.75 * c / 10.0 + 0.25 * ((c % 2 == 0) + (c % 3 == 0)) / 2 for c in range(2, 8)
    ]
    assert [row.reward for row in rows[1:]] == pytest.approx(late(mixed, 2))
    assert "multiobj" not in rows[-1].observation


def test_unobserved_constraints_are_not_shown():
    environment = challenged(Counter(), safety=True, safety_observed=False)
    assert list(environment.observation_spec()) == ["observations"]
    assert list(environment.reset().observation) == ["observations"]


def test_the_spec_says_what_comes_and_advances_nothing():
    def environment() -> suite.Challenged:
        return challenged(
            Counter(),
            observation_delay=2,
            observation_noise=1.0,
            observation_stuck=0.2,
            dummy_dimensions=2,
            safety=True,
            multi_objective=True,
            multi_objective_observed=True,
        )

    asked, silent = environment(), environment()
    for _ in range(3):
        spec = asked.observation_spec()
    rows = play(silent, 5)
    for row, other in zip(play(asked, 5), rows, strict=True):
        asked.observation_spec()
        for name, value in row.observation.items():
            np.testing.assert_array_equal(value, other.observation[name])
            spec[name].validate(np.asarray(value))


def test_everything_together_is_the_slow_twins():
    simulator, alone = Counter(length=30), Counter(length=30)
    environment = challenged(
        simulator,
        seed=9,
        action_noise=0.3,
        action_stuck=0.2,
        observation_delay=3,
        observation_noise=0.5,
        observation_dropped=0.1,
        observation_dropped_steps=3,
        observation_stuck=0.1,
        observation_stuck_steps=2,
        dummy_dimensions=2,
    )
    random = np.random.default_rng(9)
    acts = Twin(random, 0.3, (0.0, 1), (0.2, 1), ([-1.0, -0.5], [1.0, 0.5]))
    sees = Twin(random, 0.5, (0.1, 3), (0.1, 2))
    history, applied = [], []
    over = True
    for _ in range(100):
        row = environment.reset() if over else environment.step(ASKED)
        if not over:
            applied.append(acts(ASKED.tolist()))
        own = alone.reset() if over else alone.step(np.array(applied[-1]))
        flat = [*own.observation["a"], own.observation["b"]]
        history.append(sees(flat))
        expected = history[max(0, len(history) - 4)]
        dummies = [random.standard_normal() for _ in range(2)]
        got = [*row.observation["observations"], *row.observation["dummies"]]
        assert got == [*expected, *dummies]
        over = row.last()
    assert simulator.applied == applied
