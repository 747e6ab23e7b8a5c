"""An environment, an agent, a feed and a clock whose every number can be foretold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stac.agents import base as agents
from stac.config import Config, RuntimeConfig
from stac.environments import base as environments
from stac.learning.update import State
from stac.runtime.queues.base import Closed
from stac.runtime.storage.checkpoints import Checkpoint
from stac.types import ActorOutput, Experience, Timestep
from tests.runtime.experiences import numbered

FRAMES_PER_STEP = 4
ACTIONS = 7


def episode_steps(env: int, episode: int) -> int:
    """How long an episode is."""
    return 2 + (3 * env + 5 * episode) % 6


class Counting:
    """Rows say where they are: observation (env, episode, step), all float32.

    The reward of a step is 100 env + 10 episode + step; even episodes end truly, odd
    ones at a time limit. `history` and `actions` keep all that was given and taken.
    """

    def __init__(self, num_envs: int, staggered: bool = False) -> None:
        self.num_envs = num_envs
        self.spec = environments.EnvironmentSpec(
            (3,),
            np.dtype(np.float32),
            ACTIONS,
            False,
            FRAMES_PER_STEP,
            staggered=staggered,
        )
        self._env = np.arange(num_envs)
        self._episode = np.zeros(num_envs, int)
        self._step = np.zeros(num_envs, int)
        self.history: list[Timestep] = []
        self.actions: list[np.ndarray] = []
        self.closed = False

    def reset(self) -> Timestep:
        return self._timestep()

    def step(self, action: np.ndarray) -> Timestep:
        self.actions.append(np.array(action))
        over = self.history[-1].last
        self._episode += over
        self._step = np.where(over, 0, self._step + 1)
        return self._timestep()

    def close(self) -> None:
        self.closed = True

    def _timestep(self) -> Timestep:
        first = self._step == 0
        length = np.vectorize(episode_steps)(self._env, self._episode)
        last = self._step == length
        reward = 100 * self._env + 10 * self._episode + self._step
        timestep = Timestep(
            observation=np.stack(
                [self._env, self._episode, self._step], axis=-1, dtype=np.float32
            ),
            reward=np.where(first, 0, reward).astype(np.float32),
            discount=1 - (last & (self._episode % 2 == 0)).astype(np.float32),
            first=first,
            last=last,
        )
        self.history.append(timestep)
        return timestep


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Batches:
    """A feed of batches with these rewards, then Closed or an error.

    Each comes so many seconds after the last; 17 more wait.
    """

    def __init__(
        self,
        rewards: Sequence[float],
        clock: Clock | None = None,
        seconds: float = 0.0,
        error: BaseException | type[BaseException] = Closed,
    ) -> None:
        self._rewards = list(rewards)
        self._clock, self._seconds, self._error = clock or Clock(), seconds, error
        self.always_ready, self.closed = True, False

    @property
    def left(self) -> int:
        return len(self._rewards)

    def next(self) -> Experience:
        if not self._rewards:
            raise self._error
        self._clock.now += self._seconds
        return numbered(range(4), reward=self._rewards.pop(0))

    def ready(self) -> bool:
        return self.always_ready

    def size(self) -> int:
        return 17

    def close(self) -> None:
        self.closed = True


def following_agent() -> agents.Agent:
    """Its actions follow from observation and parameters, its core counts steps.

    The core state before a row is the number of rows since the last `first` one, that
    one included. Its parameters are one number.
    """
    import jax.numpy as jnp

    from stac.agents import actor_critic

    def act(params, key, observation, first, core):
        del key
        action = (observation @ jnp.array([1.0, 2.0, 3.0]) + params["b"]) % ACTIONS
        count = jnp.where(first, 0.0, core["count"]) + 1.0
        action = action.astype(jnp.int32)
        return ActorOutput(action, -0.5 - action), {"count": count}

    def no_update(state, trajectory, all_sum):
        raise NotImplementedError

    return agents.Agent(
        init=lambda key: learner_state(),
        initial_core_state=lambda envs: {"count": jnp.zeros(envs)},
        act=act,
        update=no_update,
        actor_params=lambda state: state.params,
        frames_per_update=1,
        watched=actor_critic.WATCHED,
    )


def counting_agent(frames_per_update: int) -> agents.Agent:
    """Its one parameter adds up the rewards it learns from, its metrics say so."""

    def update(state, trajectory, all_sum):
        added = all_sum(trajectory.reward.sum())
        state = state._replace(
            params={"b": state.params["b"] + added, "unused": state.params["unused"]},
            updates=state.updates + 1,
        )
        return state, {"added": added, "reward_max": trajectory.reward.max()}

    return following_agent()._replace(
        update=update,
        actor_params=lambda state: {"b": state.params["b"]},
        frames_per_update=frames_per_update,
    )


def cadence(total: int, log: float, save: float, share: float = 0.1) -> Config:
    """A run of so many frames that logs and saves every so many seconds."""
    runtime = RuntimeConfig(
        log_every_seconds=log, checkpoint_every_seconds=save, skipped_share=share
    )
    return Config(total_frames=total, runtime=runtime)


def checkpoint(state: State | None = None, counters=None) -> Checkpoint:
    """Where a learner begins."""
    return Checkpoint(0, state or learner_state(), counters or {}, acting={})


def learner_state() -> State:
    return State(
        params={"b": np.float32(0), "unused": np.zeros(2, np.float32)},
        optimizer=(),
        metaparameters={},
        meta_optimizer=(),
        updates=np.int32(0),
        key=np.zeros(2, np.uint32),
    )
