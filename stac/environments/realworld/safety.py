"""Safety constraints of each domain.

Constraints and limits are the Real-World RL suite's (Dulac-Arnold et al. 2020). A
coefficient c in [0, 1] scales the limits; 1 is the easiest. Two of its oddities are
kept: see `_walker_angles` and `_humanoid_speeds`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Physics = Any  # dm_control's, of the domain
Constraint = Callable[[Physics, float], Any]  # (after a step, c) -> whether it holds


class Safety:
    """The constraints of one domain."""

    def __init__(self, domain: str, coefficient: float, action_change: bool) -> None:
        """Chooses the constraints.

        Args:
          domain: a row of `CONSTRAINTS`.
          coefficient: c.
          action_change: whether to add `action_roc_constraint`, for the controls.
        """
        self.names = list(CONSTRAINTS[domain])
        self._rules = list(CONSTRAINTS[domain].values())
        self._coefficient = coefficient
        self._change = coefficient * ACTION_CHANGE[domain] if action_change else None
        if action_change:
            self.names.append("action_roc_constraint")

    def satisfied(self, physics: Physics, before: np.ndarray | None) -> np.ndarray:
        """Returns which constraints hold, [C] bool in the order of `names`.

        Args:
          physics: after a step, or at the start of an episode.
          before: [A] the controls before the step; None at the start.
        """
        holds = [bool(rule(physics, self._coefficient)) for rule in self._rules]
        if self._change is not None:
            holds.append(
                before is None
                or bool(np.all(np.abs(before - physics.control()) < self._change))
            )
        return np.array(holds)


def _slider_position(physics: Physics, c: float) -> bool:
    return -2.0 * c < physics.cart_position() < 2.0 * c  # m


def _slider_acceleration(physics: Physics, c: float) -> bool:
    return abs(physics.named.data.qacc["slider"][0]) < 130.0 * c  # m/s^2


def _balance_velocity(physics: Physics, c: float) -> bool:
    """The pole is slow where it is near the top."""
    near = physics.pole_angle_cosine()[0] > np.cos((1.0 - c) / 0.5 + 0.15)  # rad
    return not near or abs(physics.angular_vel()[0]) <= 0.5 * c  # rad/s


def _walker_angles(physics: Physics, c: float) -> bool:
    """As in the original, it is enough that one joint is within each bound."""
    angles = np.array([physics.named.data.qpos[joint][0] for joint in _WALKER_JOINTS])
    low, high = c * np.deg2rad(_WALKER_DEGREES)
    return bool((angles > low).any() and (angles < high).any())


def _walker_speeds(physics: Physics, c: float) -> bool:
    return np.abs(physics.data.qvel[3:]).max() < 65.0 * c  # rad/s, without the root


def _walker_fall(physics: Physics, c: float) -> bool:
    """The torso does not lean too far along x."""
    return -physics.named.data.xmat["torso", "zx"] > -0.5 * c


def _upright(physics: Physics, c: float) -> bool:
    return physics.torso_upright() > 1.0 - c


def _quadruped_angles(physics: Physics, c: float) -> bool:
    return np.abs(physics.data.qpos[7:]).max() < c * np.deg2rad(60.0)


def _quadruped_speeds(physics: Physics, c: float) -> bool:
    return np.abs(physics.data.qvel[6:]).max() < 20.0 * c  # rad/s


def _quadruped_upright(physics: Physics, c: float) -> bool:
    return physics.torso_upright() > 1.0 - 0.7 * c


def _quadruped_feet(physics: Physics, c: float) -> bool:
    sensors = physics.named.data.sensordata
    forces = [np.linalg.norm(sensors[f"force_toe_{toe}"]) for toe in _TOES]
    return bool(max(forces) < 20000.0 * c)  # N


def _humanoid_angles(physics: Physics, c: float) -> bool:
    return np.abs(physics.data.qpos[7:]).max() < np.pi * c


def _humanoid_speeds(physics: Physics, c: float) -> bool:
    """As in the original, the first joint is left out: the root has six velocities."""
    return np.abs(physics.data.qvel[7:]).max() < 90.0 * c  # rad/s


def _humanoid_fall(physics: Physics, c: float) -> bool:
    return _touch(physics, ("head", "torso")) < 100.0 * c  # N


def _humanoid_feet(physics: Physics, c: float) -> bool:
    return _touch(physics, _FEET) < 8000.0 * c  # N


def _touch(physics: Physics, parts: tuple[str, ...]) -> float:
    """The largest force on any of the parts, N."""
    sensors = physics.named.data.sensordata
    return max(abs(sensors[f"{part}_touch"][0]) for part in parts)


_WALKER_JOINTS = (
    *("left_hip", "right_hip", "left_knee", "right_knee"),
    *("left_ankle", "right_ankle"),
)
_WALKER_DEGREES = np.array(
    [
        [-30.0, -30.0, -160.0, -160.0, -75.0, -75.0],
        [110.0, 110.0, 15.0, 15.0, 60.0, 60.0],
    ]
)
_TOES = ("front_left", "front_right", "back_left", "back_right")
_FEET = ("right_left_foot", "right_right_foot", "left_left_foot", "left_right_foot")

CONSTRAINTS: dict[str, dict[str, Constraint]] = {
    "cartpole": {
        "slider_pos_constraint": _slider_position,
        "slider_accel_constraint": _slider_acceleration,
        "balance_velocity_constraint": _balance_velocity,
    },
    "walker": {
        "joint_angle_constraint": _walker_angles,
        "joint_velocity_constraint": _walker_speeds,
        "dangerous_fall_constraint": _walker_fall,
        "torso_upright_constraint": _upright,
    },
    "quadruped": {
        "joint_angle_constraint": _quadruped_angles,
        "joint_velocity_constraint": _quadruped_speeds,
        "upright_constraint": _quadruped_upright,
        "foot_force_constraint": _quadruped_feet,
    },
    "humanoid": {
        "joint_angle_constraint": _humanoid_angles,
        "joint_velocity_constraint": _humanoid_speeds,
        "upright_constraint": _upright,
        "dangerous_fall_constraint": _humanoid_fall,
        "foot_force_constraint": _humanoid_feet,
    },
}
# The limit of |change| of each applied control from step to step, at c = 1.
ACTION_CHANGE = {"cartpole": 1.5, "walker": 1.55, "quadruped": 1.4, "humanoid": 1.85}
