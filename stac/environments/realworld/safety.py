"""Safety constraints of each domain.

Constraints and limits are the Real-World RL suite's (Dulac-Arnold et al. 2020). A
coefficient c in [0, 1] scales the limits; 1 is the easiest. Two of its oddities are
kept: see `_walker_angles` and the humanoid's velocities.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stac.config.challenges import Challenges

Physics = Any  # dm_control's, of the domain
Constraint = Callable[[Physics, float], Any]  # (after a step, c) -> whether it holds


def names(domain: str, challenges: Challenges) -> list[str]:
    """The constraints of a domain, a row of `CONSTRAINTS`."""
    added = ["action_roc_constraint"] if challenges.safety_action_change else []
    return [*CONSTRAINTS[domain], *added]


def satisfied(
    domain: str, challenges: Challenges, physics: Physics, before: np.ndarray | None
) -> np.ndarray:
    """Returns which constraints hold, [C] bool in the order of `names`.

    Args:
      domain: a row of `CONSTRAINTS`.
      challenges: with the coefficient c.
      physics: after a step, or at the start of an episode.
      before: [A] the controls before the step; None at the start.
    """
    c = challenges.safety_coefficient
    holds = [rule(physics, c) for rule in CONSTRAINTS[domain].values()]
    if challenges.safety_action_change:
        limit = c * ACTION_CHANGE[domain]
        holds.append(
            before is None or np.all(np.abs(before - physics.control()) < limit)
        )
    return np.array(holds, bool)


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
    joints = [
        (physics.named.data.qpos[f"{side}_{joint}"][0], *(c * np.deg2rad(degrees)))
        for side in ("left", "right")
        for joint, degrees in _WALKER_DEGREES.items()
    ]
    above = any(angle > low for angle, low, _ in joints)
    return above and any(angle < high for angle, _, high in joints)


def _walker_fall(physics: Physics, c: float) -> bool:
    """The torso does not lean too far along x."""
    return -physics.named.data.xmat["torso", "zx"] > -0.5 * c


def _quadruped_feet(physics: Physics, c: float) -> bool:
    sensors = physics.named.data.sensordata
    forces = [np.linalg.norm(sensors[f"force_toe_{toe}"]) for toe in _TOES]
    return bool(max(forces) < 20000.0 * c)  # N


def _angles_within(limit: float) -> Constraint:
    """All joints but the root's seven numbers, rad."""
    return lambda physics, c: np.abs(physics.data.qpos[7:]).max() < limit * c


def _slower(limit: float, root: int) -> Constraint:
    """All joints, rad/s, but the first `root` velocities."""
    return lambda physics, c: np.abs(physics.data.qvel[root:]).max() < limit * c


def _upright(share: float) -> Constraint:
    return lambda physics, c: physics.torso_upright() > 1.0 - share * c


def _touched(limit: float, *parts: str) -> Constraint:
    """The largest force on any of the humanoid's parts, N."""

    def holds(physics: Physics, c: float) -> bool:
        sensors = physics.named.data.sensordata
        return max(abs(sensors[f"{part}_touch"][0]) for part in parts) < limit * c

    return holds


_WALKER_DEGREES = {
    "hip": (-30.0, 110.0),
    "knee": (-160.0, 15.0),
    "ankle": (-75.0, 60.0),
}
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
        "joint_velocity_constraint": _slower(65.0, root=3),
        "dangerous_fall_constraint": _walker_fall,
        "torso_upright_constraint": _upright(1.0),
    },
    "quadruped": {
        "joint_angle_constraint": _angles_within(np.deg2rad(60.0)),
        "joint_velocity_constraint": _slower(20.0, root=6),
        "upright_constraint": _upright(0.7),
        "foot_force_constraint": _quadruped_feet,
    },
    "humanoid": {
        "joint_angle_constraint": _angles_within(np.pi),
        # As in the original, the first joint is left out: the root has six velocities.
        "joint_velocity_constraint": _slower(90.0, root=7),
        "upright_constraint": _upright(1.0),
        "dangerous_fall_constraint": _touched(100.0, "head", "torso"),
        "foot_force_constraint": _touched(8000.0, *_FEET),
    },
}
# The limit of |change| of each applied control from step to step, at c = 1.
ACTION_CHANGE = {"cartpole": 1.5, "walker": 1.55, "quadruped": 1.4, "humanoid": 1.85}
