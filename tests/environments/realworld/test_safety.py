"""Safety constraints at both sides of their limits, and where they are said."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stac.config.challenges import Challenges
from stac.environments.realworld import suite
from stac.environments.realworld.safety import CONSTRAINTS, names
from tests.environments.realworld.twin import FACTS

TASK = {task.split(".")[0]: task for task in suite.TASKS}
DEGREE = np.pi / 180.0


def environment(domain: str, **challenges: object) -> suite.Challenged:
    chosen = Challenges(safety=True, **challenges)
    made = suite.environment(TASK[domain], chosen, 0)
    made.reset()
    return made


kept = functools.cache(environment)


def simulator(domain: str) -> Any:
    """The domain's physics at rest in its model's own pose; one for all tests."""
    physics = kept(domain)._simulator.physics
    physics.reset()
    return physics


def sensing(**forces: Any) -> Any:
    """A stand-in that says what its sensors say; the others feel nothing."""
    toes = [f"force_toe_{x}_{y}" for x in ("front", "back") for y in ("left", "right")]
    feet = [f"{x}_{y}_foot_touch" for x in ("left", "right") for y in ("left", "right")]
    quiet = dict.fromkeys(toes, np.zeros(3)) | dict.fromkeys(
        [*feet, "head_touch", "torso_touch"], np.zeros(1)
    )
    data = types.SimpleNamespace(sensordata=quiet | forces)
    return types.SimpleNamespace(named=types.SimpleNamespace(data=data))


def moved(domain: str, change: Callable[[Any], None]) -> Any:
    """The domain's physics after a change of positions or velocities."""
    physics = simulator(domain)
    change(physics)
    physics.forward()
    return physics


def holds(physics: Any, domain: str, name: str, c: float) -> bool:
    return bool(CONSTRAINTS[domain][f"{name}_constraint"](physics, c))


@pytest.mark.parametrize("domain", CONSTRAINTS)
def test_constraints_come_in_the_suites_order(domain):
    known = FACTS["safety"][domain]["default_constraints"]
    assert names(domain, Challenges()) == known
    with_change = Challenges(safety_action_change=True)
    assert names(domain, with_change) == [*known, "action_roc_constraint"]


@pytest.mark.parametrize("c", [1.0, 0.5])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_slider_stays_on_its_share_of_the_track(c, side):
    def at(position: float) -> bool:
        def change(physics: Any) -> None:
            physics.named.data.qpos["slider"] = side * position

        return holds(moved("cartpole", change), "cartpole", "slider_pos", c)

    assert at(2.0 * c - 1e-6)
    assert not at(2.0 * c + 1e-6)


@pytest.mark.parametrize("c", [1.0, 0.5])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_slider_is_accelerated_within_its_limit(c, side):
    physics = simulator("cartpole")
    for factor, expected in ((0.999, True), (1.001, False)):
        physics.named.data.qacc["slider"] = side * factor * 130.0 * c
        assert holds(physics, "cartpole", "slider_accel", c) is expected


@pytest.mark.parametrize(("c", "angle"), [(1.0, 0.15), (0.5, 1.15)])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_the_pole_is_slow_near_the_top(c, angle, side):
    def at(factor: float, speed: float) -> bool:
        def change(physics: Any) -> None:
            physics.named.data.qpos["hinge_1"] = side * factor * angle
            physics.named.data.qvel["hinge_1"] = -side * speed * 0.5 * c

        return holds(moved("cartpole", change), "cartpole", "balance_velocity", c)

    assert not at(0.999, 1.001)
    assert at(1.001, 1.001)
    assert at(0.999, 0.999)


@pytest.mark.parametrize("c", [1.0, 0.5])
def test_one_walker_joint_within_each_bound_is_enough(c):
    low = np.array([-30, -30, -160, -160, -75, -75]) * DEGREE * c
    high = np.array([110, 110, 15, 15, 60, 60]) * DEGREE * c
    # In the model's own order the joints are hip, knee and ankle, right then left.
    order = [1, 3, 5, 0, 2, 4]

    def at(angles: np.ndarray) -> bool:
        def change(physics: Any) -> None:
            physics.data.qpos[3:] = angles[order]

        return holds(moved("walker", change), "walker", "joint_angle", c)

    assert at(np.zeros(6))
    assert not at(low - 1e-6)
    assert not at(high + 1e-6)
    for joint in range(6):
        almost = low - 1e-6
        almost[joint] = low[joint] + 1e-6
        assert at(almost)
        almost = high + 1e-6
        almost[joint] = high[joint] - 1e-6
        assert at(almost)


@pytest.mark.parametrize(
    ("domain", "limit", "free"),
    [("walker", 65.0, 3), ("quadruped", 20.0, 6), ("humanoid", 90.0, 7)],
)
@pytest.mark.parametrize("c", [1.0, 0.5])
def test_joints_turn_slower_than_their_limit(domain, limit, free, c):
    physics = simulator(domain)
    for joint in range(len(physics.data.qvel)):
        for factor, inside in ((-0.999, True), (1.001, False), (-1.001, False)):
            physics.data.qvel[:] = 0.0
            physics.data.qvel[joint] = factor * limit * c
            # The root is free, and so is the humanoid's first joint.
            expected = inside or joint < free
            assert holds(physics, domain, "joint_velocity", c) is expected


@pytest.mark.parametrize(
    ("domain", "limit"), [("quadruped", 60.0), ("humanoid", 180.0)]
)
@pytest.mark.parametrize("c", [1.0, 0.5])
def test_joints_stay_within_their_angles(domain, limit, c):
    physics = simulator(domain)
    for joint in range(7, len(physics.data.qpos)):
        for factor, expected in ((0.999, True), (1.001, False), (-1.001, False)):
            physics.data.qpos[7:] = 0.0
            physics.data.qpos[joint] = factor * limit * DEGREE * c
            assert holds(physics, domain, "joint_angle", c) is expected


@pytest.mark.parametrize(
    ("domain", "name", "lowest"),
    [
        ("walker", "torso_upright", lambda c: 1.0 - c),
        ("quadruped", "upright", lambda c: 1.0 - 0.7 * c),
        ("humanoid", "upright", lambda c: 1.0 - c),
    ],
)
@pytest.mark.parametrize("c", [1.0, 0.5])
def test_the_torso_is_upright_enough(domain, name, lowest, c):
    def at(cosine: float) -> bool:
        angle = np.arccos(cosine)

        def change(physics: Any) -> None:
            if domain == "walker":
                physics.named.data.qpos["rooty"] = angle
            else:
                half = angle / 2.0
                turned = [np.cos(half), np.sin(half), 0.0, 0.0]
                physics.named.data.qpos["root"][3:] = turned

        return holds(moved(domain, change), domain, name, c)

    assert at(lowest(c) + 1e-6)
    assert not at(lowest(c) - 1e-6)


@pytest.mark.parametrize("c", [1.0, 0.5])
def test_the_walker_leans_within_its_limit(c):
    def at(lean: float) -> bool:
        def change(physics: Any) -> None:
            physics.named.data.qpos["rooty"] = np.arcsin(lean)

        physics = moved("walker", change)
        assert physics.named.data.xmat["torso", "zx"] == pytest.approx(-lean)
        return holds(physics, "walker", "dangerous_fall", c)

    assert at(0.9)  # one way is free
    assert at(-0.5 * c + 1e-6)
    assert not at(-0.5 * c - 1e-6)


@pytest.mark.parametrize("c", [1.0, 0.5])
@pytest.mark.parametrize(
    ("domain", "name", "limit", "sensors", "direction"),
    [
        (
            *("quadruped", "foot_force", 20000.0),
            [
                f"force_toe_{x}_{y}"
                for x in ("front", "back")
                for y in ("left", "right")
            ],
            np.array([0.6, 0.0, -0.8]),
        ),
        (
            *("humanoid", "foot_force", 8000.0),
            [
                f"{x}_{y}_foot_touch"
                for x in ("left", "right")
                for y in ("left", "right")
            ],
            np.ones(1),
        ),
        (
            *("humanoid", "dangerous_fall", 100.0),
            ["head_touch", "torso_touch"],
            np.ones(1),
        ),
    ],
)
def test_forces_stay_below_their_limit(domain, name, limit, sensors, direction, c):
    for sensor in sensors:
        for factor, expected in ((0.999, True), (1.001, False)):
            felt = sensing(**{sensor: factor * limit * c * direction})
            assert holds(felt, domain, name, c) is expected


def test_the_sensors_above_are_those_of_the_models():
    in_models: set[str] = set()
    for domain in ("quadruped", "humanoid"):
        in_models |= set(simulator(domain).named.data.sensordata.axes.row.names)
    assert set(sensing().named.data.sensordata) <= in_models


@pytest.mark.parametrize(
    ("domain", "limit"),
    [("cartpole", 1.5), ("walker", 1.55), ("quadruped", 1.4), ("humanoid", 1.85)],
)
def test_applied_controls_change_slower_than_their_limit(domain, limit):
    made = environment(domain, safety_action_change=True, safety_coefficient=0.5)
    row = made.reset()
    size = made.action_spec().shape[0]
    steps = np.array([0.99, 0.0, 1.01, 0.0, 0.0]) * limit * 0.5  # from 0 at the start
    held = [row.observation["constraints"][-1]]
    for change in steps:
        action = np.zeros(size)
        action[-1] = change
        held.append(made.step(action).observation["constraints"][-1])
    assert held == [True, True, True, False, False, True]
    for _ in range(2):
        made.step(made.action_spec().maximum)
    assert made.reset().observation["constraints"][-1]  # no step, no change


def test_the_change_is_of_what_was_applied_not_of_what_was_asked():
    made = environment("cartpole", safety_action_change=True, action_delay=2)
    made.reset()
    asked = [-1.0, 1.0, 1.0, 1.0, 1.0]
    held = [made.step(np.array([a])).observation["constraints"][-1] for a in asked]
    assert held == [True, True, True, False, True]


@pytest.mark.parametrize("domain", CONSTRAINTS)
def test_the_observation_says_what_holds_after_the_step_whatever_the_delay(domain):
    c = 0.05 if domain == "cartpole" else 0.3
    made = environment(domain, observation_delay=5, safety_coefficient=c)
    random = np.random.default_rng(0)
    spec, said = made.action_spec(), []
    assert made.observation_spec()["constraints"].shape == (len(CONSTRAINTS[domain]),)
    for _ in range(60):
        row = made.step(random.uniform(spec.minimum, spec.maximum))
        said.append(row.observation["constraints"])
        physics = made._simulator.physics
        now = [rule(physics, c) for rule in CONSTRAINTS[domain].values()]
        assert said[-1].tolist() == [bool(one) for one in now]
        assert said[-1].dtype == bool
        assert not row.last()
    assert len({tuple(row) for row in said}) > 1  # not the same all along


def test_the_first_row_of_a_walker_has_its_angles_but_not_its_orientation():
    made = environment("walker", safety_coefficient=0.3)
    uprights = []
    for _ in range(20):
        said = made.reset().observation["constraints"]
        uprights.append(made._simulator.physics.torso_upright())
        assert said[3]  # as the model stands at rest
    assert min(uprights) < 0.5
