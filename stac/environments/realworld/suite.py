"""The Real-World RL suite: four control tasks with challenges (delays, noise, …).

Built over dm_control after the description in Dulac-Arnold et al. (2020). The effects
on one step, in their order:

    action        delay; noise and clipping; dropped; stuck; repetition
    simulator     steps with the resulting action
    constraints   each is checked in the new state
    reward        the task's, of the true state and the applied action; mixed with the
                  share of constraints that hold; delay
    observation   the task's numbers: noise, dropped, stuck, delay; then the entries
                  `constraints`, `dummies` and `multiobj`, which are not delayed

A reset applies the effects on observations in the same way, and no reward is delayed.
Perturbations rebuild the model with another parameter before an episode. Every episode
has 1,000 steps and ends with discount 1: a time limit. The return of an episode is the
sum of its rewards as they come out, after the delay.

Two oddities of the original are kept:
  - Delayed values survive the end of an episode: the first observations, actions and
    rewards of an episode are the last ones of the episode before. `buffers="reset"`
    discards them.
  - The entry `constraints` is never late. The original delays it too, but as one array
    that it overwrites at every step, so that the delayed array holds the new values.
Two things differ from the original: noise comes from a generator with a seed of its
own, not from NumPy's global one; and a call of `observation_spec` does not advance the
delays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from stac.config.challenges import Challenges
from stac.environments import base, rendering
from stac.environments.realworld import models, pipeline

TASKS = ("cartpole.swingup", "walker.walk", "quadruped.walk", "humanoid.walk")
# From the value of the perturbed parameter, None for unperturbed, to a simulator.
Make = Callable[[float | None], Any]


def task(name: str) -> str:
    """The name `domain.task` of a task, from any usual spelling of it.

    `walker_walk`, `Walker-Walk` and `walker.realworld_walk` are `walker.walk`.

    Raises:
      ConfigError: no such task; the message names the nearest ones.
    """
    return base.named("realworld task", re.sub("(?i)realworld.", "", name), TASKS)


def environment(name: str, challenges: Challenges, seed: int) -> dm_env.Environment:
    """One environment of one task.

    Args:
      name: any spelling that `stac.environments.realworld.task` knows.
      challenges: the effects between the task and the agent.
      seed: in [0, 2^32); of the initial states and of all other draws.

    Raises:
      ConfigError: an unknown task, an unknown parameter, or an empty range.
    """
    known = task(name)
    random = np.random.default_rng(seed)
    schedule = None
    if challenges.perturbation:
        schedule = models.schedule(known.split(".")[0], challenges, random)
    rendering.suite(renders=False)  # imports dm_control, quietly
    from stac.environments.realworld import tasks

    make = tasks.Maker(known, challenges, seed)
    return Challenged(make, challenges, random, schedule)


class Challenged(dm_env.Environment):
    """A simulator with challenges between it and the agent."""

    def __init__(
        self,
        make: Make,
        challenges: Challenges,
        random: np.random.Generator,
        schedule: models.Schedule | None = None,
    ) -> None:
        """Builds the unperturbed simulator.

        Args:
          make: builds the simulator, a dm_env.Environment. With safety on, its
            `task.satisfied` says which constraints hold. With observed objectives,
            `task.get_reward(physics)` is the task's reward.
          challenges: the effects.
          random: draws noise and failures.
          schedule: the values of the perturbed parameter; None for no perturbation.
        """
        self._make = make
        self._challenges = challenges
        self._random = random
        self._schedule = schedule
        self._simulator = make(None)
        self._value: float | None = None  # of the parameter in the simulator
        self._episodes = 0
        self._over = True
        self._start_pipelines()

    @property
    def physics(self) -> Any:
        """MuJoCo's, of the simulator of this episode."""
        return self._simulator.physics

    def reset(self) -> dm_env.TimeStep:
        self._perturb()
        self._episodes += 1
        if self._challenges.buffers == "reset":
            self._start_pipelines()
        timestep = self._simulator.reset()
        self._over = False
        return timestep._replace(observation=self._observe(timestep))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """Takes a step, or starts the next episode where one has ended."""
        if self._over:
            return self.reset()
        applied = self._actions(np.array(action, float))
        timestep = self._simulator.step(applied)
        self._over = timestep.last()
        reward = timestep.reward
        if self._challenges.multi_objective:  # a mean with the share that holds
            weight = self._challenges.multi_objective_coefficient
            reward = (1.0 - weight) * reward + weight * self._share()
        reward = self._rewards(reward)
        return timestep._replace(reward=reward, observation=self._observe(timestep))

    def action_spec(self) -> dm_env.specs.BoundedArray:
        return self._simulator.action_spec()

    def observation_spec(self) -> dict[str, dm_env.specs.Array]:
        """The task's numbers, then those of the challenges; delays do not advance."""
        challenges, array = self._challenges, dm_env.specs.Array
        entries = self._simulator.observation_spec().values()
        size = sum(math.prod(entry.shape) for entry in entries)
        spec = {"observations": array((size,), float, "observations")}
        if challenges.safety and challenges.safety_observed:
            shape = self._simulator.task.satisfied.shape
            spec["constraints"] = array(shape, bool, "constraints")
        if dummies := challenges.dummy_dimensions:
            spec["dummies"] = array((dummies,), float, "dummies")
        if challenges.multi_objective and challenges.multi_objective_observed:
            spec["multiobj"] = array((2,), float, "multiobj")
        return spec

    def close(self) -> None:
        self._simulator.close()

    def _start_pipelines(self) -> None:
        challenges, bounds = self._challenges, self._simulator.action_spec()
        self._actions = pipeline.effects(
            "action", challenges, self._random, bounds.minimum, bounds.maximum
        )
        self._observations = pipeline.effects("observation", challenges, self._random)
        self._rewards = pipeline.Delay(challenges.reward_delay)

    def _perturb(self) -> None:
        """Builds another simulator if a change is due and the value has changed."""
        due = self._episodes % self._challenges.perturbation_period == 0
        if self._schedule is not None and due:
            value = self._schedule.next()
            if value != self._value:
                self._simulator.close()
                self._simulator, self._value = self._make(value), value

    def _observe(self, timestep: dm_env.TimeStep) -> dict[str, np.ndarray]:
        challenges, seen = self._challenges, timestep.observation.values()
        flat = np.concatenate([np.ravel(entry) for entry in seen])
        # A copy, because delays hold it too.
        entries = {"observations": self._observations(flat).copy()}
        if challenges.safety and challenges.safety_observed:
            entries["constraints"] = self._simulator.task.satisfied.copy()
        if dummies := challenges.dummy_dimensions:
            entries["dummies"] = self._random.standard_normal(dummies)
        if challenges.multi_objective and challenges.multi_objective_observed:
            simulator = self._simulator
            reward = simulator.task.get_reward(simulator.physics)
            entries["multiobj"] = np.array([reward, self._share()])
        return entries

    def _share(self) -> float:
        """The share of constraints that hold."""
        return float(np.mean(self._simulator.task.satisfied))
