"""The real world's numbers: control's, and the combined challenges of the RWRL suite.

"RWRL" is Dulac-Arnold et al. (2020), its combined challenges; Zahavy et al. (2020) kept
the numbers of control from features for it (Sec. 4.2).
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from stac.config import Challenges, Config, EnvironmentConfig, check, choose
from stac.configs import control


def config(
    task: str = "cartpole.swingup", agent: str = "stacx", challenge: str = "easy"
) -> Config:
    """The paper's run of one task of the Real-World RL suite.

    Args:
      task: `domain.task`, as `stac.environments.realworld` spells it.
      agent: a row of `stac.agents.variants`.
      challenge: a row of `CHALLENGES`.

    Raises:
      ConfigError: there is no such agent or challenge, or the domain is not RWRL's.
    """
    domain = choose("realworld domain", task.split(".")[0], PERTURBATIONS)
    return dataclasses.replace(
        control.config(task, agent, "features"),
        environment=EnvironmentConfig(
            domain="realworld",
            task=task,
            stagger=True,  # every episode is 1,000 steps: else all would end at once
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
    check(
        challenge not in vars(Challenges()),
        f"challenge {challenge}: is one number, not a combination: write"
        f" --challenge=none --config.environment.challenges.{challenge}=<value>",
    )
    row = CHALLENGES[choose("challenge", challenge, CHALLENGES)]
    if challenge == "none":
        return row
    perturbed = PERTURBATIONS[domain]
    within: Within = getattr(perturbed, challenge)
    return dataclasses.replace(
        row,
        perturbation=perturbed.parameter,
        perturbation_start=perturbed.start,
        perturbation_minimum=within.minimum,
        perturbation_maximum=within.maximum,
        perturbation_std=within.std,
    )


class Within(NamedTuple):
    """The range of a parameter."""

    minimum: float
    maximum: float
    std: float  # stored by RWRL; its scheduler, uniform, does without


class Perturbed(NamedTuple):
    """A parameter of the model, drawn anew for each episode (RWRL)."""

    parameter: str  # of stac.environments.realworld.models
    start: float  # of the unperturbed model
    easy: Within
    medium: Within
    hard: Within


PERTURBATIONS = {
    "cartpole": Perturbed(
        parameter="pole_length",  # m
        start=1.0,
        easy=Within(0.9, 1.1, 0.02),
        medium=Within(0.7, 1.7, 0.1),
        hard=Within(0.5, 2.3, 0.15),
    ),
    "walker": Perturbed(
        parameter="thigh_length",  # m, half of it
        start=0.225,
        easy=Within(0.225, 0.25, 0.002),
        medium=Within(0.225, 0.4, 0.015),
        hard=Within(0.225, 0.55, 0.04),
    ),
    "quadruped": Perturbed(
        parameter="shin_length",  # m, forward and down
        start=0.25,
        easy=Within(0.25, 0.3, 0.005),
        medium=Within(0.25, 0.8, 0.05),
        hard=Within(0.25, 1.4, 0.1),
    ),
    "humanoid": Perturbed(
        parameter="contact_friction",
        start=0.7,
        easy=Within(0.6, 0.8, 0.02),
        medium=Within(0.5, 0.9, 0.04),
        hard=Within(0.4, 1.0, 0.06),
    ),
}

# RWRL; delays and steps in control steps, noise in absolute units. All of them perturb,
# none has safety, several objectives, or dropped or stuck actions.
CHALLENGES = {
    "none": Challenges(),
    "easy": Challenges(
        action_delay=3,
        observation_delay=3,
        reward_delay=10,
        action_noise=0.1,
        observation_noise=0.1,
        observation_dropped=0.01,
        observation_dropped_steps=1,
        observation_stuck=0.01,
        observation_stuck_steps=1,
        action_repetition=1.0,
        action_repetition_steps=1,  # no effect
        perturbation_scheduler="uniform",
        perturbation_period=1,
        dummy_dimensions=10,
    ),
    "medium": Challenges(
        action_delay=6,
        observation_delay=6,
        reward_delay=20,
        action_noise=0.3,
        observation_noise=0.3,
        observation_dropped=0.05,
        observation_dropped_steps=5,
        observation_stuck=0.05,
        observation_stuck_steps=5,
        action_repetition=1.0,
        action_repetition_steps=2,
        perturbation_scheduler="uniform",
        perturbation_period=1,
        dummy_dimensions=20,
    ),
    "hard": Challenges(
        action_delay=9,
        observation_delay=9,
        reward_delay=40,
        action_noise=1.0,
        observation_noise=1.0,
        observation_dropped=0.1,
        observation_dropped_steps=10,
        observation_stuck=0.1,
        observation_stuck_steps=10,
        action_repetition=1.0,
        action_repetition_steps=3,
        perturbation_scheduler="uniform",
        perturbation_period=1,
        dummy_dimensions=50,
    ),
}
