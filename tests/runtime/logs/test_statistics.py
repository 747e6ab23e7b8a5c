"""The numbers in the rows of a log."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest

from stac.runtime.logs import statistics
from tests.runtime import fakes
from tests.runtime.experiences import numbered


@pytest.fixture(name="clock")
def _clock():
    return fakes.Clock()


def report(returns=(), version=0):
    template = numbered(range(2)).report
    for place, value in enumerate(returns):
        template.episode_return.flat[place] = value
    return template._replace(parameter_version=np.array([version, version + 1]))


def test_episode_return_is_the_mean_of_episodes_that_ended(clock):
    counted = statistics.Statistics({}, 0, clock)
    counted.add(report(), 0)
    assert math.isnan(counted.row(0, 0)["episode_return"])
    counted.add(report([3.0, 5.0]), 1)
    counted.add(report([-2.0]), 2)
    row = counted.row(2, 20)
    assert row["episode_return"] == 2.0
    assert row["episodes"] == 3


def test_a_continuation_goes_on_with_the_returns_and_episodes_of_before(clock):
    counted = statistics.Statistics({}, 0, clock)
    for value in range(60):
        counted.add(report([float(value), 0.0]), value)
    counters = json.loads(json.dumps(counted.counters()))
    counted = statistics.Statistics(counters, 600, clock)
    row = counted.row(60, 600)
    assert row["episode_return"] == np.mean(range(10, 60)) / 2
    assert row["episodes"] == 120
    counted.add(report([100.0, 100.0]), 61)
    row = counted.row(61, 610)
    assert row["episode_return"] == (sum(range(11, 60)) + 200) / 100
    assert row["episodes"] == 122


def test_lag_is_updates_between_acting_and_learning_since_the_last_row(clock):
    counted = statistics.Statistics({}, 0, clock)
    counted.add(report(version=3), updates=4)  # 1 and 0 behind
    counted.add(report(version=3), updates=7)  # 4 and 3 behind
    assert counted.row(7, 70)["lag"] == 2.0
    counted.add(report(version=9), updates=10)
    assert counted.row(8, 80)["lag"] == 0.5


def test_learner_waits_is_the_share_of_time_without_a_batch(clock):
    counted = statistics.Statistics({}, 0, clock)
    assert math.isnan(counted.row(0, 0)["learner_waits"])
    for _ in range(2):
        with counted.waiting():
            clock.now += 3
        clock.now += 1
    assert counted.row(2, 20)["learner_waits"] == 0.75
    clock.now += 1
    assert counted.row(3, 30)["learner_waits"] == 0.0


def test_seconds_episodes_and_restarts_go_on_over_a_continued_run(clock):
    before = dict.fromkeys(statistics.COUNTS, 2) | {"seconds": 30.0, "episodes": 4}
    counted = statistics.Statistics(before, 100, clock)
    for extra, name in enumerate(statistics.COUNTS):
        counted.counts[name] = lambda extra=extra: 3 + extra
    clock.now += 5
    counted.add(report([1.0]), 1)
    after = {"seconds": 35.0, "episodes": 5, "actor_restarts": 5}
    after |= {"skipped_updates": 6, "diverged_simulations": 7}
    assert after.items() <= counted.counters().items()
    row = counted.row(11, 120)
    assert {name: row[name] for name in after} == after
    assert (row["frames"], row["updates"]) == (120, 11)


def test_actors_at_work_on_other_machines_are_in_the_row_and_in_no_checkpoint(clock):
    counted = statistics.Statistics({}, 0, clock)
    assert not [name for name in counted.row(0, 0) if name.startswith("actors/")]
    counted.actors = lambda: {"actors/a1": 8, "actors/a2": 0}
    assert {"actors/a1": 8, "actors/a2": 0}.items() <= counted.row(1, 10).items()
    assert not [name for name in counted.counters() if name.startswith("actors/")]


def test_simulations_that_diverged_are_summed_over_the_run(clock):
    counted = statistics.Statistics({"diverged_simulations": 5}, 0, clock)
    for _ in range(2):
        counted.add(report()._replace(diverged=np.array([1, 2])), 0)
    assert counted.row(2, 20)["diverged_simulations"] == 11
    assert counted.counters()["diverged_simulations"] == 11


def test_how_long_the_learner_has_been_waiting_can_be_asked_at_any_time(clock):
    counted = statistics.Statistics({}, 0, clock)
    assert counted.waiting_seconds() == 0.0
    with contextlib.suppress(KeyError), counted.waiting():
        clock.now += 45
        assert counted.waiting_seconds() == 45.0
        raise KeyError
    clock.now += 45
    assert counted.waiting_seconds() == 0.0


def test_the_environments_share_is_that_of_the_time_since_the_call_before():
    times = {0: (3.0, 1.0)}
    share = statistics.EnvironmentShare(lambda: times)
    assert share() == {"environment_share": 0.75}
    times = {0: (4.0, 3.0), 1: (2.0, 1.0)}  # another actor has come
    assert share() == {"environment_share": 0.5}
    times = {0: (1.0, 0.0), 1: (2.0, 1.0)}  # the first was started again
    assert share() == {"environment_share": 1.0}
    assert math.isnan(share()["environment_share"])
