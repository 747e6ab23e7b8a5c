"""Saved policies as functions, with all of their noise, some of it, or none."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from stac.agents import make as agents
from stac.agents.base import Agent
from stac.config import Config, changed, check, flat
from stac.distributions import SAMPLED, STILL
from stac.environments import make
from stac.environments.base import BatchedEnvironment, EnvironmentSpec
from stac.evaluation import episodes, protocols
from stac.runtime import actor
from stac.runtime.storage import checkpoints, workdir
from stac.types import Array, CoreState, Params


@dataclasses.dataclass(frozen=True, repr=False)
class Policy:
    """A run's policy, from observations to actions; `stac.load` reads one.

        policy = stac.load("runs/catch")
        core = policy.start(num_envs=1)
        actions, core = policy(observation, first, core, key)

    It acts on the CPU. A call changes nothing: the core state, which recurrent
    networks need and others ignore, goes in and comes out.
    """

    config: Config  # of the run
    spec: EnvironmentSpec
    params: Params  # what an actor gets
    updates: int  # behind these parameters
    _agents: dict[float, Agent] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        played = f"{self.config.environment.domain} {self.config.environment.task}"
        return f"<{self.config.agent.name} on {played}, update {self.updates:,}>"

    @property
    def frames(self) -> int:
        """Environment frames that those updates consumed."""
        return self.updates * self.agent(SAMPLED).frames_per_update

    def start(self, num_envs: int) -> CoreState:
        """The core state for E environments before their first rows."""
        with jax.default_device(actor.acting_device()):
            return self.agent(SAMPLED).initial_core_state(num_envs)

    def __call__(
        self,
        observation: Array,
        first: Array,
        core: CoreState,
        key: Array,
        noise: float = SAMPLED,
    ) -> tuple[np.ndarray, CoreState]:
        """Chooses an action for each of E environments.

        Args:
          observation: [E, ...], as in `spec`; images are uint8 [E, C, H, W].
          first: [E] bool, where an episode begins: the core state begins anew there.
          core: from `start`, or from the call for the row before.
          key: `jax.random.PRNGKey(…)`, another one for every call.
          noise: 1: sampled, as an actor does; 0: the greedy or the mean action.
            Continuous actions also have what is between: a sample's distance to the
            mean is multiplied by it.

        Returns:
          [E] int32 choices, or [E, A] float32 before the tanh, as the environments of
          `environment` take them; and the core state for the next row.

        Raises:
          ValueError: discrete actions with another noise than 0 or 1.
        """
        agent = self.agent(noise)
        with jax.default_device(actor.acting_device()):
            # Params are put on the device once; the cores of one row after another are.
            output, core = jax.jit(agent.act)(
                self.params, key, jnp.asarray(observation), jnp.asarray(first), core
            )
        return np.asarray(output.action), core

    def environment(self, num_envs: int = 1, seed: int = 0) -> BatchedEnvironment:
        """Builds E copies of the run's environment, under the suite's own rules."""
        return make.factory(protocols.evaluated(self.config))(seed, num_envs)

    def act(self, num_envs: int, noise: float, seed: int) -> episodes.Act:
        """This policy for one call of `episodes.returns`."""
        key = jax.random.PRNGKey(seed)
        return episodes.acting(self.agent(noise), self.params, num_envs, key)

    def agent(self, noise: float) -> Agent:
        """The agent that acts with so much noise; built, and compiled, once."""
        if noise not in self._agents:
            self._agents[noise] = agents.build(self.config, self.spec, noise)
        return self._agents[noise]

    def of(self, params: Params, updates: int) -> Policy:
        """The same run's policy after other updates."""
        params = jax.device_put(params, actor.acting_device())
        return dataclasses.replace(self, params=params, updates=updates)


def load(path: str | pathlib.Path, best: bool = False) -> Policy:
    """Reads the policy that a run has saved, whatever its runtime; see `Policy`.

    Args:
      path: the run's workdir.
      best: reads the best-scoring checkpoint that `--best` kept, and not the newest.

    Raises:
      ConfigError: no run is there, or nothing is saved yet, or it cannot be read.
    """
    path = pathlib.Path(path).expanduser()
    config = configuration(path)
    place = path / (workdir.BEST if best else workdir.CHECKPOINTS)
    nothing = f"{path}: nothing is saved there yet"
    if best:
        nothing = f"{path}: no best checkpoint is there: train with --best"
    check(place.is_dir(), nothing)
    spec = make.spec(protocols.evaluated(config))
    agent = agents.build(config, spec)
    with jax.default_device(actor.acting_device()):
        like = jax.eval_shape(agent.init, jax.random.PRNGKey(0))
        like = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)
    with contextlib.closing(checkpoints.Checkpoints(place, keep=1)) as saved:
        steps = saved.steps()
        check(bool(steps), nothing)
        state = saved.restore(steps[-1], like, acting=False).state
    return Policy(config, spec, (), 0).of(agent.actor_params(state), steps[-1])


def configuration(path: pathlib.Path) -> Config:
    """The configuration of the run in this workdir.

    A field that is younger than the run has its default.

    Raises:
      ConfigError: no run is there, or this version does not know its configuration.
    """
    place = path / workdir.CONFIG
    check(place.exists(), f"{path}: is no run's workdir: it has no {workdir.CONFIG}")
    values = flat(workdir.written(path))
    check(values, f"{place}: is not a configuration")
    default = flat(dataclasses.asdict(Config()))
    strange = [
        name for name in values.keys() - default if not name.startswith(workdir.FREE)
    ]
    options = ", ".join(sorted(strange))
    check(not strange, f"{place}: this version of stac does not know {options}")
    # JSON has lists, and a configuration tuples.
    known = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if name in default
    }
    return changed(Config(), known)


def ways(
    config: Config, spec: EnvironmentSpec, factors: Sequence[float] = (SAMPLED, STILL)
) -> Mapping[str, float]:
    """The noise of each way of acting, by its name.

    `sampled` and `greedy` where actions are discrete, `sampled`, `mean` and `x0.5`
    where they are continuous. A random ensemble is `sampled` alone: which head acts
    is random too.
    """
    if config.agent.behaviour == "random_head":
        factors = (SAMPLED,)
    still = "mean" if spec.continuous else "greedy"
    names = {SAMPLED: "sampled", STILL: still}
    return {names.get(factor, f"x{factor:g}"): factor for factor in factors}
