"""The Control Suite behind our rows: its tasks, names, bounds, seeds and ends."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from stac import config
from stac.environments import base, control, make
from stac.environments.vector import batched
from tests.conftest import ROOT
from tests.environments import snapshotting
from tests.environments.vector import scripted
from tests.programs import python

# Dimensions of actions and of observations, as benchmark papers list them.
BENCHMARK = {
    "acrobot.swingup": (1, 6),
    "acrobot.swingup_sparse": (1, 6),
    "ball_in_cup.catch": (2, 8),
    "cartpole.balance": (1, 5),
    "cartpole.balance_sparse": (1, 5),
    "cartpole.swingup": (1, 5),
    "cartpole.swingup_sparse": (1, 5),
    "cheetah.run": (6, 17),
    "finger.spin": (2, 9),
    "finger.turn_easy": (2, 12),
    "finger.turn_hard": (2, 12),
    "fish.upright": (5, 21),
    "fish.swim": (5, 24),
    "hopper.stand": (4, 15),
    "hopper.hop": (4, 15),
    "humanoid.stand": (21, 67),
    "humanoid.walk": (21, 67),
    "humanoid.run": (21, 67),
    "manipulator.bring_ball": (5, 44),
    "pendulum.swingup": (1, 3),
    "point_mass.easy": (2, 4),
    "reacher.easy": (2, 6),
    "reacher.hard": (2, 6),
    "swimmer.swimmer6": (5, 25),
    "swimmer.swimmer15": (14, 61),
    "walker.stand": (6, 24),
    "walker.walk": (6, 24),
    "walker.run": (6, 24),
}
BOUNDLESS = ("lqr.lqr_2_1", "lqr.lqr_6_2")


def built(task: str, seed: int = 0, num_envs: int = 2, **environment: object):
    chosen = {"domain": "control", "task": task, "workers": "serial", "stagger": False}
    return make.factory(
        config.Config(environment=config.EnvironmentConfig(**chosen | environment))
    )(seed, num_envs)


def played(environment: base.BatchedEnvironment, steps: int) -> list[np.ndarray]:
    """Observations and rewards of a reset and of random actions, row after row."""
    random = np.random.default_rng(0)
    shape = (environment.num_envs, environment.spec.num_actions)
    actions = [random.normal(size=shape) for _ in range(steps)]
    return [field for row in snapshotting.rows(environment, actions) for field in row]


def test_the_benchmark_has_its_28_tasks_which_step_and_each_its_dimensions():
    assert control.tasks()[:28] == list(BENCHMARK)
    for name, (actions, features) in BENCHMARK.items():
        environment = built(name, num_envs=1)
        spec = environment.spec
        assert spec.observation_shape == (features,)
        assert spec.action_minimum.tolist() == [-1] * actions
        assert spec.action_maximum.tolist() == [1] * actions
        assert_finite(environment)


def assert_finite(environment: base.BatchedEnvironment) -> None:
    assert np.isfinite(np.concatenate(played(environment, 5), axis=None)).all()


@pytest.mark.slow
def test_every_extra_task_steps_but_those_without_bounds():
    extra = control.tasks()[28:]
    assert set(control.NEEDS_OPENGL) < set(extra)
    for name in set(extra) - set(control.NEEDS_OPENGL):
        assert_finite(built(name, num_envs=1))


@pytest.mark.slow
def test_random_extreme_actions_break_no_physics():
    for name in (*BENCHMARK, "quadruped.walk", "quadruped.run"):
        environment = built(name, num_envs=1)
        environment.reset()
        random = np.random.default_rng(1)
        for _ in range(1000):
            row = environment.step(
                random.choice([-20, 20], environment.spec.action_minimum.shape)[None]
            )
            assert 0 <= row.reward[0] <= 1
        assert row.last[0]
        environment.close()


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("walker.walk", "walker.walk"),
        ("walker_walk", "walker.walk"),
        (" Walker-Walk ", "walker.walk"),
        ("WalkerWalk-v1", "walker.walk"),
        ("dm_control/ball_in_cup-catch-v0", "ball_in_cup.catch"),
        ("cartpole/swingup", "cartpole.swingup"),
        ("humanoid_cmu.run", "humanoid_CMU.run"),
        ("BALL_IN_CUP.CATCH", "ball_in_cup.catch"),
    ],
)
def test_names_are_understood_in_any_usual_spelling(spelling, name):
    assert control.task(spelling) == name


def test_no_two_tasks_have_the_same_letters():
    names = control.tasks()
    assert len({base.letters(name) for name in names}) == len(names) == 49


def test_a_word_names_the_tasks_that_have_it():
    walks = "humanoid.walk or walker.walk or dog.walk or humanoid_CMU.walk"
    with pytest.raises(config.ConfigError, match=f"'walk': did you mean {walks}\\?$"):
        control.task("walk")


def test_an_unknown_task_is_refused_with_the_nearest():
    expected = r"^unknown control task 'walker.wolk': did you mean walker.walk\?"
    for refuse in (control.task, built):
        with pytest.raises(config.ConfigError, match=expected):
            refuse("walker.wolk")


def test_a_task_whose_actions_have_no_bounds_is_refused():
    for name in BOUNDLESS:
        with pytest.raises(config.ConfigError, match=f"{name}: its actions have no"):
            control.task(name)


def test_actions_are_scaled_to_bounds_that_are_not_symmetric():
    environment = built("quadruped.walk", num_envs=1)
    low = [-1.0, -1.0, -0.8] * 4
    high = [1.0, 1.1, 0.8] * 4
    np.testing.assert_allclose(environment.spec.action_minimum, low)
    np.testing.assert_allclose(environment.spec.action_maximum, high)
    physics = environment._share._played[0].environment.physics
    environment.reset()
    for sample, expected in ((50, high), (-50, low), (0, [0, 0.05, 0] * 4)):
        environment.step(np.full((1, 12), sample, np.float32))
        np.testing.assert_allclose(physics.control(), expected, atol=1e-12)
    environment.close()


def test_features_are_the_tasks_own_in_their_order():
    alone = control.environment("humanoid.walk", "features", 3)
    names = ["joint_angles", "head_height", "extremities"]
    names += ["torso_vertical", "com_velocity", "velocity"]
    assert list(alone.observation_spec()) == names
    seen = alone.reset().observation
    flat = np.concatenate([np.ravel(seen[name]) for name in names])
    make = functools.partial(control.environment, "humanoid.walk", "features")
    row = batched.Batched(make, [3]).reset().observation[0]
    np.testing.assert_array_equal(row, np.float32(flat))


def test_equal_seeds_give_equal_rows_and_each_environment_its_own():
    rows, same, other = (played(built("walker.walk", seed), 30) for seed in (1, 1, 2))
    for field, twin in zip(rows, same, strict=True):
        np.testing.assert_array_equal(field, twin)
    assert (rows[0][0] != rows[0][1]).any()
    assert (rows[0] != other[0]).any()


def test_an_episode_is_1000_steps_and_ends_by_a_time_limit():
    environment = built("cartpole.balance", num_envs=1)
    environment.reset()
    for step in range(1, 2003):
        row = environment.step(np.zeros((1, 1)))
        assert row.discount[0] == 1
        assert row.last[0] == (step % 1001 == 1000)
        assert row.first[0] == (step % 1001 == 0)
        assert 0 <= row.reward[0] <= 1
    environment.close()


def test_staggered_first_episodes_end_one_by_one():
    environment = built("pendulum.swingup", num_envs=8, stagger=True)
    assert environment.spec.staggered
    assert not built("pendulum.swingup").spec.staggered
    environment.reset()
    ends = [set() for _ in range(8)]
    for step in range(1, 1001):
        row = environment.step(np.zeros((8, 1)))
        for env in np.nonzero(row.last)[0]:
            ends[env].add(step)
    environment.close()
    assert [len(steps) for steps in ends] == [1] * 8
    assert len(set.union(*ends)) == 8


def test_a_simulation_that_diverges_ends_its_own_episode_alone(capfd):
    environments = [built("walker.walk", 5, 3) for _ in range(2)]
    broken = environments[0]
    rows = [[each.reset()] for each in environments]
    action = np.zeros((3, 6))
    for step in range(6):
        if step == 2:
            broken._share._played[1].environment.physics.data.qvel[:] = 1e20
        for seen, each in zip(rows, environments, strict=True):
            seen.append(each.step(action))
    end, start = rows[0][3], rows[0][4]
    assert end.last.tolist() == [False, True, False]
    assert (end.reward[1], end.discount[1], end.first[1]) == (0, 0, False)
    np.testing.assert_array_equal(end.observation[1], rows[0][2].observation[1])
    assert start.first.tolist() == [False, True, False]
    assert (start.reward[1], start.discount[1]) == (0, 1)
    for row, twin in zip(*rows, strict=True):
        assert np.isfinite(row.observation).all()
        for field, same in zip(row, twin, strict=True):
            np.testing.assert_array_equal(field[[0, 2]], same[[0, 2]])
    for each in environments:
        each.close()
    assert broken.diverged.tolist() == [0, 1, 0]
    assert capfd.readouterr() == ("", "")


def test_other_errors_of_an_environment_are_raised():
    environment = built("walker.walk", 5, 1)
    environment.reset()
    environment._share._played[0].environment.task.get_reward = None
    with pytest.raises(TypeError):
        environment.step(np.zeros((1, 6)))


_QUIET = """
import sys
from stac.environments import control
for name in ("cheetah.run", "walker.walk"):
    control.environment(name, "features", 0).reset()
assert "jax" not in sys.modules
assert "OpenGL" not in sys.modules and "glfw" not in sys.modules
"""


@pytest.mark.parametrize("variable", [{}, {"MUJOCO_GL": "no such backend"}])
def test_features_need_no_opengl_and_nothing_is_said(tmp_path, monkeypatch, variable):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    words = (*scripted.WARNINGS, "-c", _QUIET)
    run = python(*words, folder=tmp_path, PYTHONPATH=str(ROOT), **variable)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []  # MuJoCo writes warnings to a file
