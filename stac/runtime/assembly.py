"""Puts a learner together from a configuration and a workdir, in any runtime."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Mapping

from stac import config as configuration
from stac.config import Config
from stac.runtime import devices, learner
from stac.runtime.faults.shutdown import Saved
from stac.runtime.logs import loggers, terminal
from stac.runtime.storage import checkpoints, disk, workdir
from stac.runtime.storage.checkpoints import Counters
from stac.types import LearnerState, Params

# The bytes that actors, and what lies between them and the learner, are to continue
# from beside a state of so many updates; None where they would be of another moment.
Acting = Callable[[int], Mapping[str, bytes] | None]


def cadence(config: Config, frames_per_step: int) -> learner.Cadence:
    """What the configuration says of how often and how long."""
    return learner.Cadence(
        frames_per_update=configuration.frames_per_update(config, frames_per_step),
        total_frames=config.total_frames,
        log_seconds=config.runtime.log_every_seconds,
        checkpoint_seconds=config.runtime.checkpoint_every_seconds,
        skipped_share=config.runtime.skipped_share,
    )


@contextlib.contextmanager
def open_learner(
    config: Config,
    frames_per_step: int,
    learner_devices: devices.LearnerDevices,
    path: str | pathlib.Path,
    publish: Callable[[int, Params], None],
    acting: Acting = lambda updates: None,
) -> Iterator[learner.Learner]:
    """A learner at the workdir's newest checkpoint, or at its beginning.

    Args:
      config: the run.
      frames_per_step: the environment's action repeat.
      learner_devices: with the agent in them.
      path: a prepared workdir.
      publish: takes (updates, numpy parameters for actors), the first ones at once.
      acting: asked at every save, in the thread that saves; what the checkpoint held
        is the learner's `acting`.

    Yields:
      The learner; its files are closed at the end of the block, saving is its own.

    Raises:
      ConfigError: no checkpoint can be saved in the workdir; all checkpoints are
        damaged, or the newest that is not is of another configuration.
    """
    path = pathlib.Path(path)
    with contextlib.ExitStack() as stack:
        progress = terminal.Terminal(
            config.total_frames, shown=learner_devices.agent.watched.shown
        )
        stack.callback(progress.close)
        progress.status("building the learner")
        saved = checkpoints.Checkpoints(
            path / workdir.CHECKPOINTS, config.runtime.checkpoints_to_keep
        )
        stack.callback(saved.close)
        first = learner_devices.init(config.seed)
        saved.try_to_save(first)
        latest = saved.latest(like=first, say=progress.note)
        if latest is not None:
            progress.status(f"continuing from update {latest.step}")
        elif (path / workdir.METRICS).exists():
            progress.status("no checkpoint is there: starting from the beginning")
        begun = latest or checkpoints.Checkpoint(0, first, counters={}, acting={})
        logger = _logger(path, int(begun.state.frames), progress)
        stack.callback(logger.close)

        def save(updates: int, state: LearnerState, counters: Counters) -> None:
            acted = _asked(acting, updates, progress.note)
            saved.save(updates, state, counters, acted)

        made = learner.Learner(
            learner_devices,
            begun.state,
            begun.counters,
            cadence(config, frames_per_step),
            learner.Outlets(publish, save, logger, progress.status, progress.note),
            acting=begun.acting,
        )
        progress.waiting_seconds = made.waiting_seconds
        if made.done:
            progress.status(f"nothing left to do: {_frames(made)} are done")
        yield made
        progress.close(_last_words(made, path))


def finished(
    config: Config, frames_per_step: int, path: str | pathlib.Path
) -> list[str]:
    """Lines about a run that is complete by its newest checkpoint; [] for any other.

    Args:
      config: the run.
      frames_per_step: the environment's action repeat.
      path: a prepared workdir.
    """
    folder = pathlib.Path(path) / workdir.CHECKPOINTS
    names = [step.name for step in folder.glob("*") if step.name.isdigit()]
    updates = max(map(int, names), default=0)
    frames = updates * configuration.frames_per_update(config, frames_per_step)
    if frames < config.total_frames:
        return []
    with contextlib.closing(checkpoints.Checkpoints(folder, keep=len(names))) as saved:
        if not saved.is_intact(updates):
            return []  # the learner will set it aside and go on from one before
    done = f"{terminal.amount(frames)} frames"
    return [
        f"nothing left to do: {done} are done",
        f"done: {done}; update {updates:,} is saved in {path}",
    ]


def save(made: learner.Learner, path: str | pathlib.Path) -> Saved:
    """Saves what is learned, from any thread, for `Stop.saves`."""
    succeeded = made.save()
    return Saved(succeeded, _last_words(made, pathlib.Path(path)))


def _last_words(made: learner.Learner, path: pathlib.Path) -> str:
    done = f"done: {_frames(made)}; " if made.done else ""
    if made.saved is None:
        return f"{done}nothing is saved in {path}"
    return f"{done}update {made.saved:,} is saved in {path}"


def _asked(
    acting: Acting, updates: int, say: Callable[[str], None]
) -> Mapping[str, bytes] | None:
    """What `acting` answers; None where it fails: the learner's state comes first."""
    try:
        return acting(updates)
    except Exception as error:  # noqa: BLE001 - told
        say(f"saved without the states of actors: {disk.reason(error)}")
        return None


def _logger(
    path: pathlib.Path, frames: int, progress: terminal.Terminal
) -> loggers.Logger:
    rows = loggers.JsonLines(path / workdir.METRICS)
    events = loggers.TensorBoard(path, frames)
    return loggers.Tee(
        loggers.Tolerant(rows, workdir.METRICS, progress.note),
        loggers.Tolerant(events, "events.out.tfevents", progress.note),
        progress,
    )


def _frames(made: learner.Learner) -> str:
    return f"{terminal.amount(made.frames)} frames"
