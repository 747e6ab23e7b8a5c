"""Puts a learner together from a configuration and a workdir, in any runtime."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from stac import config as configuration
from stac.config import Config
from stac.runtime import checkpoints, devices, learner, loggers, terminal, workdir
from stac.types import Params


def cadence(config: Config, frames_per_step: int) -> learner.Cadence:
    """What the configuration says of how often and how long."""
    return learner.Cadence(
        frames_per_update=configuration.frames_per_update(config, frames_per_step),
        total_frames=config.total_frames,
        log_seconds=config.runtime.log_every_seconds,
        checkpoint_seconds=config.runtime.checkpoint_every_seconds,
    )


@contextlib.contextmanager
def open_learner(
    config: Config,
    frames_per_step: int,
    learner_devices: devices.LearnerDevices,
    path: str | pathlib.Path,
    publish: Callable[[int, Params], None],
) -> Iterator[learner.Learner]:
    """A learner at the workdir's newest checkpoint, or at its beginning.

    Args:
      config: the run.
      frames_per_step: the environment's action repeat.
      learner_devices: with the agent in them.
      path: a prepared workdir.
      publish: takes (updates, numpy parameters for actors), the first ones at once.

    Yields:
      The learner; its files are closed at the end of the block, saving is its own.

    Raises:
      ConfigError: the checkpoint is damaged or of another configuration.
    """
    path = pathlib.Path(path)
    with contextlib.ExitStack() as stack:
        progress = terminal.Terminal(config.total_frames)
        progress.status("building the learner")
        logger = loggers.Tee(
            loggers.JsonLines(path / workdir.METRICS),
            loggers.TensorBoard(path),
            progress,
        )
        stack.callback(logger.close)
        saved = checkpoints.Checkpoints(
            path / workdir.CHECKPOINTS, config.runtime.checkpoints_to_keep
        )
        stack.callback(saved.close)
        state, counters = learner_devices.init(config.seed), {}
        if latest := saved.latest(like=state):
            state, counters = latest.state, latest.counters
            progress.status(f"continuing from update {latest.step}")
        made = learner.Learner(
            learner_devices,
            state,
            counters,
            cadence(config, frames_per_step),
            learner.Outlets(publish, saved.save, logger, progress.status),
        )
        if made.done:
            progress.status(f"nothing left to do: {_frames(config)} are done")
        yield made
        done = f"done: {_frames(config)}; " if made.done else ""
        progress.close(f"{done}update {made.saved or 0:,} is saved in {path}")


def _frames(config: Config) -> str:
    return f"{terminal.amount(config.total_frames)} frames"
