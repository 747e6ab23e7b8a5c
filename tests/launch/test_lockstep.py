"""Lockstep: a run that was cut goes on to the bits of one that was not."""

from __future__ import annotations

import functools
import threading

import pytest

from stac.config import changed
from stac.configs import atari, catch, control, mujoco, realworld
from stac.environments import catch as games
from stac.launch import lockstep, replays, threads
from stac.runtime import assembly
from stac.runtime.faults import restarts, shutdown
from stac.runtime.queues.base import Closed
from tests.launch import endings

pytestmark = pytest.mark.faults

UPDATES = 4  # before the cut, and after; trajectories wait at both


def small(config, actors=2, envs=3, batch=4):
    """Little of everything, and a batch that is not a whole number of unrolls."""
    few = {
        "network.mlp_hiddens": (8,),
        "network.head_hidden": 8,
        "network.lstm_size": 4 * (config.network.lstm_size > 0),
        "batch.batch_size": batch,
        "batch.unroll_length": 8,
        "batch.overlap": 2 if config.network.lstm_size else 0,
        "runtime.name": "lockstep",
        "runtime.num_actors": actors,
        "runtime.envs_per_actor": envs,
        "runtime.queue_capacity": batch,
        "total_frames": 10**6,
    }
    return changed(config, few)


def off_policy():
    """A soft actor-critic with a replay that is full after two updates."""
    few = {
        "agent.soft.minibatch": 8,
        "agent.soft.first_steps": 30,
        "agent.soft.replay_capacity": 60,
        "batch.overlap": 1,
    }
    return changed(small(mujoco.config(env="Hopper-v4", agent="meta_sac")), few)


class Few:
    """A feed that ends after so many batches."""

    def __init__(self, feed, count):
        self._feed, self._left = feed, count

    def next(self):
        if not self._left:
            raise Closed
        self._left -= 1
        return self._feed.next()

    def ready(self):
        return self._feed.ready()

    def size(self):
        return self._feed.size()

    def close(self):
        self._feed.close()


@functools.cache
def built(config):
    """What is compiled, which knows nothing of a run: once for each configuration."""
    parts = threads.Parts.build(config, shutdown.Stop())
    return {"agent": parts.agent, "devices": parts.devices}


def run(config, workdir, updates, part=None):
    """Makes so many updates, or what `part` does; returns what is saved at last."""
    stop = shutdown.Stop()
    parts = threads.Parts.build(config, stop)._replace(**built(config))
    turns = lockstep.Turns(config, parts.actor, parts.parameters, stop, parts.replay)
    with assembly.open_learner(
        config,
        parts.devices,
        workdir,
        parts.store.publish,
        stop,
        turns.snapshot,
    ) as learner:
        replays.resume(parts.replay, learner)
        turns.begin(learner.updates, learner.acting)
        try:
            if part is None:
                learner.run(Few(turns, updates), stop, turns.restarts)
            else:
                part(learner, turns, stop)
        finally:
            turns.end()
    return endings.of(workdir)


CONFIGS = {
    "catch": lambda: catch.config(agent="stacx"),
    "atari": lambda: atari.config(game="pong", agent="stac", network="shallow"),
    "control": lambda: control.config(task="cartpole.balance", agent="stacx"),
    "realworld": lambda: realworld.config(
        task="cartpole.swingup", agent="impala", challenge="hard"
    ),
    "soft": off_policy,
}


@pytest.mark.parametrize(
    "domain",
    [
        *("catch", "atari", "realworld", "soft"),
        pytest.param("control", marks=pytest.mark.slow),  # a part of realworld's
    ],
)
def test_k_updates_and_k_after_a_resume_are_2k_updates_bit_for_bit(domain, tmp_path):
    config = CONFIGS[domain]()
    config = config if domain == "soft" else small(config)
    whole = run(config, tmp_path / "whole", 2 * UPDATES)
    assert run(config, tmp_path / "cut", UPDATES).step == UPDATES
    assert run(config, tmp_path / "cut", UPDATES) == whole
    assert whole.step == 2 * UPDATES
    assert whole.acting.keys() == {
        "turns",
        "actor_0",
        "actor_0's games",
        "actor_1",
        "actor_1's games",
    } | ({"replay"} if domain == "soft" else set())
    short = domain in ("catch", "soft")  # the others' episodes are longer than this run
    assert (whole.counters["episodes"] > 0) == short


def test_a_run_of_environments_without_snapshots_goes_on_with_new_episodes(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.delattr(games.Catch, "snapshot")
    monkeypatch.delattr(games.Catch, "restore")
    config = small(catch.config(agent="impala"))
    assert run(config, tmp_path, UPDATES).acting.keys() == {"turns"}
    assert "anew" not in capsys.readouterr().err
    built = []

    def part(learner, turns, stop):
        assert all(turns._actors), "none counts as failed"
        built.extend(turns._actors)
        learner.run(Few(turns, UPDATES), stop)

    assert run(config, tmp_path, 0, part).step == 2 * UPDATES
    line = "episodes begin anew: features takes no snapshots"
    assert capsys.readouterr().err.count(line) == 1
    assert len(built) == 2


def test_restarts_before_the_cut_are_part_of_what_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.01)
    config = small(catch.config(agent="stac"))

    def one_fails(updates, learner, turns, stop):
        turns.end()
        turns._build = Failing(turns._build, unrolls=(3,))
        turns.begin(0, {})
        learner.run(Few(turns, updates), stop, turns.restarts)

    before, all_of_it = (
        functools.partial(one_fails, updates) for updates in (UPDATES, 2 * UPDATES)
    )
    whole = run(config, tmp_path / "whole", 0, all_of_it)
    assert whole.counters["actor_restarts"] == 1
    run(config, tmp_path / "cut", 0, before)
    assert run(config, tmp_path / "cut", UPDATES) == whole


def test_a_save_while_an_update_is_under_way_gives_its_batch_again(tmp_path):
    config = off_policy()
    whole = run(config, tmp_path / "whole", 2 * UPDATES)

    def left_where_it_is(learner, turns, stop):
        for _ in range(UPDATES):
            learner.step(turns.next())
            learner.settle()
        learner.step(turns.next())  # not finished
        assert learner.save()

    assert run(config, tmp_path / "cut", 0, left_where_it_is).step == UPDATES
    assert run(config, tmp_path / "cut", UPDATES) == whole


def test_a_stop_in_the_middle_of_a_batch_loses_no_unroll(tmp_path, monkeypatch):
    config = small(catch.config(agent="stac"))
    whole = run(config, tmp_path / "whole", UPDATES)

    def stopped(learner, turns, stop):
        unroll = turns._actors[0].unroll

        def asked_meanwhile(*newest):
            experience = unroll(*newest)
            stop.set()
            return experience

        turns._actors[0].unroll = asked_meanwhile
        learner.run(turns, stop)

    assert run(config, tmp_path / "cut", 0, stopped).step == 0
    assert run(config, tmp_path / "cut", UPDATES) == whole


def test_another_number_of_actors_begins_new_episodes_and_says_so(tmp_path, capsys):
    config = small(catch.config(agent="stac"))
    run(config, tmp_path, UPDATES)
    other = small(catch.config(agent="stac"), actors=1)
    assert run(other, tmp_path, 1).step == UPDATES + 1
    said = capsys.readouterr().err
    assert "episodes begin anew: a snapshot of '1 actors in turn" in said
    assert "Traceback" not in said


class Failing:
    """Builds actors; some unrolls, and some builds, raise."""

    def __init__(self, build, unrolls=(), builds=(), then=lambda: None):
        self._build, self._bad_unrolls, self._bad_builds = build, unrolls, builds
        self._then = then  # called as one raises
        self.unrolls = self.builds = 0

    def __call__(self, *arguments):
        self.builds += 1
        if self.builds in self._bad_builds:
            raise OSError("no game")
        made = self._build(*arguments)
        unroll = made.unroll

        def count(*newest):
            self.unrolls += 1
            experience = unroll(*newest)
            if self.unrolls in self._bad_unrolls:
                self._then()
                raise OSError("the game crashed")
            return experience

        made.unroll = count
        return made


def test_an_actor_that_fails_and_cannot_be_built_at_once_is_built_later(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.01)
    config = small(catch.config(agent="stac"))

    def some_fail(learner, turns, stop):
        turns.end()
        turns._build = Failing(turns._build, unrolls=(3,), builds=(3, 4))
        turns.begin(0, {})
        learner.run(Few(turns, UPDATES), stop)
        assert turns.restarts() == 3
        assert turns._build.builds == 5

    assert run(config, tmp_path, 0, some_fail).step == UPDATES
    said = capsys.readouterr().err
    assert said.count("failed: OSError: no game") == 2
    assert said.count("failed: OSError: the game crashed") == 1


def test_an_actor_that_failed_is_not_in_a_checkpoint_and_the_others_are(
    tmp_path, capsys
):
    config = small(catch.config(agent="stac"))

    def stopped_in_the_pause(learner, turns, stop):
        turns.end()
        soon = threading.Timer(0.2, stop.set)  # the pause is a second
        turns._build = Failing(turns._build, unrolls=(3,), then=soon.start)
        turns.begin(0, {})
        learner.run(turns, stop)
        assert turns.snapshot(learner.updates).keys() == {"turns", "actor_1"}

    def continued(learner, turns, stop):
        assert [one is None for one in turns._actors] == [True, False]
        build, built = turns._build, []
        turns._build = lambda *given: built.append(given) or build(*given)
        learner.run(Few(turns, UPDATES), stop)
        assert built == [(0, 0, 1)], "as the run that was not cut would have"

    step = run(config, tmp_path, 0, stopped_in_the_pause).step
    assert run(config, tmp_path, 0, continued).step == step + UPDATES
    assert "anew" not in capsys.readouterr().err


def test_a_batch_that_is_put_back_is_not_counted_twice(tmp_path):
    config = small(catch.config(agent="impala"))
    counted = []

    def part(learner, turns, stop):
        def count():
            counted.append(learner._statistics.counters()["episodes"])

        for _ in range(3 * UPDATES):
            learner.step(turns.next())
            learner.settle()
        count()
        learner.step(turns.next())
        learner.step(turns.next())
        count()
        assert learner.save()
        learner.settle()
        count()

    run(config, tmp_path, 0, part)
    one, two, three = counted
    assert 0 < one < two < three
    assert three - one < 3 * (two - one)  # one batch, and one more


def test_of_a_snapshot_that_cannot_be_restored_nothing_stays(tmp_path, capsys):
    config = small(catch.config(agent="impala"))

    def part(learner, turns, stop):
        turns._restarts[0].total = 7
        learner.run(Few(turns, 1), stop)
        taken = turns.snapshot(1)
        assert turns._turn == 0
        assert turns.restarts() == 7
        turns._turn = 1
        other = turns.snapshot(1)
        for one in turns._restarts:
            one.total = 0
        turns._turn = 0
        turns.end()
        turns.begin(1, other | {"actor_1": taken["actor_1"][:-9]})
        assert turns._turn == 0
        assert turns.restarts() == 0

    run(config, tmp_path, 0, part)
    assert "episodes begin anew: the snapshot of" in capsys.readouterr().err
