"""The replay of a run, where its agent has one, in every runtime."""

from __future__ import annotations

import jax
import numpy as np

from stac.agents.base import Agent
from stac.config import Config, check
from stac.environments import make
from stac.environments.base import EnvironmentSpec
from stac.runtime import assembly
from stac.runtime.faults import lines
from stac.runtime.learner import Learner
from stac.runtime.queues.replay import NAME, Replay, transition_bytes


def build(
    agent: Agent, spec: EnvironmentSpec, config: Config, learners: int
) -> Replay | None:
    """Builds this host's share, and looks at the beginnings of some episodes.

    Args:
      agent: of the run.
      spec: of its environments.
      config: the run.
      learners: the devices of all hosts that learn.

    Raises:
      ConfigError: these devices cannot share what is drawn.
    """
    if agent.replay is None:
        return None
    shared = {
        "transitions of a minibatch": agent.replay.minibatch,
        "initial states": agent.replay.initial,
    }
    for name, count in shared.items():
        check(
            count % learners == 0,
            f"{count} {name} do not divide over {learners} devices that learn: use"
            " other --learner_devices",
        )
    hosts, host = jax.process_count(), jax.process_index()
    size = agent.replay._replace(
        capacity=agent.replay.capacity // hosts,
        least=agent.replay.least // hosts,
        draws=agent.replay.draws // hosts,
        initial=agent.replay.initial // hosts,
    )
    [own] = np.random.SeedSequence([config.seed, host]).spawn(1)
    seed = int(own.generate_state(1)[0] >> 1)
    megabytes = size.capacity * transition_bytes(spec) / 1e6
    saved = megabytes <= config.runtime.saved_replay_mb
    if not saved:
        lines.to_stdout(
            f"checkpoints leave out the replay, {megabytes:,.0f} MB when it is full:"
            f" runtime.saved_replay_mb={config.runtime.saved_replay_mb}"
        )
    seen = make.first_observations(config, seed, size.initial)
    return Replay(size, seed, seen, saved=saved)


def saving(replay: Replay | None) -> assembly.Acting:
    """Its part of a checkpoint, in the runtimes that save nothing else."""
    return lambda updates: None if replay is None else replay.snapshot()


def resume(replay: Replay | None, learner: Learner) -> None:
    """Continues with what the learner's checkpoint held, or says that it is empty."""
    if replay is None or not learner.updates:
        return
    saved = learner.acting
    # The bytes are as many as the replay's.
    learner.acting = {name: each for name, each in saved.items() if name != NAME}
    try:
        replay.restore(saved)
    except ValueError as error:
        lines.to_stderr(f"the replay begins empty: {error}")
        return
    if not len(replay):
        lines.to_stderr("the replay begins empty: nothing of it was saved")
