"""The Real-World RL challenges of one run, each on its own (Dulac-Arnold et al. 2020).

The combined easy, medium and hard are rows of `configs/realworld.py`; every number
here can also be set alone: `--config.environment.challenges.action_delay=3`. What each
does, and in which order, is told by `stac.environments.realworld`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection

from stac.config.checks import check, choose

BUFFERS = ("faithful", "reset")
SCHEDULERS = (
    *("constant", "random_walk", "drift_pos", "drift_neg"),
    *("cyclic_pos", "cyclic_neg", "uniform", "saw_wave"),
)
OWN = -1.0  # a perturbation's number that is the parameter's own


@dataclasses.dataclass(frozen=True)
class Challenges:
    """What stands between a task and the agent; the defaults are no challenge."""

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
    # The original's default is constant. What a scheduler does without is refused.
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
        choose("environment.challenges.buffers", self.buffers, BUFFERS)
        choose(
            "environment.challenges.perturbation_scheduler",
            self.perturbation_scheduler,
            SCHEDULERS,
        )
        for names, lowest, highest, must in _RANGES:
            for name in names:
                self._check(name, lowest <= getattr(self, name) <= highest, must)
        for name in _PERTURBATION:
            value = getattr(self, name)
            fits = value == OWN or 0 < value < math.inf
            self._check(name, fits, "must be positive, or -1 for the parameter's own")
        self._check_multi_objective()

    def _check(self, name: str, fits: bool, must: str) -> None:
        value = getattr(self, name)
        check(fits, f"{_PREFIX}.{name}={value}: {must}")

    def _check_multi_objective(self) -> None:
        if not self.multi_objective:
            return
        what = f"{_PREFIX}.multi_objective"
        check(self.safety, f"{what} weighs the constraints: set safety=true as well")
        check(
            self.multi_objective_coefficient > 0 or self.multi_objective_observed,
            f"{what} alone changes nothing: set {what}_coefficient or {what}_observed",
        )


def alone(number: str) -> dict[str, str]:
    """What is to be set for a number, and only it, to have an effect, and to what."""
    told = [*_owners(number), number, *_ALSO.get(number, ())]
    return {name: _told(name) for name in told}


def _owners(number: str) -> list[str]:
    """What a number belongs to, such as `perturbation`: nothing reads it without."""
    names = [field.name for field in dataclasses.fields(Challenges)]
    return [name for name in names if number.startswith(f"{name}_")]


def _told(name: str) -> str:
    default = getattr(Challenges(), name)
    if isinstance(default, bool):
        return str(not default).lower()
    return _WORDS.get(name, "<value>")


def check_changes(
    plain: Challenges, changed: Challenges, asked: Collection[str]
) -> None:
    """Refuses what was asked for and does nothing in `changed`.

    What `plain` says and nothing reads any more is left alone: whoever takes one effect
    out of a combination need not take its numbers out as well. And refuses the range of
    a combination's parameter for another one.

    Args:
      plain: the combination that was begun with.
      changed: what came of it.
      asked: names of the numbers that were set, to whatever.

    Raises:
      ConfigError: it does nothing, or the range is another parameter's.
    """
    for field in dataclasses.fields(Challenges):
        value = getattr(changed, field.name)
        if value == getattr(plain, field.name):
            continue
        said = f"{_PREFIX}.{field.name}={value}: does nothing without {_PREFIX}"
        for owner in _owners(field.name):
            check(bool(getattr(changed, owner)), f"{said}.{owner}")
        if field.name == "action_repetition" and value:
            once = changed.action_repetition_steps == 1
            check(not once, f"{said}.action_repetition_steps=<2 or more>")
        if field.name == "buffers":
            held = any(getattr(changed, name) for name in _HELD)
            check(held, f"{said}.action_delay=<1 or more>, say: nothing is held")
    check(
        not changed.safety or changed.safety_observed or changed.multi_objective,
        f"{_PREFIX}.safety: constraints that are not observed change nothing: leave"
        " safety_observed or set multi_objective and multi_objective_coefficient",
    )
    if changed.perturbation:
        _check_perturbation(plain, changed, asked)


def _check_perturbation(
    plain: Challenges, changed: Challenges, asked: Collection[str]
) -> None:
    scheduler = changed.perturbation_scheduler
    for name, unread in _UNREAD.items():
        value = getattr(changed, name)
        readers = ", ".join(one for one in SCHEDULERS if one not in unread)
        check(
            value in (getattr(plain, name), OWN) or scheduler not in unread,
            f"{_PREFIX}.{name}={value}: does nothing with perturbation_scheduler="
            f"{scheduler}: it is for {readers}",
        )
    others = [  # numbers of the plain one's parameter
        name
        for name in _PERTURBATION
        if scheduler not in _UNREAD.get(name, ()) and name not in asked
        if getattr(changed, name) != OWN
    ]
    check(
        changed.perturbation == plain.perturbation or not others,
        f"{_PREFIX}.perturbation={changed.perturbation}: {', '.join(others)} would"
        f" still be of {plain.perturbation}: set them as well (-1: its own)",
    )
    moves = [name for name in asked if name in _PERTURBATION]
    check(
        scheduler != "constant" or any(getattr(changed, name) != OWN for name in moves),
        f"{_PREFIX}.perturbation_scheduler=constant: changes nothing without"
        f" {_PREFIX}.perturbation_start",
    )


_PREFIX = "environment.challenges"
_LARGEST = 10_000  # of what is held (rows, noise in a row), and longer than an episode
_RANGES = (  # (fields, lowest, highest, what is said)
    (
        ("action_delay", "observation_delay", "reward_delay", "dummy_dimensions"),
        *(0, _LARGEST, f"must be in [0, {_LARGEST}]"),
    ),
    (
        (
            *("observation_dropped_steps", "observation_stuck_steps"),
            *("action_dropped_steps", "action_stuck_steps", "action_repetition_steps"),
            "perturbation_period",
        ),
        *(1, _LARGEST, f"must be in [1, {_LARGEST}]"),
    ),
    (
        (
            *("observation_dropped", "observation_stuck"),
            *("action_dropped", "action_stuck", "action_repetition"),
        ),
        *(0, 1, "must be a probability, in [0, 1]"),
    ),
    (
        ("action_noise", "observation_noise"),
        *(0, 1e9, "must be a standard deviation: finite, not negative"),
    ),
    (
        ("safety_coefficient", "multi_objective_coefficient"),
        *(0, 1, "must be in [0, 1]"),
    ),
)
# What runs on over episodes, or begins anew: `buffers` is about it.
_HELD = (
    *("action_delay", "observation_delay", "reward_delay"),
    *("observation_dropped", "observation_stuck"),
    *("action_dropped", "action_stuck", "action_repetition"),
)
# What a number needs beside those that its own name begins with.
_ALSO = {
    "action_repetition": ("action_repetition_steps",),  # 1 by default: once, as without
    "buffers": ("action_delay",),
    "perturbation_start": ("perturbation_scheduler",),
    "perturbation_std": ("perturbation_scheduler",),
    "safety_observed": ("multi_objective", "multi_objective_coefficient"),
    "multi_objective": ("safety", "multi_objective_coefficient"),
    "multi_objective_coefficient": ("safety",),
    "multi_objective_observed": ("safety",),
}
_WORDS = {"buffers": "reset", "perturbation_scheduler": "random_walk"}
# Rules of stac.environments.realworld.schedules that do without.
_UNREAD = {
    "perturbation_start": ("uniform", "saw_wave"),
    "perturbation_std": ("constant", "uniform"),
    "perturbation_period": ("constant",),
}
_PERTURBATION = (
    *("perturbation_start", "perturbation_minimum"),
    *("perturbation_maximum", "perturbation_std"),
)
