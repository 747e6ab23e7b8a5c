"""The four tasks, and the construction of a simulator for one of them.

This file imports dm_control: call `stac.environments.rendering.suite` first, so that no
warning about displays is printed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from dm_control.rl import control
from dm_control.suite import base, cartpole, common, humanoid, quadruped, walker

from stac.config.challenges import Challenges
from stac.environments.realworld import models, safety

ASSETS = {name: models.text(models.parse(xml)) for name, xml in common.ASSETS.items()}
STEPS = 1_000  # of an episode


class Watched(base.Task):
    """A task that checks the constraints after every step.

    It also checks them at the start of an episode; for the cartpole and the walker that
    is before MuJoCo has computed the orientations of bodies, so that the first row has
    the new angles, but the orientations of the model at rest. So has the original.
    """

    satisfied: np.ndarray  # [C] bool, once `watch` was called
    _watched: tuple[str, Challenges] | None = None
    _control: np.ndarray | None = None  # [A] before the step

    def watch(self, domain: str, challenges: Challenges) -> None:
        self._watched = domain, challenges
        self.satisfied = np.ones(len(safety.names(domain, challenges)), bool)

    def before_step(self, action: np.ndarray, physics: Any) -> None:
        self._control = np.array(physics.control())
        super().before_step(action, physics)

    def after_step(self, physics: Any) -> None:
        super().after_step(physics)
        if self._watched is not None:
            self.satisfied = safety.satisfied(*self._watched, physics, self._control)
        self._control = None


class Cartpole(Watched, cartpole.Balance):
    """The suite's."""


class Walker(Watched, walker.PlanarWalker):
    """The suite's."""


class Quadruped(Watched, quadruped.Move):
    """The suite's, but upright at the start, with any heading."""

    def initialize_episode(self, physics: Any) -> None:
        yaw = self.random.uniform(0.0, 2.0 * np.pi)
        heading = np.array([np.cos(yaw / 2.0), 0.0, 0.0, np.sin(yaw / 2.0)])
        quadruped._find_non_contacting_height(physics, heading)
        base.Task.initialize_episode(self, physics)  # not the suite's own start


class Humanoid(Watched, humanoid.Humanoid):
    """The suite's."""


class Row(NamedTuple):
    """One task, as the Real-World RL suite sets it up."""

    suite: Any  # dm_control's module of the domain
    control_timestep: float  # seconds
    task: Callable[..., Watched]  # takes `random`, a seed; speeds are in m/s


ROWS = {
    "cartpole.swingup": Row(
        cartpole, 0.01, functools.partial(Cartpole, swing_up=True, sparse=False)
    ),
    "walker.walk": Row(walker, 0.025, functools.partial(Walker, move_speed=1.0)),
    "quadruped.walk": Row(
        quadruped, 0.02, functools.partial(Quadruped, desired_speed=0.5)
    ),
    "humanoid.walk": Row(
        humanoid, 0.025, functools.partial(Humanoid, move_speed=1.0, pure_state=False)
    ),
}


class Maker:
    """Builds a task's simulator from a value of one of its parameters.

    The value is written into the XML, and the model compiled anew; None leaves the
    model as it is. All simulators have one task, and so one stream of initial states.
    """

    def __init__(self, name: str, challenges: Challenges, seed: int) -> None:
        """Reads the model of a row of `ROWS`; the seed draws the initial states."""
        self._name = name
        self._domain = name.split(".")[0]
        self._parameter = challenges.perturbation
        self._task = ROWS[name].task(random=seed)
        if challenges.safety:
            self._task.watch(self._domain, challenges)
        if name == "quadruped.walk":
            xml = quadruped.make_model(floor_size=10.0)  # m: 20 s at 0.5 m/s
        else:
            xml, _ = ROWS[name].suite.get_model_and_assets()
        self._model = models.parse(xml)

    def __call__(self, value: float | None) -> control.Environment:
        row = ROWS[self._name]
        if value is not None:
            parameter = models.PARAMETERS[self._domain][self._parameter]
            parameter.edit(self._model, value)
        return control.Environment(
            row.suite.Physics.from_xml_string(models.text(self._model), ASSETS),
            self._task,
            time_limit=STEPS * row.control_timestep,
            control_timestep=row.control_timestep,
        )
