"""Puts a learner together from a configuration and a workdir, in any runtime."""

from __future__ import annotations

import contextlib
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

import jax

from stac.agents import base
from stac.config import Config
from stac.environments.base import EnvironmentSpec
from stac.runtime import devices, evaluator, learner
from stac.runtime.faults.shutdown import Saved, Stop
from stac.runtime.logs import loggers, summary, terminal, trackers, words
from stac.runtime.queues import reverb_items
from stac.runtime.storage import checkpoints, disk, workdir
from stac.runtime.storage.checkpoints import Counters
from stac.types import LearnerState, Params, Trajectory

# The bytes that actors, and what lies between them and the learner, are to continue
# from beside a state of so many updates; None where they would be of another moment.
Acting = Callable[[int], Mapping[str, bytes] | None]
_OTHER_HOSTS_SECONDS = 60.0  # between the lines of hosts after the first


@contextlib.contextmanager
def open_learner(
    config: Config,
    learner_devices: devices.LearnerDevices,
    path: str | pathlib.Path,
    publish: Callable[[int, Params], None],
    stop: Stop,
    acting: Acting = lambda updates: None,
    others: Mapping[str, loggers.Logger] = MappingProxyType({}),
    view: terminal.View | None = None,
    play: evaluator.Play | None = None,
) -> Iterator[learner.Learner]:
    """A learner at the workdir's newest checkpoint, or at its beginning.

    Of several hosts the first reads and writes the workdir, and the others begin with
    its state.

    Args:
      config: the run.
      learner_devices: with the agent in them.
      path: a prepared workdir.
      publish: takes (updates, parameters for actors, on the first learner device),
        the first ones at once.
      stop: of the run; gets the function that saves what is learned.
      acting: asked at every save, in the thread that saves; what the checkpoint held
        is the learner's `acting`.
      others: loggers beside those of the workdir and the terminal, by their names.
      view: of the run; None: a table where this process has a terminal, else lines.
      play: plays the episodes of evaluations beside training; None: there are none.

    Yields:
      The learner; its files are closed at the end of the block, saving is its own.

    Raises:
      ConfigError: no checkpoint can be saved in the workdir; all checkpoints are
        damaged, or the newest that is not is of another configuration.
    """
    path = pathlib.Path(path)
    writes = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        shown = learner_devices.agent.watched.shown
        progress = _terminal(config, view or _view(), shown, path)
        stack.callback(progress.close)
        progress.status("building the learner")
        begun = checkpoints.Checkpoint(0, learner_devices.init(config.seed), {}, {})
        files: dict[str, loggers.Logger] = {}
        save: Callable[[int, LearnerState, Counters], object] = _save_nothing
        if writes:
            saved = checkpoints.Checkpoints(
                path / workdir.CHECKPOINTS, config.runtime.checkpoints_to_keep
            )
            stack.callback(saved.close)
            begun = _newest(saved, begun, path, progress)
            save = functools.partial(_save, saved, acting, progress)
            updates = int(begun.state.updates)
            frames = updates * learner_devices.agent.frames_per_update
            files = {
                **others,
                workdir.METRICS: loggers.JsonLines(path / workdir.METRICS),
                **trackers.build(config.runtime.logger, path, config, frames),
            }
        begun = begun._replace(state=learner_devices.agreed(begun.state))
        logger = loggers.Loggers({**files, "the terminal": progress}, progress.note)
        stack.callback(logger.close)

        outlets = learner.Outlets(publish, save, logger, progress.status, progress.note)
        if writes and play is not None:
            parts = config, learner_devices, begun.state, path, files, play
            outlets = _with_evaluator(*parts, stop, stack, outlets)
        built = learner.Learner(learner_devices, begun, config, outlets)
        del begun  # its bytes may be gigabytes
        stop.saves(lambda: _saved(built, path))
        progress.waiting_seconds = built.waiting_seconds
        try:
            yield built
        finally:
            if built.saved is not None or built.done:
                progress.close(
                    "\n".join([*_summary(built, path), _last_words(built, path)])
                )


def example(
    agent: base.Agent, spec: EnvironmentSpec, config: Config
) -> Trajectory | None:
    """A batch in shape, for which an update can be compiled; None behind a replay."""
    if agent.replay is not None:
        return None
    core_state = jax.eval_shape(lambda: agent.initial_core_state(1))
    item = reverb_items.spec(spec, config.batch, core_state)
    return reverb_items.batch(item, config.batch.batch_size)


def _view() -> terminal.View:
    if jax.process_count() == 1:
        return terminal.view()
    first = jax.process_index() == 0
    return terminal.Lines(seconds=terminal.SECONDS if first else _OTHER_HOSTS_SECONDS)


def _terminal(
    config: Config,
    view: terminal.View,
    shown: Mapping[str, str],
    path: pathlib.Path,
) -> terminal.Terminal:
    played = config.environment
    task = f"{played.domain} {played.task}"
    title = f"{config.agent.name} on {task}, seed {config.seed}"
    return terminal.Terminal(
        config.total_frames, view, shown=shown, title=title, workdir=str(path)
    )


def _with_evaluator(
    config: Config,
    learner_devices: devices.LearnerDevices,
    like: LearnerState,
    path: pathlib.Path,
    files: Mapping[str, loggers.Logger],
    play: evaluator.Play,
    stop: Stop,
    stack: contextlib.ExitStack,
    outlets: learner.Outlets,
) -> learner.Outlets:
    """Outlets that also lead to an evaluator beside training.

    Its rows go to a file of their own and not to that of the updates' rows.
    """
    best = None
    if config.runtime.keep_best:
        saved = checkpoints.Checkpoints(path / workdir.BEST, keep=1)
        stack.callback(saved.close)
        way = learner_devices.agent.watched.best_by
        best = evaluator.Best(saved, like, learner_devices.fetch, outlets.note, way)
    others = {name: each for name, each in files.items() if name != workdir.METRICS}
    own = loggers.JsonLines(path / workdir.EVALUATIONS)
    rows = loggers.Loggers({workdir.EVALUATIONS: own, **others}, outlets.note)
    own_outlets = outlets._replace(logger=rows)
    beside = evaluator.Evaluator(play, config, learner_devices, own_outlets, best)
    stack.callback(beside.close)
    stop.wakes(beside.break_off)
    return outlets._replace(finished=beside.finished, complete=beside.complete)


def _newest(
    saved: checkpoints.Checkpoints,
    first: checkpoints.Checkpoint,
    path: pathlib.Path,
    progress: terminal.Terminal,
) -> checkpoints.Checkpoint:
    """The checkpoint to continue from, or `first`; says which."""
    saved.try_to_save(first.state)
    latest = saved.latest(like=first.state, say=progress.note)
    if latest is not None:
        progress.status(f"continuing from update {latest.step}")
    elif (path / workdir.METRICS).exists():
        progress.status("no checkpoint is there: starting from the beginning")
    return latest or first


def _save(
    saved: checkpoints.Checkpoints,
    acting: Acting,
    progress: terminal.Terminal,
    updates: int,
    state: LearnerState,
    counters: Counters,
) -> None:
    """The learner's state comes first: where a replay finds no room, it goes alone."""
    states = None
    try:
        states = acting(updates)
    except Exception as error:  # noqa: BLE001 - environments raise anything
        reason = disk.reason(error)
        progress.note(f"saved without the states of actors: {reason}")
    try:
        saved.save(updates, state, counters, states)
    except checkpoints.NotSaved as error:
        if not states:
            raise
        if saved.save(updates, state, counters):
            progress.note(f"saved without the states of actors and the replay: {error}")


def _save_nothing(updates: int, state: LearnerState, counters: Counters) -> None:
    """On all hosts but the first."""


def _summary(built: learner.Learner, path: pathlib.Path) -> list[str]:
    return [] if jax.process_index() else summary.text(path, built.done)


def _saved(built: learner.Learner, path: pathlib.Path) -> Saved:
    succeeded = built.save()
    return Saved(succeeded, _last_words(built, path), _summary(built, path))


def _last_words(built: learner.Learner, path: pathlib.Path) -> str:
    done = f"done: {words.amount(built.frames)} frames; " if built.done else ""
    if jax.process_index():
        return f"{done}the first host saves"
    saved = "nothing" if built.saved is None else f"update {built.saved:,}"
    return f"{done}{saved} is saved in {path}"
