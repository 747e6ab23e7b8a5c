"""What goes on over the end of an episode, what starts anew, and what repeats."""

from __future__ import annotations

import dm_env
import numpy as np
import pytest

from stac.config.challenges import Challenges
from stac.environments.realworld import suite
from stac.environments.realworld.models import Range, Schedule
from tests.environments.realworld.twin import Counter, challenged, clocks, play


@pytest.mark.parametrize("buffers", ["faithful", "reset"])
def test_what_was_delayed_arrives_in_the_next_episode_or_never(buffers):
    simulator = Counter(length=5)
    environment = challenged(
        simulator, buffers=buffers, action_delay=2, observation_delay=2, reward_delay=2
    )
    first, second = play(environment, 5), play(environment, 5)
    # Observations 1 to 6 and 7 to 12, rewards 0.2 to 0.6 and 0.8 to 1.2.
    assert clocks(first) == [1, 1, 1, 2, 3, 4]
    rewards = [row.reward for row in second[1:]]
    actions = [action[0] for action in simulator.applied]
    if buffers == "faithful":
        assert clocks(second) == [5, 6, 7, 8, 9, 10]
        assert rewards == pytest.approx([0.5, 0.6, 0.8, 0.9, 1.0])
        assert actions == [1, 1, 1, 2, 3, 4, 5, 1, 2, 3]
    else:
        assert clocks(second) == [7, 7, 7, 8, 9, 10]
        assert rewards == pytest.approx([0.8, 0.8, 0.8, 0.9, 1.0])
        assert actions == [1, 1, 1, 2, 3, 1, 1, 1, 2, 3]


@pytest.mark.parametrize("buffers", ["faithful", "reset"])
def test_failures_and_repetitions_run_on_over_episodes_or_not(buffers):
    simulator = Counter(length=4)
    environment = challenged(
        simulator,
        buffers=buffers,
        observation_stuck=1.0,  # every element, at the first observation
        observation_stuck_steps=1,
        action_repetition=1.0,
        action_repetition_steps=3,
    )
    assert clocks(play(environment, 4)) == [1] * 5
    assert clocks(play(environment, 4)) == [1 if buffers == "faithful" else 6] * 5
    actions = [action[0] for action in simulator.applied]
    assert actions == (
        [1, 1, 1, 4, 4, 4, 3, 3] if buffers == "faithful" else 2 * [1, 1, 1, 4]
    )


def test_dropped_elements_stay_dropped_over_an_episodes_end_or_not():
    def zeros(buffers: str) -> np.ndarray:
        environment = challenged(
            Counter(length=3),
            buffers=buffers,
            observation_dropped=0.02,
            observation_dropped_steps=1000,
        )
        rows = [row for _ in range(60) for row in play(environment, 3)]
        return np.array([row.observation["observations"] == 0.0 for row in rows])

    assert zeros("faithful")[-40:].all()
    anew = zeros("reset")
    assert anew.any()
    assert not anew[::4].all(axis=1).any()  # at most few resets are hit


def test_the_action_after_an_episodes_end_is_no_action():
    simulator = Counter(length=2)
    environment = challenged(simulator, action_delay=1)
    rows = play(environment, 2)
    assert rows[-1].last()
    again = environment.step(np.array([99.0, 99.0]))
    assert again.first()
    assert again.reward is None
    play(environment, 2, first=False)
    assert [action[0] for action in simulator.applied] == [1, 1, 2, 1]


def test_a_reset_within_an_episode_starts_another():
    simulator = Counter(length=3)
    environment = challenged(simulator)
    play(environment, 1)
    assert [row.step_type for row in play(environment, 3)][-1] is dm_env.StepType.LAST
    assert simulator.resets == 2


def test_a_model_is_built_only_where_its_value_is_new():
    built: list[tuple[float | None, Counter]] = []

    def make(value: float | None) -> Counter:
        built.append((value, Counter(length=2)))
        return built[-1][1]

    def values(scheduler: str, episodes: int, **challenges: object) -> list:
        built.clear()
        random = np.random.default_rng(3)
        schedule = Schedule(scheduler, Range(1.0, 0.5, 2.0, 0.1), random)
        chosen = Challenges(perturbation="p", **challenges)
        environment = suite.Challenged(make, chosen, random, schedule)
        for _ in range(episodes):
            play(environment, 2)
        return [value for value, _ in built]

    assert values("constant", 5) == [None, 1.0]
    moving = values("drift_pos", 6)
    assert moving[0] is None
    assert len(set(moving)) == 7  # also before the first episode
    assert sorted(moving[1:]) == moving[1:]
    assert all(simulator.closed == 1 for _, simulator in built[:-1])
    assert [simulator.resets for _, simulator in built] == [0, 1, 1, 1, 1, 1, 1]
    slow = values("drift_pos", 6, perturbation_period=3)
    assert [simulator.resets for _, simulator in built] == [0, 3, 3]
    assert len(set(slow)) == 3
    # The schedule goes on also where buffers start anew.
    assert values("drift_pos", 6, buffers="reset") == moving


def test_closing_closes_the_simulator():
    simulator = Counter()
    challenged(simulator).close()
    assert simulator.closed == 1
