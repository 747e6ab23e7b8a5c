"""The runtime of a run: its parts, how often it reports, the failures it survives."""

from __future__ import annotations

import dataclasses

from stac.config.checks import check, choose

RUNTIMES = ("launchpad", "threads", "lockstep")


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """How the work is spread; nothing here changes what an update computes."""

    name: str = "launchpad"
    num_actors: int = 2
    envs_per_actor: int = 32  # E
    queue_capacity: int = 0  # trajectories; 0: one batch. Actors wait when the queue is
    # full: every batch that waits in it was acted with parameters one update older
    learner_devices: int = 0  # 0: all of them
    log_every_seconds: float = 5.0
    checkpoint_every_seconds: float = 300.0
    checkpoints_to_keep: int = 3
    skipped_share: float = 0.1  # of the last 100 updates; more that are passed over,
    # for a loss or a gradient that is not finite, stop the run
    actor_restarts: int = 10  # of each actor, within so many minutes; 0: none
    actor_restart_minutes: int = 10
    silence_seconds: float = 180.0  # no sign of life for so long is a fault; 0: none is

    def __post_init__(self) -> None:
        choose("runtime", self.name, RUNTIMES)
        for name in (
            "num_actors",
            "envs_per_actor",
            "checkpoints_to_keep",
            "actor_restart_minutes",
        ):
            value = getattr(self, name)
            check(value >= 1, f"runtime.{name}={value}: must be at least 1")
        for name in (
            "queue_capacity",
            "learner_devices",
            "actor_restarts",
            "silence_seconds",
        ):
            value = getattr(self, name)
            check(value >= 0, f"runtime.{name}={value}: must be 0 or more")
        check(
            0 <= self.skipped_share <= 1,
            f"runtime.skipped_share={self.skipped_share}: must be in [0, 1]",
        )
        for name in ("log_every_seconds", "checkpoint_every_seconds"):
            value = getattr(self, name)
            check(value > 0, f"runtime.{name}={value}: must be positive")
