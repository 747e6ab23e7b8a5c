"""Lockstep: a run that was cut goes on to the bits of one that was not."""

from __future__ import annotations

import dataclasses
import functools

import pytest

from configs import atari, catch, control, realworld
from launch import local, lockstep
from stac.config import BatchConfig
from stac.runtime import assembly, checkpoints, leaves, queues, shutdown

UPDATES = 3  # before the cut, and after


def small(config, actors=2, envs=3, batch=4):
    """Little of everything, and a batch that is not a whole number of unrolls."""
    overlap = 2 if config.network.lstm_size else 0
    return dataclasses.replace(
        config,
        network=dataclasses.replace(
            config.network,
            mlp_hiddens=(8,),
            head_hidden=8,
            lstm_size=4 * (config.network.lstm_size > 0),
        ),
        batch=BatchConfig(batch_size=batch, unroll_length=8, overlap=overlap),
        runtime=dataclasses.replace(
            config.runtime,
            name="lockstep",
            num_actors=actors,
            envs_per_actor=envs,
            queue_capacity=batch,
        ),
        total_frames=10**6,
    )


class Few:
    """A feed that ends after so many batches."""

    def __init__(self, feed, count):
        self._feed, self._left = feed, count

    def next(self):
        if not self._left:
            raise queues.Closed
        self._left -= 1
        return self._feed.next()

    def ready(self):
        return self._feed.ready()

    def size(self):
        return self._feed.size()


def run(config, workdir, updates, part=None):
    """Makes so many updates, or what `part` does; returns the newest state's digest."""
    stop = shutdown.Stop()
    parts = local._Parts.build(config, stop)
    build = functools.partial(parts.actor, config)
    turns = lockstep.Turns(config, build, parts.store, stop)
    frames = parts.spec.frames_per_step
    with assembly.open_learner(
        config, frames, parts.devices, workdir, parts.store.publish, turns.snapshot
    ) as learner:
        turns.begin(learner.updates, learner.acting)
        try:
            if part is None:
                learner.run(Few(turns, updates), stop)
            else:
                part(learner, turns, stop)
        finally:
            turns.end()
    saved = checkpoints.Checkpoints(workdir / "checkpoints", 3)
    newest = saved.latest(parts.devices.init(0))
    saved.close()
    return newest.step, leaves.digest(newest.state)


CONFIGS = {
    "catch": lambda: catch.config(agent="stacx"),
    "atari": lambda: atari.config(game="pong", agent="stac", network="shallow"),
    "control": lambda: control.config(task="cartpole.balance", agent="stacx"),
    "realworld": lambda: realworld.config(
        task="cartpole.swingup", agent="impala", challenge="hard"
    ),
}


@pytest.mark.parametrize("domain", CONFIGS)
def test_k_updates_and_k_after_a_resume_are_2k_updates_bit_for_bit(domain, tmp_path):
    config = small(CONFIGS[domain]())
    whole = run(config, tmp_path / "whole", 2 * UPDATES)
    step, _ = run(config, tmp_path / "cut", UPDATES)
    assert step == UPDATES
    assert run(config, tmp_path / "cut", UPDATES) == whole
    assert whole[0] == 2 * UPDATES


def test_a_save_while_an_update_is_under_way_puts_its_batch_back(tmp_path):
    config = small(catch.config(agent="stac"))
    whole = run(config, tmp_path / "whole", 2 * UPDATES)

    def left_where_it_is(learner, turns, stop):
        for _ in range(UPDATES):
            learner.step(turns.next())
            learner.settle()
        learner.step(turns.next())  # not finished
        assert learner.save()

    step, _ = run(config, tmp_path / "cut", 0, left_where_it_is)
    assert step == UPDATES
    assert run(config, tmp_path / "cut", UPDATES) == whole


def test_a_stop_in_the_middle_of_a_batch_loses_no_unroll(tmp_path, monkeypatch):
    config = small(catch.config(agent="stac"))
    whole = run(config, tmp_path / "whole", UPDATES)

    def stopped(learner, turns, stop):
        unroll = turns._actors[0].actor.unroll

        def asked_meanwhile(*newest):
            experience = unroll(*newest)
            stop.set()
            return experience

        turns._actors[0].actor.unroll = asked_meanwhile
        learner.run(turns, stop)

    step, _ = run(config, tmp_path / "cut", 0, stopped)
    assert step == 0
    assert run(config, tmp_path / "cut", UPDATES) == whole


def test_another_number_of_actors_begins_new_episodes_and_says_so(tmp_path, capsys):
    config = small(catch.config(agent="stac"))
    run(config, tmp_path, UPDATES)
    other = small(catch.config(agent="stac"), actors=1)
    assert run(other, tmp_path, 1)[0] == UPDATES + 1
    said = capsys.readouterr().err
    assert "episodes begin anew: a snapshot of '1 actors in turn" in said
    assert "Traceback" not in said
