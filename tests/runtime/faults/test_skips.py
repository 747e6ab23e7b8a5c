"""Batches that are passed over: told, counted, and too many of them."""

from __future__ import annotations

import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest

from stac.runtime.faults import shutdown, skips
from tests.runtime import fakes
from tests.runtime.experiences import numbered
from tests.runtime.test_learner import Run

pytestmark = pytest.mark.faults

FRAMES = 10


def report(actors=(0, 3, 0), versions=(117, 121, 120)):
    experience = numbered(range(len(actors)))
    return experience.report._replace(
        actor=np.array(actors), parameter_version=np.array(versions)
    )


def add(watch, number, skipped):
    watch.count(skipped)
    if skipped:
        watch.tell(number, report())


def test_a_batch_that_is_passed_over_is_named_by_its_actors_and_parameters():
    lines: list[str] = []
    watch = skips.Skips(0.1, lines.append)
    add(watch, 122, False)
    add(watch, 1123, True)
    assert lines == [
        "update 1,123: a loss or a gradient is not finite; its batch is passed over"
        " (3 trajectories of actors 0, 3; parameters of updates 117 to 121)"
    ]
    assert watch.total == 1


def test_a_batch_that_was_drawn_from_a_replay_is_no_actors():
    lines: list[str] = []
    watch = skips.Skips(0.0, lines.append, replay=True)
    with pytest.raises(skips.NotFinite) as error:
        add(watch, 7, True)
    for line in (*lines, str(error.value)):
        assert "transitions that were drawn from the replay" in line
        assert "actors" not in line


def test_the_share_of_the_last_hundred_decides():
    watch = skips.Skips(0.1, lambda line: None)
    numbers = itertools.count(1)
    for _ in range(10):  # 10 of any 100, for a long time
        for skipped in [True] + 9 * [False]:
            add(watch, next(numbers), skipped)
    add(watch, next(numbers), True)  # the oldest of ten leaves
    with pytest.raises(skips.NotFinite, match="11 of the last 100 updates met a loss"):
        add(watch, next(numbers), True)
    assert watch.total == 12


@pytest.mark.parametrize(("share", "allowed"), [(0.0, 0), (0.02, 2), (0.29, 29)])
def test_a_run_that_begins_badly_is_stopped_when_more_than_the_share_are_bad(
    share, allowed
):
    watch = skips.Skips(share, lambda line: None)
    for number in range(allowed):
        add(watch, number, True)
    with pytest.raises(skips.NotFinite, match=f"{allowed + 1} of the last"):
        add(watch, 9, True)


def skipping_agent():
    """As the real ones: where a reward is no number, all that is learned stays."""
    counting = fakes.counting_agent(FRAMES)

    def update(state, trajectory, all_sum):
        new, metrics = counting.update(state, trajectory, all_sum)
        skipped = jnp.isnan(metrics["added"])
        params = {"b": jnp.where(skipped, state.params["b"], new.params["b"])}
        kept = new._replace(params={**params, "unused": new.params["unused"]})
        limit = metrics["added"] > 20.0
        return kept, {
            "skipped": 1.0 * skipped,
            "saturated/g_v/head_2": 1.0 * limit,
            "hyperparameters/g_v/head_2": jnp.float32(0.249989),
        }

    return counting._replace(update=update)


def learned_from(rewards, share=0.1):
    """(rows, lines, what was saved) after batches with these rewards."""
    counters = {"skipped_updates": 5, "seconds": 0.0}
    run = Run(log=0.5, counters=counters, agent=skipping_agent(), share=share)
    records = run.records
    try:
        run.learner.run(fakes.Batches(rewards, run.clock, 1.0), shutdown.Stop())
    except skips.NotFinite as error:
        records.lines.append(str(error))
    return records.rows, records.lines, records.saved


def test_skipped_updates_are_counted_over_the_whole_run():
    rows, lines, saved = learned_from([1.0, np.nan, 1.0])
    assert [row["skipped_updates"] for row in rows] == [5, 6, 6]
    assert len([line for line in lines if "update 2: a loss or" in line]) == 1
    (number, state, counters) = saved[-1]
    assert (number, float(state.params["b"])) == (3, 16.0)
    assert counters["skipped_updates"] == 6


def test_too_many_stop_the_run_with_the_last_good_state_saved():
    _, lines, saved = learned_from([1.0, np.nan, np.nan, 1.0], share=0.01)
    assert re.match(r"2 of the last 3 updates met .* stopped", lines[-1])
    number, state, _ = saved[-1]
    assert (number, float(state.params["b"])) in [(3, 8.0), (4, 16.0)]


def test_a_metaparameter_is_told_each_time_it_comes_to_its_limit():
    _, lines, _ = learned_from([1.0, 9.0, 9.0, 1.0, 9.0])
    line = "g_v of head 2 is at the end of its range: 0.249989"
    assert [one for one in lines if "range" in one] == [line, line]


def test_a_save_at_any_time_has_the_skips_of_its_update():
    """Of a signal's thread, when the update is published and not told of yet."""
    run = Run(agent=skipping_agent(), share=1.0)
    outlets = run.records.outlets()._replace(publish=lambda *_: run.learner.save())
    run.learner._outlets = outlets
    for reward in (1.0, np.nan, np.nan, 1.0):
        run.learner.step(numbered(range(4), reward=reward))
    run.learner.settle()
    saved = run.records.saved
    counted = [(number, counters["skipped_updates"]) for number, _, counters in saved]
    assert counted == [(1, 0), (2, 1), (3, 2), (4, 2)]
