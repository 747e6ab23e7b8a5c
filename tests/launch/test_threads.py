"""Lockstep and threads, whole: they learn, stop, fail and continue as they should."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import socket
import threading
import time
from typing import NamedTuple
from unittest import mock

import jax
import numpy as np
import pytest

from stac import config as configuration
from stac.agents import actor_critic
from stac.configs import catch as numbers
from stac.environments import catch, make
from stac.evaluation import policies
from stac.launch import start, threads
from stac.runtime import devices
from stac.runtime.storage import checkpoints
from tests.launch.runs import rows
from tests.runtime.experiences import digest

BOTH = pytest.mark.parametrize("runtime", ["lockstep", "threads"])
FIRST, ALL = 5, 9  # updates of a run, and of its continuation


def tiny(runtime: str, updates: int, **changes: object) -> configuration.Config:
    """A few updates on catch, small in every respect."""
    few = {
        "agent.self_tuned": "gamma,alpha",
        "network.mlp_hiddens": (8,),
        "network.head_hidden": 8,
        "batch.batch_size": 4,
        "batch.unroll_length": 5,
        "runtime.name": runtime,
        "runtime.num_actors": 2,
        "runtime.envs_per_actor": 3,
        "runtime.queue_capacity": 8,
        "runtime.learner_devices": (0,),
    }
    config = configuration.changed(numbers.config(agent="stac"), few | changes)
    frames = configuration.frames_per_update(config, frames_per_step=1)
    # The learning rate ends where the run does, so the length is part of the bits.
    return dataclasses.replace(config, total_frames=frames * updates)


def with_runtime(config: configuration.Config, **changes: object):
    named = {f"runtime.{name}": value for name, value in changes.items()}
    return configuration.changed(config, named)


def saved(path: pathlib.Path, config: configuration.Config) -> checkpoints.Checkpoint:
    """The newest checkpoint in a workdir."""
    agent = actor_critic.build(config, make.spec(config))
    like = devices.LearnerDevices(agent, jax.local_devices()[:1]).init(0)
    files = checkpoints.Checkpoints(path / "checkpoints", keep=3)
    try:
        return files.latest(like)
    finally:
        files.close()


class Games:
    """Notes who opens and closes games of catch while it is in force."""

    def __init__(self) -> None:
        self.opened: list[tuple[int, int]] = []  # (seed, num_envs)
        self.closed = 0
        self._init = catch.Catch.__init__

    def __enter__(self) -> Games:
        games, build = self, self._init

        def init(self, task, seed, num_envs):
            games.opened.append((seed, num_envs))
            build(self, task, seed, num_envs)

        def close(self):
            games.closed += 1

        self._patches = mock.patch.multiple(catch.Catch, __init__=init, close=close)
        self._patches.start()
        return self

    def __exit__(self, *_):
        self._patches.stop()


class Runs(NamedTuple):
    """A run of FIRST updates and its continuation to ALL."""

    first: checkpoints.Checkpoint
    then: checkpoints.Checkpoint
    rows: list[dict[str, float]]
    games: Games


@pytest.fixture(scope="module", params=["lockstep", "threads"])
def runs(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    # The runs are so short that an actor which waits for the first would come too late.
    with mock.patch.object(threads, "_AHEAD_SECONDS", 0.0):
        with Games() as games:
            config = tiny(request.param, FIRST)
            threads.run(config, path)
        first = saved(path, config)
        with games:
            config = tiny(request.param, ALL)
            threads.run(config, path)
    return Runs(first, saved(path, config), rows(path), games)


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """What a run saves last; of each configuration there is one run."""

    @functools.cache
    def run(config):
        path = tmp_path_factory.mktemp("run")
        threads.run(config, path)
        return saved(path, config)

    return run


@pytest.fixture(autouse=True)
def _no_thread_stays():
    yield
    ours = ("actor", "feeder", "signals", "terminal")
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(ours)]


def test_a_run_ends_at_its_frames_and_the_same_workdir_continues_it(runs):
    assert (runs.first.step, runs.then.step) == (FIRST, ALL)
    assert int(runs.then.state.updates) == ALL
    for name in ("episodes", "seconds"):
        assert runs.then.counters[name] > runs.first.counters[name] > 0


def test_rows_hold_what_a_reader_is_promised(runs):
    promised = {"frames", "updates", "seconds", "frames_per_second", "episode_return"}
    promised |= {"lag", "queue_size", "learner_waits", "loss/value/head_1"}
    promised |= {f"hyperparameters/{n}/head_1" for n in configuration.METAPARAMETERS}
    assert promised <= runs.rows[-1].keys()
    assert [row["updates"] for row in runs.rows][-1] == ALL
    assert runs.rows[-1]["frames"] == tiny("lockstep", ALL).total_frames


def test_parameters_that_acted_are_not_older_than_what_was_waiting(runs, request):
    # 4 trajectories an update, 3 an unroll; threads: 8 in the queue, 4 in the feeder, 4
    # in hand, 3 of each actor.
    most = 0.75 if "lockstep" in request.node.name else 6
    assert all(0 <= row["lag"] <= most for row in runs.rows)


def test_every_game_is_closed_and_none_is_played_twice(runs):
    played = [seed for seed, envs in runs.games.opened if envs == 3]
    assert len(set(played)) == len(played) == 4  # two actors, two runs
    assert runs.games.closed == len(runs.games.opened)


def test_the_others_begin_after_an_update_or_where_the_first_actor_has_no_result(
    tmp_path, monkeypatch
):
    built, hangs, second_built = [], threading.Event(), threading.Event()

    def build(parts, index, *arguments, real=threads.Parts.actor):
        if hangs.is_set() and index == 0:
            second_built.wait(60)
        built.append((index, int(parts.store.latest()[0])))
        if hangs.is_set() and index == 1:
            second_built.set()
        return real(parts, index, *arguments)

    monkeypatch.setattr(threads.Parts, "actor", build)
    monkeypatch.setattr(threads, "_AHEAD_SECONDS", 240.0)
    for _ in range(2):
        path = tmp_path / f"{hangs.is_set()}"
        path.mkdir()
        threads.run(tiny("threads", 300), path)
        hangs.set()
        monkeypatch.setattr(threads, "_AHEAD_SECONDS", 0.5)
    (first, before), (second, after), *hanging = built
    assert (first, before, second) == (0, 0, 1)
    assert after >= 1
    assert [index for index, _ in hanging] == [1, 0]


def test_a_finished_run_says_so_and_where_it_is_and_stays_as_it_is(tmp_path, capsys):
    config = tiny("lockstep", FIRST)
    frames = f"{config.total_frames} frames"
    # the last update overshoots
    config = dataclasses.replace(config, total_frames=config.total_frames - 1)
    threads.run(config, tmp_path)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"done: {frames}; update {FIRST} is saved in {tmp_path}"
    before = rows(tmp_path)
    start.run(config, str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    assert f"nothing left to do: {frames} are done" in lines
    assert (rows(tmp_path), saved(tmp_path, config).step) == (before, FIRST)


def test_two_lockstep_runs_with_one_seed_end_in_the_same_bits(ended, tmp_path):
    config, other = (tiny("lockstep", FIRST, seed=seed) for seed in (1, 2))
    threads.run(config, tmp_path)
    again = digest(saved(tmp_path, config).state)
    assert digest(ended(config).state) == again != digest(ended(other).state)


@pytest.mark.faults
@BOTH
def test_what_an_environment_raises_ends_the_run_after_saving(
    runtime, tmp_path, monkeypatch
):
    steps = []

    def step(self, action, real=catch.Catch.step):
        steps.append(action)
        if len(steps) > 40:
            raise OSError("the game crashed")
        return real(self, action)

    monkeypatch.setattr(catch.Catch, "step", step)
    config = tiny(runtime, updates=1000)
    config = with_runtime(config, actor_restarts=0)
    with pytest.raises(OSError, match="the game crashed"):
        threads.run(config, tmp_path)
    step = saved(tmp_path, config).step
    assert step == 6 if runtime == "lockstep" else step > 0


@pytest.mark.parametrize(
    ("runtime", "acting", "learning"),
    [
        pytest.param("lockstep", (0,), (1,), id="1+1", marks=pytest.mark.slow),
        pytest.param("lockstep", (0, 1), range(2, 8), id="2+6"),
        pytest.param("lockstep", (0,), range(1, 8), id="1+7", marks=pytest.mark.slow),
        pytest.param("lockstep", range(8), range(8), id="8 shared"),
        pytest.param("threads", (0, 1), range(2, 8), id="threads 2+6"),
    ],
)
def test_runs_on_split_devices_learn_what_one_device_would(
    runtime, acting, learning, ended, capsys
):
    batch_size = 42 if len(learning) == 7 else 48
    config = with_runtime(
        tiny(runtime, 3), envs_per_actor=batch_size // 2, queue_capacity=batch_size
    )
    frames = 3 * batch_size * config.batch.period
    more = {"batch.batch_size": batch_size, "total_frames": frames}
    config = configuration.changed(config, more)
    ends = []
    for places in ([(0,), (0,)], [acting, learning]):
        actors, learners = map(tuple, places)
        changes = {"actor_devices": actors, "learner_devices": learners}
        ends.append(ended(with_runtime(config, **changes)))
    assert ends[0].step == ends[1].step > 0
    idle = [str(index) for index in range(8) if index not in (*acting, *learning)]
    rest = f"; idle: {', '.join(idle)}" if idle else ""
    line = f"learning on {', '.join(map(str, learning))}{rest}\n"
    assert line in capsys.readouterr().out
    if runtime == "threads":
        return  # the order of trajectories is another one
    leaves = (jax.tree.leaves(end.state.params) for end in ends)
    for one, several in zip(*leaves, strict=True):
        np.testing.assert_allclose(several, one, rtol=1e-5, atol=1e-6)


@BOTH
def test_a_logger_of_ones_own_gets_every_row_and_the_event_files_name_the_host(
    runtime, tmp_path
):
    """wandb reads event files whose names have a whole second and the host."""
    started = int(time.time())

    class Mine:
        def __init__(self):
            self.rows, self.closed = [], 0

        def write(self, values):
            self.rows.append(dict(values))

        def close(self):
            self.closed += 1

    mine = Mine()
    theirs = {"mine": mine, "none": None, "metrics.jsonl": mine}  # None has no `write`
    start.train(tiny("launchpad", FIRST), tmp_path, runtime, loggers=theirs)
    assert mine.closed
    written = [(row["frames"], row["updates"]) for row in rows(tmp_path)]
    assert written == [(row["frames"], row["updates"]) for row in mine.rows]
    (path,) = tmp_path.glob("events.out.tfevents.*")
    second, *rest = path.name.removeprefix("events.out.tfevents.").split(".")
    assert started <= int(second) <= time.time()
    assert ".".join(rest).startswith(f"{socket.gethostname()}.{os.getpid()}.")


def test_training_from_python_keeps_the_runtime_and_leaves_nothing_if_refused(tmp_path):
    start.train(tiny("lockstep", FIRST), tmp_path / "run")
    assert policies.configuration(tmp_path / "run").runtime.name == "lockstep"
    unknown = {"environment.task": "featurs"}
    wrong = configuration.changed(tiny("threads", FIRST), unknown)
    with pytest.raises(configuration.ConfigError, match="did you mean features"):
        start.train(wrong, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_a_logger_of_ones_own_is_refused_in_launchpad(tmp_path):
    with pytest.raises(configuration.ConfigError, match="use threads or lockstep"):
        start.train(tiny("threads", FIRST), tmp_path, "launchpad", loggers={"m": None})
