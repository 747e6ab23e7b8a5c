"""The Real-World RL challenges of one run, each on its own (Dulac-Arnold et al. 2020).

The combined easy, medium and hard are rows of `configs/realworld.py`; every number
here can also be set alone: `--config.environment.challenges.action_delay=3`.
`stac.environments.realworld` explains each of them, and the order in which they act.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stac.config.checks import check, check_ranges, choose

BUFFERS = ("faithful", "reset")
SCHEDULERS = (
    *("constant", "random_walk", "drift_pos", "drift_neg"),
    *("cyclic_pos", "cyclic_neg", "uniform", "saw_wave"),
)
OWN = -1.0  # in the place of a perturbation's number: the parameter has its own


@dataclasses.dataclass(frozen=True)
class Challenges:
    """What makes a task hard for the agent; by default nothing."""

    # Whether delays, counters and held values run on over episodes, as the original's
    # do ("faithful"), or start anew with each ("reset").
    buffers: str = "faithful"

    # How late, in control steps.
    action_delay: int = 0
    observation_delay: int = 0
    reward_delay: int = 0

    # Standard deviations of Gaussian noise, in the units of what they are added to.
    action_noise: float = 0.0  # clipped to the bounds afterwards
    observation_noise: float = 0.0

    # A free element is hit with a probability a step, for so many steps.
    observation_dropped: float = 0.0  # reads 0
    observation_dropped_steps: int = 1
    observation_stuck: float = 0.0  # keeps what it read before
    observation_stuck_steps: int = 1
    action_dropped: float = 0.0
    action_dropped_steps: int = 1
    action_stuck: float = 0.0
    action_stuck_steps: int = 1
    action_repetition: float = 0.0  # the whole action
    action_repetition_steps: int = 1  # 1: no effect

    # A parameter of the model that changes between episodes.
    perturbation: str = ""  # of stac.environments.realworld.models.PARAMETERS; "": none
    # The original's default is constant.
    perturbation_scheduler: str = "uniform"
    perturbation_period: int = 1  # episodes between changes; the first begins with one
    perturbation_start: float = OWN  # in the parameter's unit, like the next three
    perturbation_minimum: float = OWN
    perturbation_maximum: float = OWN
    perturbation_std: float = OWN  # of a change

    # Entries of the observation that are standard normal noise.
    dummy_dimensions: int = 0

    # Which constraints hold; the episode goes on where one does not.
    safety: bool = False
    safety_coefficient: float = 1.0  # scales the limits; 1 is the easiest
    safety_observed: bool = True  # as the entry `constraints`
    safety_action_change: bool = False  # one more constraint: how fast controls change

    # (1 - coefficient) * reward + coefficient * share of the constraints that hold.
    multi_objective: bool = False
    multi_objective_coefficient: float = 0.0
    multi_objective_observed: bool = False  # as the entry `multiobj`: [reward, share]

    def __post_init__(self) -> None:
        choose(f"{_PREFIX}buffers", self.buffers, BUFFERS)
        scheduler = self.perturbation_scheduler
        choose(f"{_PREFIX}perturbation_scheduler", scheduler, SCHEDULERS)
        ranges = {
            "[0, 10000]": "action_delay observation_delay reward_delay"
            " dummy_dimensions",
            "[1, 10000]": "observation_dropped_steps observation_stuck_steps"
            " action_dropped_steps action_stuck_steps action_repetition_steps"
            " perturbation_period",
            "[0, 1]": "observation_dropped observation_stuck action_dropped"
            " action_stuck action_repetition safety_coefficient"
            " multi_objective_coefficient",
            "[0, inf)": "action_noise observation_noise",
            "(0, inf) or -1": " ".join(_PERTURBATION),
        }
        check_ranges(_PREFIX, self, ranges)
        check(
            self.safety or not self.multi_objective,
            f"{_PREFIX}multi_objective weighs the constraints: set safety=true as well",
        )


def implied(plain: Challenges, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The changes that follow from others, by the names of the configuration's fields.

    Another parameter is perturbed within its own range, and not within the range that a
    combined challenge has for its parameter.

    Args:
      plain: the challenges before the changes.
      changes: values by the names of the configuration's fields.
    """
    parameter = changes.get(f"{_PREFIX}perturbation", plain.perturbation)
    if parameter == plain.perturbation:
        return {}
    return {f"{_PREFIX}{name}": OWN for name in _PERTURBATION}


_PREFIX = "environment.challenges."
_PERTURBATION = (
    *("perturbation_start", "perturbation_minimum"),
    *("perturbation_maximum", "perturbation_std"),
)
