"""Snapshots: what was restored gives the rows of what went on, bit for bit."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from stac import config, snapshots
from stac.configs import realworld as numbers
from stac.environments import base, catch, gymnasium, make, rendering
from stac.environments.vector import batched
from tests.environments import snapshotting
from tests.environments.vector import scripted

LENGTHS = (3, 5)  # a true end after 3 steps, then a time limit after 5, and again


def scripted_ones(way: str = "serial", num_envs: int = 5, cores: int = 2, **named: Any):
    """Builds environments of which the first episodes of some are cut."""
    made = functools.partial(scripted.make, named.pop("lengths", LENGTHS))
    named = {"stagger_steps": 4, "seed": 1} | named
    return functools.partial(
        batched.Batched, made, range(num_envs), workers=way, cores=cores, **named
    )


def configured(domain: str, num_envs: int = 2, **environment: Any):
    """Builds the environments of a configuration, in the caller's thread."""
    chosen = {"workers": "serial", "domain": domain} | environment
    whole = config.Config(environment=config.EnvironmentConfig(**chosen))
    return functools.partial(make.factory(whole), 3, num_envs)


@pytest.mark.parametrize("task", catch.TASKS)
def test_catch_goes_on_from_every_row(task):
    build = functools.partial(catch.Catch, task, 1, 3)
    alone = snapshotting.assert_exact(build, 24, range(25))
    assert sum(row.last.sum() for row in alone) >= 6


def test_environments_go_on_from_every_row_cut_or_not():
    alone = snapshotting.assert_exact(scripted_ones(), 16, range(17))
    first = np.stack([row.last for row in alone]).argmax(axis=0)
    assert len(set(first)) > 1  # some were cut
    assert max(first) == 3


def test_a_reset_after_a_snapshot_cuts_what_was_not_cut():
    build = scripted_ones(lengths=(30,), stagger_steps=25, num_envs=16)
    whole = build()
    whole.reset()
    snapshot = whole.snapshot()
    again = build()
    again.restore(snapshot)
    seen = snapshotting.assert_same_rows(whole, again, 40)
    assert [row.reward.max() for row in seen if row.last.any()] == [30]


@pytest.mark.parametrize(
    ("here", "there"), [("serial", "processes"), ("processes", "serial")]
)
def test_it_does_not_matter_who_stepped_and_who_will(here, there):
    snapshotting.assert_exact(
        scripted_ones(here), 12, [0, 4], scripted_ones(there, cores=3)
    )


def test_the_physics_goes_on_in_another_process():
    here, there = (
        configured("control", task="walker.walk", workers=way, threads=2)
        for way in ("processes", "serial")
    )
    snapshotting.assert_exact(here, 40, [25], there)


@pytest.mark.parametrize(
    "task", ["humanoid.run", "manipulator.bring_ball", "reacher.hard"]
)
def test_the_control_suite_goes_on(task):
    snapshotting.assert_exact(configured("control", task=task), 60, [1, 30])


def test_the_control_suite_goes_on_into_the_next_episodes():
    build = configured("control", task="cartpole.swingup")
    alone = snapshotting.assert_exact(build, 1500, [700])
    assert sum(row.last for row in alone[700:]).min() >= 1


@pytest.mark.parametrize("name", ["Counting", "Adapting"])
def test_gymnasiums_go_on_from_every_row(name):
    own = functools.partial(
        gymnasium.Gymnasium, f"tests.environments.own_environments:{name}-v3", 1, 3
    )
    alone = snapshotting.assert_exact(own, 16, range(17))
    assert sum(row.last.sum() for row in alone) >= 6


@pytest.mark.parametrize("task", ["CartPole-v1", "Hopper-v4", "Humanoid-v4"])
def test_gymnasiums_go_on_in_another_process(task):
    here, there = (
        functools.partial(gymnasium.Gymnasium, task, 3, 2, workers=way, cores=2)
        for way in ("processes", "serial")
    )
    alone = snapshotting.assert_exact(here, 120, [0, 1, 70], there)
    assert sum(row.last for row in alone[70:]).min() >= 1


def challenged(domain: str, **changes: Any) -> Any:
    """All combined challenges "hard", and those that no combination has."""
    return dataclasses.replace(
        numbers.challenges(domain, "hard"),
        action_dropped=0.1,
        action_stuck=0.1,
        safety=True,
        safety_observed=True,
        safety_action_change=True,
        multi_objective=True,
        multi_objective_observed=True,
        **changes,
    )


@pytest.mark.parametrize("task", ["quadruped.walk", "walker.walk", "humanoid.walk"])
def test_every_challenge_goes_on(task):
    challenges = challenged(task.split(".")[0])
    build = configured("realworld", task=task, challenges=challenges)
    snapshotting.assert_exact(build, 60, [1, 45])


@pytest.mark.parametrize(
    ("buffers", "scheduler"), [("faithful", "uniform"), ("reset", "saw_wave")]
)
def test_perturbations_and_buffers_go_on_into_the_next_episodes(
    monkeypatch, buffers, scheduler
):
    task = "cartpole.swingup"
    rendering.suite(renders=False)
    from stac.environments.realworld import tasks

    monkeypatch.setattr(tasks, "STEPS", 100)
    challenges = challenged(
        "cartpole",
        buffers=buffers,
        perturbation_scheduler=scheduler,
        perturbation_period=2,
    )
    build = configured("realworld", task=task, challenges=challenges, stagger=False)
    alone = snapshotting.assert_exact(build, 550, [150, 250])
    assert sum(row.last for row in alone).tolist() == [5, 5]


@pytest.mark.parametrize("way", ["serial", "processes"])
def test_other_environments_are_refused_and_nothing_has_changed(way):
    build = scripted_ones(way, num_envs=3)
    others = [
        scripted_ones(num_envs=2),
        functools.partial(batched.Batched, scripted.make_picture, range(3)),
        functools.partial(catch.Catch, "features", 1, 3),
    ]
    snapshotting.assert_refused_unchanged(build, others)


def test_other_games_of_catch_are_refused_and_nothing_has_changed():
    others = [
        functools.partial(catch.Catch, "features", 1, 4),
        functools.partial(catch.Catch, "cut", 1, 3),
    ]
    snapshotting.assert_refused_unchanged(
        functools.partial(catch.Catch, "features", 1, 3), others
    )


def test_where_one_environment_cannot_be_read_none_is_restored():
    build = scripted_ones(num_envs=3)
    made = build()
    made.reset()
    states = snapshots.unpack(made._title(), made.snapshot())
    made.close()
    refusing = build()
    for spoilt in (b"no archive", states[-1][:-20]):
        snapshot = snapshots.pack(refusing._title(), [*states[:-1], spoilt])
        with pytest.raises(ValueError, match="decompress"):
            refusing.restore(snapshot)
    snapshotting.assert_same_rows(refusing, build())


def test_one_changed_bit_is_noticed():
    whole = snapshots.pack("numbers", np.zeros(100))
    assert not snapshots.unpack("numbers", whole).any()
    where = whole.index(bytes(100)) + 50
    changed = whole[:where] + b"\x01" + whole[where + 1 :]
    with pytest.raises(ValueError, match=r"'numbers .* is damaged"):
        snapshots.unpack("numbers", changed)


def test_a_class_that_is_gone_is_said_in_one_line():
    body = b"cstac.environments.catch\nGone\n."
    with pytest.raises(ValueError, match=r"cannot be read: AttributeError: .*Gone"):
        snapshots.load(body)


def test_restored_environments_are_closed_once_and_so_are_those_they_replaced(
    monkeypatch,
):
    closed: list[Any] = []
    monkeypatch.setattr(scripted.Scripted, "close", lambda self: closed.append(self))
    made = scripted_ones(num_envs=2)()
    made.reset()
    made.restore(made.snapshot())
    assert len(closed) == 2
    made.close()
    assert len({id(one) for one in closed}) == len(closed) == 4


def test_closed_environments_have_no_snapshot():
    made: base.BatchedEnvironment = scripted_ones()()
    made.close()
    with pytest.raises(RuntimeError, match="closed"):
        made.snapshot()
