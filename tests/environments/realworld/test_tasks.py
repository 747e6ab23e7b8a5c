"""The four tasks: lengths, sizes, starts, and the suite underneath."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from stac import config
from stac.config.challenges import Challenges
from stac.configs import realworld as numbers
from stac.environments import make, rendering
from stac.environments.realworld import suite as realworld
from tests import conftest
from tests.environments.realworld.twin import FACTS

DOMAINS = [task.split(".")[0] for task in realworld.TASKS]
LEVELS = ("none", "easy", "medium", "hard")


def facts(task: str) -> dict:
    return FACTS["tasks"][task.replace(".", ".realworld_")]


def built(task: str, level: str = "none", seed: int = 1) -> realworld.Challenged:
    domain = task.split(".")[0]
    return realworld.environment(task, numbers.challenges(domain, level), seed)


@pytest.mark.parametrize("task", realworld.TASKS)
def test_an_episode_is_1000_steps_and_ends_with_discount_1(task):
    environment = built(task, "hard")
    random = np.random.default_rng(0)
    bounds = environment.action_spec()
    row, steps = environment.reset(), 0
    while not row.last():
        row = environment.step(random.uniform(bounds.minimum, bounds.maximum))
        steps += 1
        assert row.discount == 1.0
        assert 0.0 <= row.reward <= 1.0
    assert steps == facts(task)["steps_per_episode"] == 1000
    environment.close()


@pytest.mark.parametrize("task", realworld.TASKS)
def test_clocks_and_bounds_are_the_suites(task):
    environment = built(task)
    known, simulator = facts(task), environment._simulator
    bounds = environment.action_spec()
    assert bounds.minimum.tolist() == known["action_min"]
    assert bounds.maximum.tolist() == known["action_max"]
    assert bounds.shape == (known["action_dim"],)
    assert simulator.control_timestep() == pytest.approx(known["control_timestep_s"])
    assert simulator.physics.timestep() == known["physics_timestep_s"]
    limit = known["steps_per_episode"] * simulator.control_timestep()
    assert limit == pytest.approx(known["time_limit_s"])


@pytest.mark.parametrize("task", realworld.TASKS)
def test_entries_come_in_the_suites_order_and_sizes(task):
    spec = built(task)._simulator.observation_spec()
    sizes = [[name, int(np.prod(entry.shape))] for name, entry in spec.items()]
    known = FACTS["observations_in_order"][task.split(".")[0]]
    assert sizes == [[name, 1 if size == "scalar" else size] for name, size in known]


@pytest.mark.parametrize("task", realworld.TASKS)
def test_flat_sizes_are_the_suites(task):
    sizes = {}
    for level in LEVELS:
        row = built(task, level).reset()
        sizes[level] = sum(np.size(value) for value in row.observation.values())
    assert sizes == FACTS["flat_observation_dims"][task.split(".")[0]]


@pytest.mark.parametrize("task", ["cartpole.swingup", "walker.walk", "humanoid.walk"])
def test_without_challenges_it_is_dm_controls_task(task):
    suite = rendering.suite(renders=False)
    ours, theirs = built(task, seed=7), suite.load(*task.split("."), {"random": 7})
    random = np.random.default_rng(0)
    bounds = ours.action_spec()
    for episode in range(2):
        rows = (ours.reset(), theirs.reset())
        for step in range(60 if episode else 1001):  # into the second episode
            flat = [
                np.hstack([np.ravel(entry) for entry in row.observation.values()])
                for row in rows
            ]
            np.testing.assert_array_equal(*flat)
            for field in ("step_type", "reward", "discount"):
                assert getattr(rows[0], field) == getattr(rows[1], field)
            assert rows[0].last() == (step == 1000)
            action = random.uniform(bounds.minimum, bounds.maximum)
            rows = (ours.step(action), theirs.step(action))


def test_the_quadruped_differs_from_dm_controls_by_its_start_alone():
    suite = rendering.suite(renders=False)
    ours = built("quadruped.walk")
    theirs = suite.load("quadruped", "walk", {"random": 7})
    ours.reset(), theirs.reset()
    physics = ours._simulator.physics
    with theirs.physics.reset_context():
        theirs.physics.set_state(physics.get_state())
    random, rewards = np.random.default_rng(0), []
    for _ in range(40):
        action = random.uniform(-0.8, 0.8, 12)
        row, other = ours.step(action), theirs.step(action)
        flat = np.hstack([np.ravel(entry) for entry in other.observation.values()])
        np.testing.assert_allclose(row.observation["observations"], flat, atol=1e-6)
        assert row.reward == pytest.approx(other.reward, abs=1e-6)
        rewards.append(row.reward)
    assert np.ptp(rewards) > 0.1  # moving, so that the speed asked for is seen


@pytest.mark.parametrize("level", ["none", "hard"])
def test_the_quadruped_starts_upright_clear_of_the_floor_with_any_heading(level):
    environment = built("quadruped.walk", level)
    yaws = []
    for _ in range(12):
        environment.reset()
        physics = environment._simulator.physics
        assert physics.torso_upright() == pytest.approx(1.0)
        assert physics.data.ncon == 0
        w, x, y, z = physics.named.data.qpos["root"][3:]
        assert x == y == 0.0
        yaws.append(2.0 * np.arctan2(z, w))
        height = physics.named.data.qpos["root"][2]
        with physics.reset_context():  # the same, a centimetre lower
            physics.named.data.qpos["root"][:] = 0, 0, height - 0.01, w, x, y, z
        assert physics.data.ncon > 0
    assert min(yaws) >= 0.0
    assert max(yaws) <= 2.0 * np.pi
    assert np.ptp(yaws) > np.pi


def test_longer_shins_start_higher():
    def height(shin: float) -> float:
        challenges = Challenges(
            perturbation="shin_length",
            perturbation_scheduler="constant",
            perturbation_start=shin,
        )
        environment = realworld.environment("quadruped.walk", challenges, 0)
        environment.reset()
        return environment._simulator.physics.named.data.qpos["root"][2]

    assert height(1.0) == pytest.approx(height(0.25) + 0.75, abs=0.02)


@pytest.mark.parametrize("task", realworld.TASKS)
def test_equal_seeds_give_equal_runs_and_others_do_not(task):
    def run(seed: int) -> dict[str, np.ndarray]:
        environment = built(task, "medium", seed)
        zeros = np.zeros(environment.action_spec().shape)
        rows = [environment.reset(), *(environment.step(zeros) for _ in range(15))]
        names = rows[0].observation
        return {n: np.array([row.observation[n] for row in rows]) for n in names}

    first, again = run(1), run(1)
    assert list(first) == list(again)
    for name, entries in first.items():
        np.testing.assert_array_equal(entries, again[name])
    assert (first["observations"] != run(2)["observations"]).mean() > 0.5


@pytest.mark.parametrize("task", realworld.TASKS)
def test_the_model_is_rebuilt_every_episode_and_starts_go_on(task):
    environment = built(task, "hard")
    schedule, values, starts = environment._schedule, [], []
    for _ in range(4):
        environment.reset()
        values.append(schedule.value)
        starts.append(environment._simulator.physics.get_state().tobytes())
    assert len(set(values)) == len(set(starts)) == 4


def test_a_run_of_several_environments_reaches_the_task_from_the_configuration():
    chosen = numbers.config("walker.walk", "stac", "hard")
    factory = pickle.loads(pickle.dumps(make.factory(chosen)))
    environment = factory(3, 2)
    assert environment.spec.observation_shape == (74,)
    row = environment.reset()
    assert row.observation.shape == (2, 74)
    assert (row.observation[0] != row.observation[1]).any()
    assert np.isfinite(environment.step(np.zeros((2, 6), np.float32)).reward).all()
    environment.close()


@pytest.mark.parametrize(
    "spelling",
    [
        *("walker.walk", "walker_walk", "Walker-Walk", "walker.realworld_walk"),
        *("walker/walk", "dm_control/walker-walk-v0"),
    ],
)
def test_a_task_is_known_by_any_usual_spelling(spelling):
    assert realworld.task(spelling) == "walker.walk"


@pytest.mark.parametrize("task", ["walker.wolk", "cartpole.balance", "", "walker"])
def test_an_unknown_task_is_refused_with_what_there_is(task):
    message = "unknown realworld task .*: (did you mean|choose one of) .*"
    with pytest.raises(config.ConfigError, match=message):
        realworld.environment(task, Challenges(), 0)


def test_the_copied_facts_are_among_the_shared_ones():
    shared = conftest.GOLDEN_SHARED.parent / "benchmarks" / "rwrl_challenges.json"
    if not shared.is_file():
        pytest.skip("no ../shared/benchmarks beside this repository")

    def among(part: Any, whole: Any) -> bool:
        if not isinstance(part, dict):
            return part == whole
        return all(name in whole and among(part[name], whole[name]) for name in part)

    assert among(FACTS, json.loads(shared.read_text()))
