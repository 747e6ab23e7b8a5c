"""The Real-World RL challenges of one run, each on its own (Dulac-Arnold et al. 2020).

The combined easy, medium and hard are rows of `configs/realworld.py`; every number
here can also be set alone: `--config.environment.challenges.action_delay=3`.
`stac.environments.realworld` explains each of them, and the order in which they act.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from stac.config.checks import Checked, Fraction, NotNegative, check

SCHEDULERS = (
    *("constant", "random_walk", "drift_pos", "drift_neg"),
    *("cyclic_pos", "cyclic_neg", "uniform", "saw_wave"),
)
OWN = -1.0  # in the place of a perturbation's number: the parameter has its own

Steps = Annotated[int, "[0, 10000]"]
Length = Annotated[int, "[1, 10000]"]
Own = Annotated[float, "(0, inf) or -1"]

_PREFIX = "environment.challenges."


@dataclasses.dataclass(frozen=True)
class Challenges(Checked, section=_PREFIX):
    """The effects that make a task hard for the agent; by default none."""

    # Whether delays, counters and held values run on over episodes, as the original's
    # do ("faithful"), or start anew with each ("reset").
    buffers: Annotated[str, ("faithful", "reset")] = "faithful"

    # How late, in control steps.
    action_delay: Steps = 0
    observation_delay: Steps = 0
    reward_delay: Steps = 0

    # Standard deviations of Gaussian noise, in the units of what they are added to.
    action_noise: NotNegative = 0.0  # clipped to the bounds afterwards
    observation_noise: NotNegative = 0.0

    # A free element is hit with a probability a step, for so many steps.
    observation_dropped: Fraction = 0.0  # reads 0
    observation_dropped_steps: Length = 1
    observation_stuck: Fraction = 0.0  # keeps what it read before
    observation_stuck_steps: Length = 1
    action_dropped: Fraction = 0.0
    action_dropped_steps: Length = 1
    action_stuck: Fraction = 0.0
    action_stuck_steps: Length = 1
    action_repetition: Fraction = 0.0  # the whole action
    action_repetition_steps: Length = 1  # 1: no effect

    # A parameter of the model that changes between episodes.
    perturbation: str = ""  # of stac.environments.realworld.models.PARAMETERS; "": none
    # The original's default is constant.
    perturbation_scheduler: Annotated[str, SCHEDULERS] = "uniform"
    perturbation_period: Length = 1  # episodes between changes; one is at the start
    perturbation_start: Own = OWN  # in the parameter's unit, like the next three
    perturbation_minimum: Own = OWN
    perturbation_maximum: Own = OWN
    perturbation_std: Own = OWN  # of a change

    # Entries of the observation that are standard normal noise.
    dummy_dimensions: Steps = 0

    # Which constraints hold; the episode goes on where one does not.
    safety: bool = False
    safety_coefficient: Fraction = 1.0  # scales the limits; 1 is the easiest
    safety_observed: bool = True  # as the entry `constraints`
    safety_action_change: bool = False  # one more constraint: how fast controls change

    # (1 - coefficient) * reward + coefficient * share of the constraints that hold.
    multi_objective: bool = False
    multi_objective_coefficient: Fraction = 0.0
    multi_objective_observed: bool = False  # as the entry `multiobj`: [reward, share]

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.safety or not self.multi_objective,
            f"{_PREFIX}multi_objective weighs the constraints: set safety=true as well",
        )


def implied(plain: Challenges, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of the configuration that follow from others.

    Another parameter is perturbed within its own range, and not within the range that a
    combined challenge has for its parameter.
    """
    parameter = changes.get(f"{_PREFIX}perturbation", plain.perturbation)
    if parameter == plain.perturbation:
        return {}
    numbers = ("start", "minimum", "maximum", "std")
    return {f"{_PREFIX}perturbation_{name}": OWN for name in numbers}
