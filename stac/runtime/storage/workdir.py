"""The directory of a run: its configuration, its files, and the process that writes.

<workdir>/config.json          the configuration; a continued run must have the same
<workdir>/metrics.jsonl        loggers.JsonLines
<workdir>/events.out.tfevents… loggers.TensorBoard
<workdir>/wandb/               wandb.WandB, with --logger=wandb
<workdir>/checkpoints/         checkpoints.Checkpoints
<workdir>/checkpoints.damaged/ checkpoints that could not be read
<workdir>/evaluations.jsonl    of the evaluator beside training
<workdir>/evaluation.json      of launch.evaluate: the last one
<workdir>/best/                the best-scoring checkpoint, as in checkpoints/
<workdir>/.lock                held while a run writes here
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from stac.config import Config, ConfigError, check, flat
from stac.runtime.storage import disk

CONFIG = "config.json"
METRICS = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
BEST = "best"
EVALUATIONS = "evaluations.jsonl"
EVALUATION = "evaluation.json"
DAMAGED = f"{CHECKPOINTS}.damaged"
_LOCK = ".lock"

# Sections that the configuration of every version has.
_SECTIONS = {"agent", "batch", "environment", "runtime"}
# Options that may differ between the parts of one run: how the work is spread, not what
# is learned.
FREE = ("runtime.", "environment.threads", "environment.workers")
_DIFFERENCES_NAMED = 3

_HELD: set[int] = set()  # files that hold locks of this process


def locks() -> tuple[int, ...]:
    """Files to hand on to processes that write to this process's workdirs.

    A lock holds until all that have its file are gone, should this process die first.
    """
    return tuple(_HELD)


class Workdir(contextlib.AbstractContextManager["Workdir"]):
    """A directory that this process alone writes to until `close`, or until it dies."""

    def __init__(self, path: pathlib.Path, resumed: bool, lock: int) -> None:
        self.path = path
        self.resumed = resumed  # there is something to continue
        self._lock: int | None = lock
        _HELD.add(lock)

    def close(self) -> None:
        """Gives the directory back; may be called twice."""
        if self._lock is not None:
            _HELD.discard(self._lock)
            os.close(self._lock)
            self._lock = None

    def __exit__(self, *_: object) -> None:
        self.close()


def default(config: Config, *words: str) -> pathlib.Path:
    """`runs/atari/jamesbond/stacx_deep_seed1`: where a run goes by default.

    Args:
      config: the run.
      words: of the command line, that tell runs of one agent and task apart.
    """
    leaf = "_".join([config.agent.name, *words, f"seed{config.seed}"])
    played = config.environment
    return pathlib.Path("runs") / played.domain / played.task / leaf


def place(path: str | pathlib.Path) -> pathlib.Path:
    """Where a workdir is, from the root; ~ and ~user are homes.

    Raises:
      ConfigError: there is no such user; or the path is not UTF-8, and Orbax can write
        to no other.
    """
    try:
        where = pathlib.Path(path).expanduser().absolute()
        str(where).encode()
        os.fsencode(where)
    except RuntimeError as error:
        raise ConfigError(f"--workdir={path}: {error}") from error
    except UnicodeError as error:
        raise ConfigError(
            f"--workdir={ascii(str(path))[1:-1]}: no checkpoint can be saved there, for"
            " its path is not UTF-8 in this locale; set PYTHONUTF8=1 or name another"
        ) from error
    return where


def prepare(path: str | pathlib.Path, config: Config) -> Workdir:
    """Creates the directory, or takes up the run in it, and locks it.

    Raises:
      ConfigError: it cannot be written; it holds something else; it holds a run of
        another configuration (the first differences are named); another process is
        running in it.
    """
    path = place(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(path)
        lock = _take_lock(path)
        try:
            resumed = _begun(path)
            refuse_another(path, config)
            disk.write_whole(path / CONFIG, _as_json(config) + "\n")
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot write to the workdir {path}: {error.strerror};"
            " name another --workdir"
        ) from error
    return Workdir(path, resumed, lock)


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """`["batch.batch_size is 32 there, 8 here"]`, without options that may differ.

    An option that the older file does not have is newer than the run, which went on as
    its default says. One that this version does not have any more is passed over.
    """
    old, new = with_defaults(flat(there)), flat(here)
    return [
        f"{name} is {before!r} there, {value!r} here"
        for name, value in new.items()
        if (before := old.get(name)) != value and not name.startswith(FREE)
    ]


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config.json with the options that are newer than it, by their defaults."""
    return {**flat(content(Config())), **settings}


def _refuse_foreign(path: pathlib.Path) -> None:
    """Nothing has been written yet: files that are not ours stay as they are."""
    if (path / CONFIG).exists():
        ours = {*written(path)} >= _SECTIONS
        why = f"{path / CONFIG} is not a configuration"
    else:
        ours = not _begun(path)
        why = f"{path} holds checkpoints or {METRICS}, and no {CONFIG}"
    check(ours, f"{why}; name another --workdir")


def _begun(path: pathlib.Path) -> bool:
    """Whether a run left anything to continue; a refused start leaves only CONFIG."""
    return (path / METRICS).exists() or any(
        any((path / folder).glob("*")) for folder in (CHECKPOINTS, DAMAGED)
    )


def _take_lock(path: pathlib.Path) -> int:
    """Returns an open file that holds the lock; the system drops it with the process.

    A file system without locks (some network mounts) goes without.
    """
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(lock, 32).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise ConfigError(
            f"another run (process {owner}) is writing to the workdir {path}; wait"
            " for it to end or name another --workdir"
        ) from None
    except OSError:
        return lock
    os.truncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return lock


def refuse_another(path: pathlib.Path, config: Config, flag: str = "workdir") -> None:
    """Raises a ConfigError where a run of another configuration has begun there.

    `flag` names the place.
    """
    if not _begun(path):
        return
    differing = differences(written(path), content(config))
    check(
        not differing,
        f"the workdir {path} holds a run of another configuration:"
        f" {', '.join(differing[:_DIFFERENCES_NAMED])}; name another --{flag}",
    )


def written(path: pathlib.Path) -> dict[str, Any]:
    """The content of config.json; {} where it is no configuration."""
    try:
        content = json.loads((path / CONFIG).read_text())
    except ValueError:  # no JSON
        return {}
    return content if isinstance(content, dict) else {}


def content(config: Config) -> dict[str, Any]:
    """The content of a config.json, as `written` reads it."""
    values: dict[str, Any] = json.loads(_as_json(config))
    return values


def _as_json(config: Config) -> str:
    return json.dumps(dataclasses.asdict(config), indent=2)
