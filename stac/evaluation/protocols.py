"""The suite's own rules of evaluation, as a change of a run's configuration.

atari      A start of 0 to 30 random no-ops, whole games (a lost life ends nothing),
           raw rewards, at most 108,000 frames, four frames to an action. Sticky
           actions and the set of actions are those that the run was trained with
           (`environment.protocol`), for they are part of the task.
control    1,000 steps; no first episode is cut short.
realworld  The same, with the challenges of the run.
others     Whole episodes.

Training differs less than in other code: its environments already give raw rewards and
whole games, and the learner clips rewards and takes a lost life for an end. So what
changes is that no episode is cut (`stagger`), and that nothing is kept for snapshots.
"""

from __future__ import annotations

import dataclasses

from stac.config import Config
from stac.environments import make


def evaluated(config: Config, beside: bool = False) -> Config:
    """The configuration under which the policies of a run are scored.

    Args:
      config: of the run.
      beside: whether the run goes on meanwhile: then one thread plays, and all other
        cores are the run's.
    """
    environment, runtime = config.environment, config.runtime
    if make.reads(environment.domain, "environment.stagger"):
        environment = dataclasses.replace(environment, stagger=False)
    if beside:
        environment = dataclasses.replace(environment, threads=1, workers="serial")
    # Not lockstep: its Atari takes snapshots. One actor: all cores are its share.
    runtime = dataclasses.replace(runtime, name="threads", num_actors=1, listen="")
    return dataclasses.replace(config, environment=environment, runtime=runtime)
