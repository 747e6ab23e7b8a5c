"""The real world's numbers: control's, and the combined challenges of the RWRL suite.

"RWRL" is Dulac-Arnold et al. (2020), its combined challenges; Zahavy et al. (2020) kept
the numbers of control from features for it (Sec. 4.2).
"""

from __future__ import annotations

import dataclasses
import re
from typing import NamedTuple

from stac.config import Challenges, Config, EnvironmentConfig, choose
from stac.configs import control


def config(
    task: str = "cartpole.swingup", agent: str = "stacx", challenge: str = "easy"
) -> Config:
    """The paper's run of one task of the Real-World RL suite.

    Args:
      task: `domain.task`, such as walker.walk.
      agent: a row of `stac.agents.make`.
      challenge: a row of `CHALLENGES`.

    Raises:
      ConfigError: there is no such agent or challenge, or the domain is not RWRL's.
    """
    letters = re.sub("[^a-z]", "", task.lower())  # in any usual spelling
    first = next((name for name in PERTURBATIONS if name in letters), task)
    domain = choose("realworld domain", first, PERTURBATIONS)
    return dataclasses.replace(
        control.config(task, agent, "features"),
        environment=EnvironmentConfig(
            domain="realworld",
            task=task,
            challenges=challenges(domain, challenge),
        ),
    )


def challenges(domain: str, challenge: str) -> Challenges:
    """The combined challenge of a domain.

    Args:
      domain: a row of `PERTURBATIONS`.
      challenge: a row of `CHALLENGES`.

    Raises:
      ConfigError: there is no such challenge.
    """
    row = CHALLENGES[choose("challenge", challenge, CHALLENGES)]
    if challenge == "none":
        return row
    perturbed = PERTURBATIONS[domain]
    minimum, maximum, std = getattr(perturbed, challenge)
    return dataclasses.replace(
        row,
        perturbation=perturbed.parameter,
        perturbation_start=perturbed.start,
        perturbation_minimum=minimum,
        perturbation_maximum=maximum,
        perturbation_std=std,
    )


class Perturbed(NamedTuple):
    """A parameter of the model, drawn anew for each episode (RWRL).

    Each range is its minimum, its maximum and a standard deviation, which RWRL stores
    and its scheduler, uniform, does without.
    """

    parameter: str  # of stac.environments.realworld.models
    start: float  # of the unperturbed model
    easy: tuple[float, float, float]
    medium: tuple[float, float, float]
    hard: tuple[float, float, float]


PERTURBATIONS = {
    "cartpole": Perturbed(
        parameter="pole_length",  # m
        start=1.0,
        easy=(0.9, 1.1, 0.02),
        medium=(0.7, 1.7, 0.1),
        hard=(0.5, 2.3, 0.15),
    ),
    "walker": Perturbed(
        parameter="thigh_length",  # m, half of it
        start=0.225,
        easy=(0.225, 0.25, 0.002),
        medium=(0.225, 0.4, 0.015),
        hard=(0.225, 0.55, 0.04),
    ),
    "quadruped": Perturbed(
        parameter="shin_length",  # m, forward and down
        start=0.25,
        easy=(0.25, 0.3, 0.005),
        medium=(0.25, 0.8, 0.05),
        hard=(0.25, 1.4, 0.1),
    ),
    "humanoid": Perturbed(
        parameter="contact_friction",
        start=0.7,
        easy=(0.6, 0.8, 0.02),
        medium=(0.5, 0.9, 0.04),
        hard=(0.4, 1.0, 0.06),
    ),
}


def _combined(
    delay: int,
    reward_delay: int,
    noise: float,
    hit: float,
    hit_steps: int,
    repetition_steps: int,
    dummies: int,
) -> Challenges:
    """One of RWRL's combined challenges, before its perturbation."""
    return Challenges(
        action_delay=delay,
        observation_delay=delay,
        reward_delay=reward_delay,
        action_noise=noise,
        observation_noise=noise,
        observation_dropped=hit,
        observation_dropped_steps=hit_steps,
        observation_stuck=hit,
        observation_stuck_steps=hit_steps,
        action_repetition=1.0,
        action_repetition_steps=repetition_steps,  # 1: no effect
        dummy_dimensions=dummies,
    )


# RWRL; delays and steps in control steps, noise in absolute units. All of them perturb,
# none has safety, several objectives, or dropped or stuck actions.
CHALLENGES = {
    "none": Challenges(),
    "easy": _combined(3, 10, 0.1, 0.01, hit_steps=1, repetition_steps=1, dummies=10),
    "medium": _combined(6, 20, 0.3, 0.05, hit_steps=5, repetition_steps=2, dummies=20),
    "hard": _combined(9, 40, 1.0, 0.1, hit_steps=10, repetition_steps=3, dummies=50),
}
