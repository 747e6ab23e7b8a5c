"""The Real-World RL suite: four tasks behind delays, noise, failures and more.

Built over dm_control from the description of the original (Dulac-Arnold et al. 2020).
One step takes these effects, in this order:

    action        delay, noise and clipping, dropped, stuck, repetition
    simulator     steps with the action that is left
    constraints   which of them hold now
    reward        the task's, from the true state and the applied action;
                  mixed with the share of constraints that hold; delay
    observation   the task's entries: noise, dropped, stuck, delay;
                  then `constraints`, `dummy-0` …, `multiobj`, none of them delayed

At a reset the observation takes the same way, and nothing is delayed into a reward.
Before each episode whose turn it is, the model is built anew with another parameter.
Every episode is 1,000 steps and ends with discount 1: a time limit. What a run scores
is the sum of the rewards that came out, delayed as they are.

What the original does and one might not expect, kept:
  - Nothing is cleared between episodes: the first observations of one are the last of
    the one before it, and so are actions and rewards. `buffers="reset"` clears.
  - `constraints` is never late. The original puts it before the delay, but as one array
    that it then overwrites, so that what comes out late shows what holds now.
What differs: its noise comes from a generator of its own, seeded here, not from NumPy's
global one; and asking for the specs does not advance the delays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dm_env
import numpy as np

from stac import config
from stac.config.challenges import Challenges
from stac.environments import control, rendering
from stac.environments.realworld import pipeline as pipeline
from stac.environments.realworld import safety as realworld_safety
from stac.environments.realworld import schedules
from stac.environments.realworld.schedules import Schedule

TASKS = ("cartpole.swingup", "walker.walk", "quadruped.walk", "humanoid.walk")
Make = Callable[[float | None], Any]  # a perturbed value, or none -> a simulator


def task(name: str) -> str:
    """The name `domain.task` of a task, from any usual spelling of it.

    `walker_walk`, `Walker-Walk` and `walker.realworld_walk` are `walker.walk`.

    Raises:
      ConfigError: no such task; the message names the nearest ones.
    """
    letters = control.letters(name).replace("realworld", "")
    for known in TASKS:
        if letters == known.replace(".", ""):
            return known
    return config.choose("realworld task", name, TASKS)


def environment(task: str, challenges: Challenges, seed: int) -> dm_env.Environment:
    """One environment of one task.

    Args:
      task: any spelling that `stac.environments.realworld.task` knows.
      challenges: what stands between it and the agent.
      seed: in [0, 2^32); of the initial states and of everything that is drawn here.

    Raises:
      ConfigError: an unknown task, a parameter that its model has not, an empty range.
    """
    name = _task(task)
    domain = name.split(".")[0]
    random = np.random.default_rng(seed)
    schedule = None
    if challenges.perturbation:
        schedule = schedules.schedule(domain, challenges, random)
    safety = None
    if challenges.safety:
        safety = realworld_safety.Safety(
            domain, challenges.safety_coefficient, challenges.safety_action_change
        )
    rendering.suite(renders=False)  # imports dm_control, quietly
    from stac.environments.realworld import tasks

    make = tasks.Maker(name, challenges.perturbation, safety, seed)
    return Challenged(make, challenges, random, schedule)


class Challenged(dm_env.Environment):
    """A simulator behind its challenges."""

    def __init__(
        self,
        make: Make,
        challenges: Challenges,
        random: np.random.Generator,
        schedule: Schedule | None = None,
    ) -> None:
        """Builds the simulator as it is, unperturbed.

        Args:
          make: builds a dm_env.Environment; where there is a schedule, from a value.
            Where safety is on, its `task.satisfied` says which constraints hold; where
            objectives are observed, `task.get_reward(physics)` is the task's reward.
          challenges: which effects there are.
          random: of all that is drawn.
          schedule: of the perturbed parameter.
        """
        self._make = make
        self._challenges = challenges
        self._random = random
        self._schedule = schedule
        self._simulator = make(None)
        self._value: float | None = None  # of the parameter in the simulator
        self._episodes = 0
        self._over = True
        self._layout = dict(self._simulator.observation_spec())
        self._dummies = [f"dummy-{i}" for i in range(challenges.dummy_dimensions)]
        self._start_pipelines()

    def reset(self) -> dm_env.TimeStep:
        self._perturb()
        self._episodes += 1
        if self._challenges.buffers == "reset":
            self._start_pipelines()
        timestep = self._simulator.reset()
        self._over = False
        return timestep._replace(observation=self._observe(timestep))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """Takes a step, or starts the next episode after the last one's end."""
        if self._over:
            return self.reset()
        applied = self._actions(np.array(action, float))
        timestep = self._simulator.step(applied)
        self._over = timestep.last()
        reward = self._rewards(self._mixed(timestep.reward))
        return timestep._replace(reward=reward, observation=self._observe(timestep))

    def action_spec(self) -> dm_env.specs.BoundedArray:
        return self._simulator.action_spec()

    def observation_spec(self) -> dict[str, dm_env.specs.Array]:
        """The task's entries, then those of the challenges; advances nothing."""
        challenges, array = self._challenges, dm_env.specs.Array
        spec = dict(self._layout)
        if challenges.safety and challenges.safety_observed:
            shape = self._simulator.task.satisfied.shape
            spec["constraints"] = array(shape, bool, "constraints")
        for name in self._dummies:
            spec[name] = array((), float, name)
        if challenges.multi_objective and challenges.multi_objective_observed:
            spec["multiobj"] = array((2,), float, "multiobj")
        return spec

    def close(self) -> None:
        self._simulator.close()

    def _start_pipelines(self) -> None:
        challenges, bounds = self._challenges, self._simulator.action_spec()
        self._actions = pipeline.actions(
            challenges, bounds.minimum, bounds.maximum, self._random
        )
        self._observations = pipeline.observations(challenges, self._random)
        self._rewards: pipeline.Delay[float] = pipeline.Delay(challenges.reward_delay)

    def _perturb(self) -> None:
        """Builds another model where it is time and the value has changed."""
        due = self._episodes % self._challenges.perturbation_period == 0
        if self._schedule is None or not due:
            return
        value = self._schedule.next()
        if value != self._value:
            self._simulator.close()
            self._simulator = self._make(value)
            self._value = value

    def _mixed(self, reward: float) -> float:
        """The task's reward and the share of constraints that hold, as one."""
        if not self._challenges.multi_objective:
            return reward
        weight = self._challenges.multi_objective_coefficient
        return (1.0 - weight) * reward + weight * self._share()

    def _observe(self, timestep: dm_env.TimeStep) -> dict[str, np.ndarray]:
        challenges = self._challenges
        said = self._entries(self._observations(_flat(timestep.observation)))
        if challenges.safety and challenges.safety_observed:
            said["constraints"] = self._simulator.task.satisfied.copy()
        noise = self._random.standard_normal(len(self._dummies))
        said.update(zip(self._dummies, noise, strict=True))
        if challenges.multi_objective and challenges.multi_objective_observed:
            simulator = self._simulator
            reward = simulator.task.get_reward(simulator.physics)
            said["multiobj"] = np.array([reward, self._share()])
        return said

    def _entries(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Cuts a copy of a vector into the task's entries: others may wait with it."""
        flat = flat.copy()
        entries, start = {}, 0
        for name, spec in self._layout.items():
            size = int(np.prod(spec.shape))
            entries[name] = flat[start : start + size].reshape(spec.shape)
            start += size
        return entries

    def _share(self) -> float:
        """Of the constraints, those that hold."""
        return float(np.mean(self._simulator.task.satisfied))


def _flat(entries: Mapping[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([np.ravel(entry) for entry in entries.values()])


_task = task  # where an argument has the name
