"""Perturbed parameters: how each is set in the XML, and its values over episodes.

Ranges, edits and rules are the Real-World RL suite's (Dulac-Arnold et al. 2020). Three
of its oddities are kept: see `_walker_torso`, the humanoid's `contact_friction` and
`_saw_wave`.
"""

from __future__ import annotations

import xml.etree.ElementTree as etree
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stac import config
from stac.config.challenges import OWN, Challenges

Model = etree.Element  # the root of a parsed model; edits can be repeated on it


class Parameter(NamedTuple):
    """One number of a model, with the suite's own range."""

    start: float  # of the unperturbed model
    minimum: float
    maximum: float
    std: float  # of a change
    edit: Callable[[Model, float], None]


def parse(text: str | bytes) -> Model:
    """Reads a model without its textures.

    No sensor sees them, and they are most of the time that compiling takes: nine tenths
    for the cartpole, as long as a third of an episode.
    """
    model = etree.fromstring(text)
    for assets in model.iter("asset"):
        for texture in assets.findall("texture"):
            assets.remove(texture)
    for material in model.iter("material"):
        material.attrib.pop("texture", None)
    return model


def text(model: Model) -> bytes:
    """The model's XML."""
    return etree.tostring(model)


def _set(model: Model, path: str, **attributes: str) -> None:
    """Sets attributes of every element at `path`, of which there must be some."""
    elements = model.findall(path)
    if not elements:
        raise ValueError(f"the model has no {path}")
    for element in elements:
        element.attrib.update(attributes)


def _pole_length(model: Model, v: float) -> None:
    """The pole's mass grows with its length [m]."""
    _set(model, _POLE + "geom", fromto=f"0 0 0 0 0 {v}", mass=f"{v / 10.0}")


def _walker_thigh(model: Model, v: float) -> None:
    """Half the length [m] of both thighs; the legs hang at their lower ends."""
    thighs = "./worldbody/body/body"
    _set(model, f"{thighs}/geom", pos=f"0 0 {-v}", size=f"0.05 {v}")
    _set(model, f"{thighs}/body", pos=f"0 0 {-0.25 - 2.0 * v}")


def _walker_torso(model: Model, v: float) -> None:
    """Half the length [m] of the torso; like the original, both legs on one side."""
    _set(model, "./worldbody/body/geom", size=f"0.07 {v}")
    _set(model, "./worldbody/body/body", pos=f"0 -.05 {-v}")


def _quadruped_shin(model: Model, v: float) -> None:
    """How far [m] the shins reach forward, and down; the feet start at their ends."""
    knees = "./default/default/default[@class='knee']/geom"
    _set(model, knees, fromto=f"0 0 0 {v} 0 {-v}")
    _set(model, "./worldbody/body/body/body/body", pos=f"{v} 0 {-v}")


def _friction(path: str, friction: str = "{v} .1 .1") -> Callable[[Model, float], None]:
    """An edit of the friction of a body and the floor; MuJoCo takes the larger one."""

    def edit(model: Model, v: float) -> None:
        _set(model, path, friction=friction.format(v=v))
        _set(model, "./worldbody/geom[@name='floor']", friction=f"{v} .1 .1")

    return edit


def _attribute(path: str, attribute: str) -> Callable[[Model, float], None]:
    """An edit of one attribute."""
    return lambda model, v: _set(model, path, **{attribute: f"{v}"})


def _damping(path: str) -> Callable[[Model, float], None]:
    return _attribute(path, "damping")


_BODY = "./default/default[@class='body']/"
_POLE = "./default/default[@class='pole']/"
_TOES = "./default/default/default[@class='toe']/geom"
_SLIDER = ".//joint[@name='slider']"
_TORSO = ".//geom[@name='torso']"
_HEAD = ".//geom[@name='head']"

PARAMETERS: dict[str, dict[str, Parameter]] = {
    "cartpole": {
        "pole_length": Parameter(1.0, 0.3, 3.0, 0.3, _pole_length),
        "pole_mass": Parameter(0.1, 0.1, 10.0, 0.5, _attribute(_POLE + "geom", "mass")),
        "joint_damping": Parameter(2e-6, 2e-6, 0.2, 0.02, _damping(_POLE + "joint")),
        "slider_damping": Parameter(5e-4, 5e-4, 3.0, 0.3, _damping(_SLIDER)),
    },
    "walker": {
        "thigh_length": Parameter(0.225, 0.1, 0.7, 0.05, _walker_thigh),
        "torso_length": Parameter(0.3, 0.1, 0.7, 0.05, _walker_torso),
        "joint_damping": Parameter(0.1, 0.1, 10.0, 0.5, _damping("./default/joint")),
        "contact_friction": Parameter(
            0.7, 0.01, 2.0, 0.05, _friction("./default/geom")
        ),
    },
    "quadruped": {
        "shin_length": Parameter(0.25, 0.25, 2.0, 0.1, _quadruped_shin),
        "torso_density": Parameter(
            1000.0, 500.0, 10000.0, 500.0, _attribute(_TORSO, "density")
        ),
        "joint_damping": Parameter(30.0, 10.0, 150.0, 10.0, _damping(_BODY + "joint")),
        # Of the toes only the sliding friction.
        "contact_friction": Parameter(1.5, 0.1, 4.5, 0.5, _friction(_TOES, "{v}")),
    },
    "humanoid": {
        # Its start is not the unperturbed model: that floor has 1.0.
        "contact_friction": Parameter(0.7, 0.05, 1.2, 0.1, _friction(_BODY + "geom")),
        "joint_damping": Parameter(0.2, 0.01, 2.5, 0.2, _damping(_BODY + "joint")),
        "head_size": Parameter(0.09, 0.01, 0.19, 0.02, _attribute(_HEAD, "size")),
    },
}


class Range(NamedTuple):
    """The range of the parameter in one run, in its own unit."""

    start: float
    minimum: float
    maximum: float
    std: float  # of a change


class Schedule:
    """The value of a perturbed parameter, from episode to episode."""

    def __init__(
        self, scheduler: str, within: Range, random: np.random.Generator
    ) -> None:
        self.within = within
        self.value = within.start
        self.sign = 1.0  # of saw_wave
        self._scheduler = scheduler
        self.random = random

    def next(self) -> float:
        """Draws a change, applies the rule and clips to the range.

        A start outside the range is clipped too, at the first call.
        """
        change = float(self.random.normal(scale=self.within.std))
        value = RULES[self._scheduler](self, change)
        self.value = min(max(value, self.within.minimum), self.within.maximum)
        return self.value


def schedule(
    domain: str, challenges: Challenges, random: np.random.Generator
) -> Schedule:
    """Builds a schedule; the number -1 means the parameter's own.

    Raises:
      ConfigError: the domain has no such parameter, or its range is empty.
    """
    what = f"environment.challenges.perturbation of the {domain}"
    known = PARAMETERS[domain]
    own = known[config.choose(what, challenges.perturbation, known)]
    chosen = {n: getattr(challenges, f"perturbation_{n}") for n in Range._fields}
    within = Range(
        *(getattr(own, n) if value == OWN else value for n, value in chosen.items())
    )
    config.check(
        within.minimum <= within.maximum,
        f"environment.challenges.perturbation={challenges.perturbation}: the minimum"
        f" {within.minimum} is above the maximum {within.maximum}",
    )
    return Schedule(challenges.perturbation_scheduler, within, random)


def _cyclic(schedule: Schedule, move: float) -> float:
    """Starts again at either end of the range."""
    value, within = schedule.value + move, schedule.within
    return value if within.minimum < value < within.maximum else within.start


def _saw_wave(schedule: Schedule, change: float) -> float:
    """As in the original, the value becomes the change instead of moving by it."""
    value = schedule.sign * abs(change)
    if not schedule.within.minimum < value < schedule.within.maximum:
        schedule.sign = -schedule.sign
    return value


# (schedule, a draw from N(0, std)) -> the next value before it is clipped.
RULES: dict[str, Callable[[Schedule, float], float]] = {
    "constant": lambda schedule, change: schedule.value,
    "random_walk": lambda schedule, change: schedule.value + change,
    "drift_pos": lambda schedule, change: schedule.value + abs(change),
    "drift_neg": lambda schedule, change: schedule.value - abs(change),
    "cyclic_pos": lambda schedule, change: _cyclic(schedule, abs(change)),
    "cyclic_neg": lambda schedule, change: _cyclic(schedule, -abs(change)),
    "uniform": lambda schedule, change: schedule.random.uniform(
        schedule.within.minimum, schedule.within.maximum
    ),
    "saw_wave": _saw_wave,
}
