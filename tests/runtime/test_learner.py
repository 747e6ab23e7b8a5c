"""The learner: what is published, logged and saved, when, and with which numbers."""

from __future__ import annotations

import threading

import jax
import numpy as np
import pytest

from stac.runtime import devices, learner
from stac.runtime.faults import shutdown
from stac.runtime.queues.base import Closed
from stac.runtime.storage import checkpoints
from tests.runtime import fakes
from tests.runtime.experiences import Doing, numbered
from tests.runtime.fakes import Batches, Clock

FRAMES = 10  # per update


class Records:
    """Outlets that write down what they get."""

    def __init__(self) -> None:
        self.published, self.saved, self.rows, self.lines = [], [], [], []

    def outlets(self):
        return learner.Outlets(
            publish=lambda version, params: self.published.append((version, params)),
            save=lambda *saved: self.saved.append(saved),
            logger=self,
            status=self.lines.append,
            note=self.lines.append,
        )

    def write(self, values):
        self.rows.append(dict(values))


class Run:
    """A learner with its clock and records."""

    def __init__(
        self,
        total=10**6,
        log=1e9,
        save=1e9,
        state=None,
        counters=None,
        agent=None,
        share=0.1,
    ):
        self.clock, self.records = Clock(), Records()
        self.devices = devices.LearnerDevices(
            agent or fakes.counting_agent(FRAMES), jax.local_devices()[:1]
        )
        self.learner = learner.Learner(
            self.devices,
            fakes.checkpoint(state, counters),
            fakes.cadence(total, log, save, share),
            self.records.outlets(),
            self.clock,
        )

    def run(self, count, stop=None, **keywords):
        feed = Batches([1.0] * count, self.clock, **keywords)
        self.learner.run(feed, stop or shutdown.Stop())
        return feed


def test_parameters_are_published_at_once_and_after_every_update_in_order():
    run = Run()
    run.run(3)
    versions = [version for version, _ in run.records.published]
    assert versions == [0, 1, 2, 3]
    # A batch of 4 x 2 rewards of 1 adds 8 to the fake's parameter.
    assert [float(p["b"]) for _, p in run.records.published] == [0, 8, 16, 24]
    assert all(list(params) == ["b"] for _, params in run.records.published)


def test_an_update_is_published_before_the_learner_waits_for_data():
    run = Run()
    published_when_asked = []

    class Slow(Batches):
        def next(self):
            published_when_asked.append(len(run.records.published))
            return super().next()

    feed = Slow([1.0] * 3, run.clock)
    feed.always_ready = False
    run.learner.run(feed, shutdown.Stop())
    assert published_when_asked == [1, 2, 3, 4]


def test_with_an_example_the_update_is_compiled_before_the_first_batch_is_asked_for():
    run = Run()
    compiled = []

    class First(Batches):
        def next(self):
            compiled.append(run.devices.compiled)
            return super().next()

    example = jax.tree.map(np.zeros_like, numbered(range(4)).trajectory)
    run.learner.run(First([1.0] * 2, run.clock), shutdown.Stop(), example=example)
    assert compiled == [True, True, True]
    assert run.records.lines == [
        "compiling the update",
        "waiting for the actors",
        "making the first update",
    ]
    assert [float(p["b"]) for _, p in run.records.published] == [0, 8, 16]


def test_while_batches_are_ready_one_update_stays_in_flight():
    run = Run()
    for published in (1, 2, 3):  # the first state; then one behind
        run.learner.step(numbered(range(4)))
        assert len(run.records.published) == published
    run.learner.settle()
    assert len(run.records.published) == 4


def test_a_run_ends_at_its_frames_and_saves_the_state_it_ends_with():
    run = Run(total=45)
    feed = run.run(100)
    assert feed.left == 95
    (step, state, counters), *more = run.records.saved
    assert (step, more) == (5, [])
    assert int(state.updates) == run.learner.frames / FRAMES == 5
    assert float(state.params["b"]) == 40
    assert counters["episodes"] == 0


def test_a_stop_ends_the_run_and_saves():
    run = Run()
    stop = shutdown.Stop()
    stop.set()
    assert run.run(5, stop).left == 5
    assert [saved[0] for saved in run.records.saved] == [0]


@pytest.mark.faults
def test_an_error_in_the_feed_is_raised_after_saving():
    run = Run()
    with pytest.raises(OSError, match="no more"):
        run.run(2, error=OSError("no more"))
    assert [saved[0] for saved in run.records.saved] == [2]


@pytest.mark.faults
def test_an_update_that_fails_costs_no_finished_one(monkeypatch):
    run = Run()
    fetch, fetched = run.learner._devices.actor_params, []

    def fails_at_the_third(states):
        fetched.append(states)
        if len(fetched) >= 3:
            raise RuntimeError("device lost")
        return fetch(states)

    monkeypatch.setattr(run.learner._devices, "actor_params", fails_at_the_third)
    with pytest.raises(RuntimeError, match="device lost"):
        run.run(5)
    assert [number for number, *_ in run.records.saved] == [2]


def test_a_checkpoint_is_written_when_it_is_time_and_not_twice():
    run = Run(save=10)
    run.run(8, seconds=3)
    # An update is finished one batch after its own: 4 is when batch 5 came, at 15 s.
    assert [saved[0] for saved in run.records.saved] == [3, 7, 8]
    run.learner.save()
    assert len(run.records.saved) == 3


def test_a_continued_run_counts_on_from_its_checkpoint():
    state = fakes.learner_state()._replace(updates=np.int32(7))
    before = {"seconds": 100.0, "episodes": 5, "recent_returns": [1.5]}
    run = Run(total=90, state=state, counters=before)
    assert [version for version, _ in run.records.published] == [7]
    run.run(9, seconds=2)
    step, state, counters = run.records.saved[-1]
    assert (step, int(state.updates), run.learner.frames) == (9, 9, 90)
    assert counters == {
        "seconds": 104.0,
        "episodes": 5,
        "recent_returns": [1.5],
        "actor_restarts": 0,
        "skipped_updates": 0,
        "diverged_simulations": 0,
    }


def test_a_finished_run_that_is_continued_learns_and_writes_nothing():
    state = fakes.learner_state()._replace(updates=np.int32(9))
    run = Run(total=90, state=state, counters={"seconds": 1.0, "episodes": 5})
    assert run.run(9).left == 9
    assert run.records.saved == run.records.rows == []


@pytest.mark.faults
def test_another_thread_can_save_the_finished_state_while_the_next_is_awaited():
    run = Run()
    run.learner.step(numbered(range(4)))
    run.learner.settle()
    waiting = threading.Event()

    class Stuck(Batches):
        def next(self):
            waiting.wait()
            raise Closed

    running = Doing(run.learner.run, Stuck([1.0], run.clock), shutdown.Stop())
    Doing(run.learner.save).result()
    assert [saved[0] for saved in run.records.saved] == [1]
    waiting.set()
    running.result()


@pytest.mark.faults
def test_a_save_that_another_thread_keeps_waiting_says_so(monkeypatch):
    monkeypatch.setattr(learner, "_SAVE_LOCK_SECONDS", 0.05)
    run = Run()
    run.learner.step(numbered(range(4)))
    run.learner.settle()
    assert run.learner.saved is None
    with run.learner._saving:
        assert Doing(run.learner.save).result() is False
    assert Doing(run.learner.save).result() is True
    assert run.learner.saved == 1


class FailingDisk:
    """Refuses saves while it is full."""

    def __init__(self, run):
        self.full, self.tried = True, []
        self._save = run.learner._outlets.save
        run.learner._outlets = run.learner._outlets._replace(save=self.save)

    def save(self, updates, *rest):
        self.tried.append(updates)
        if self.full:
            raise checkpoints.NotSaved("No space left on device")
        self._save(updates, *rest)


@pytest.mark.faults
def test_a_save_that_fails_is_told_counted_and_tried_again_when_the_next_is_due():
    run = Run(save=10, log=1)
    disk = FailingDisk(run)

    class Room(Batches):
        def next(self):
            disk.full = len(disk.tried) < 2
            return super().next()

    run.learner.run(Room([1.0] * 13, run.clock, seconds=3), shutdown.Stop())
    assert disk.tried == [3, 7, 11, 13], "not at each update"
    assert [saved[0] for saved in run.records.saved] == [11, 13]
    assert [line for line in run.records.lines if "sav" in line.lower()] == [
        "CHECKPOINT NOT SAVED: update 3 is not saved: No space left on device; there is"
        " no checkpoint; training goes on",
        "CHECKPOINT NOT SAVED: update 7 is not saved: No space left on device; there is"
        " no checkpoint; training goes on",
        "saving works again: update 11",
    ]
    counts = {row["updates"]: row["failed_saves"] for row in run.records.rows}
    assert [counts[3], counts[4], counts[7], counts[8], counts[13]] == [0, 1, 1, 2, 2]


@pytest.mark.faults
def test_a_run_whose_last_state_cannot_be_saved_ends_with_that_error():
    state = fakes.learner_state()._replace(updates=np.int32(1207))
    run = Run(state=state, counters={"seconds": 1.0})
    FailingDisk(run)
    with pytest.raises(checkpoints.NotSaved) as error:
        run.run(2)
    assert str(error.value) == (
        "update 1,209 is not saved: No space left on device;"
        " the newest checkpoint is of update 1,207"
    )
    assert "training goes on" not in run.records.lines[-1]
    assert run.learner.saved == 1207
    assert run.learner.save() is False


@pytest.mark.faults
def test_another_error_is_not_hidden_by_a_save_that_fails_too():
    run = Run()
    FailingDisk(run)
    with pytest.raises(OSError, match="no more"):
        run.run(2, error=OSError("no more"))
    assert run.records.lines[-1].startswith("CHECKPOINT NOT SAVED: update 2 is not")


def test_rows_come_at_once_then_at_their_cadence_and_at_the_end():
    run = Run(log=5)
    run.run(6, seconds=2)
    assert [row["updates"] for row in run.records.rows] == [1, 4, 6]
    assert run.records.lines == ["compiling the update"]


def test_a_row_holds_the_updates_metrics_beside_what_is_counted():
    run = Run(log=4)
    run.run(6, seconds=2)
    row = run.records.rows[1]
    assert row["added"] == 8
    assert row["frames"] == 30
    assert row["queue_size"] == 17
    assert np.isnan(row["episode_return"])


def test_frames_per_second_measures_from_row_to_row():
    run = Run(log=4)
    run.run(7, seconds=2)
    rates = [row["frames_per_second"] for row in run.records.rows]
    assert np.isnan(rates[0])
    assert rates[1:3] == [5.0, 5.0]
