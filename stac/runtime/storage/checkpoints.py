"""Checkpoints: the whole learner state on disk, bit for bit, through Orbax.

One step is one directory that appears whole or not at all: Orbax writes beside it and
renames. The state is stored as a flat dictionary {"params/torso/w": array, …}, because
empty subtrees (no metaparameters, an optimizer without state) are structure and not
data: the structure is the caller's, the arrays are the file's.

<directory>/300/state/      the arrays
<directory>/300/acting/     bytes by name, where there are any
<directory>/300/counters/   numbers
<directory>/300/sums.json   a SHA-256 of each of these files
<directory>.damaged/300/    one that could not be read, for a person to look at
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from stac.config import ConfigError, RunError
from stac.runtime.storage import disk
from stac.types import LearnerState, Tree

# Counts that a learner keeps beside its state: JSON numbers, and lists of them.
Counters = dict[str, Any]

# Bytes that have to be free beyond a save's own: for the descriptions of its arrays,
# and for the logs until the next save.
MARGIN = 16 << 20

_SUMS = "sums.json"
_HALF_WRITTEN = "*.orbax-checkpoint-tmp*"
_TRIAL = "trial.orbax-checkpoint-tmp"  # Orbax takes it for half written: for none


class Checkpoint(NamedTuple):
    """One checkpoint, as it was saved."""

    step: int  # learner updates
    state: LearnerState  # numpy leaves, in the structure that was asked for
    counters: Counters
    acting: dict[str, bytes]  # {} where none was saved


class Damaged(ConfigError):
    """A checkpoint is there and cannot be read, or holds other bits than were saved."""


class NotSaved(RunError):
    """A checkpoint could not be written; those before are as they were."""


class Checkpoints:
    """The last `keep` checkpoints of one run, in one directory.

    A save is on disk when it returns. One process writes a directory at a time
    (`workdir.py` sees to it); a save that an earlier process left half-written is
    removed before the first save.
    """

    def __init__(self, directory: str | pathlib.Path, keep: int) -> None:
        logging.getLogger("absl").addFilter(_is_news)  # through which Orbax logs
        self.directory = pathlib.Path(directory).absolute()
        self._damaged = self.directory.with_name(f"{self.directory.name}.damaged")
        alone = self._alone = ocp.options.MultiprocessingOptions(
            primary_host=jax.process_index(), active_processes={jax.process_index()}
        )
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=False,
            cleanup_tmp_directories=False,  # `save` does, and two would trip over it
            enable_async_checkpointing=False,
            multiprocessing_options=alone,
        )
        arrays = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        handlers = {
            "state": arrays,
            "acting": arrays,
            "counters": ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        self._manager = ocp.CheckpointManager(
            self.directory, options=options, item_handlers=handlers
        )

    def try_to_save(self, state: LearnerState) -> None:
        """Saves one number and removes it, where there is room for all of `state`.

        So a run that could never save is known before its first update.

        Raises:
          ConfigError: no checkpoint can be saved here.
        """
        trial = self.directory / _TRIAL
        try:
            size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            disk.check_room(self.directory, size + MARGIN)
            trial.mkdir()  # where this fails, Orbax would leave warnings too
            trial.rmdir()
            with ocp.StandardCheckpointer(
                multiprocessing_options=self._alone
            ) as checkpointer:
                checkpointer.save(trial, {"number": np.zeros(1)})
        except Exception as error:  # a disk fails in many ways
            raise ConfigError(
                f"no checkpoint can be saved in {self.directory}: {disk.reason(error)};"
                " name another --workdir"
            ) from error
        finally:
            self._remove_half_written()

    def save(
        self,
        step: int,
        state: LearnerState,
        counters: Counters,
        acting: Mapping[str, bytes] | None = None,
    ) -> bool:
        """Writes a checkpoint unless there is one of this step or a later one.

        Returns:
          Whether it wrote.

        Raises:
          NotSaved: the disk is full or gone, or cannot be written.
        """
        arrays = named(state)
        # One byte longer, for Orbax saves no empty arrays.
        packed = {
            name: np.frombuffer(blob + b"\0", np.uint8)
            for name, blob in (acting or {}).items()
        }
        items = {
            "state": ocp.args.StandardSave(arrays),
            "counters": ocp.args.JsonSave(counters),
        }
        if packed:
            items["acting"] = ocp.args.StandardSave(packed)
        size = sum(leaf.nbytes for leaf in (*arrays.values(), *packed.values()))
        try:
            # Not its parents: a disk that was taken away is not to be made up for.
            self.directory.mkdir(exist_ok=True)
            self._remove_half_written()
            disk.check_room(self.directory, size + MARGIN)
            wrote = bool(self._manager.save(step, args=ocp.args.Composite(**items)))
            if wrote:
                folder = self._folder(step)
                disk.write_whole(folder / _SUMS, json.dumps(_sums(folder)))
            return wrote
        except Exception as error:  # a disk fails in many ways
            self._remove_half_written()
            raise NotSaved(disk.reason(error)) from error

    def remove_from(self, step: int) -> None:
        """Removes the checkpoints of this step and of later ones."""
        for later in self.steps():
            if later >= step:
                self._manager.delete(later)

    def steps(self) -> list[int]:
        """The steps on disk, the oldest first."""
        return sorted(self._manager.all_steps())

    def latest(
        self, like: LearnerState, say: Callable[[str], None] = lambda line: None
    ) -> Checkpoint | None:
        """Reads the newest checkpoint that can be read; None where there is none.

        Damaged ones after it are moved to `<directory>.damaged`, so that the run that
        continues from it can save those steps again.

        Args:
          like: see `restore`.
          say: takes a line about each damaged one.

        Raises:
          ConfigError: the newest that can be read is of another configuration.
          Damaged: none can be read. All stay where they are: the fault may be that of
            the process that reads.
        """
        damaged: dict[int, Damaged] = {}
        for step in reversed(self.steps()):
            try:
                checkpoint = self.restore(step, like)
            except Damaged as damage:
                damaged[step] = damage
                continue
            self._set_aside(sorted(damaged))
            for bad in sorted(damaged):
                say(
                    f"{damaged[bad]}; it is set aside in {self._damaged / str(bad)};"
                    f" checkpoint {step} is used instead"
                )
            return checkpoint
        if damaged:
            raise Damaged(
                f"none of {len(damaged)} checkpoints can be read, and all stay where"
                f" they are: {damaged[max(damaged)]}; to start from the beginning, name"
                " another --workdir"
            )
        return None

    def restore(self, step: int, like: LearnerState, acting: bool = True) -> Checkpoint:
        """Reads one checkpoint.

        Its files are compared with their sums before Orbax gets them: a damaged array
        makes Orbax write tracebacks about the others.

        Args:
          step: one of `steps()`.
          like: a state of the same structure, shapes and dtypes; values are ignored.
          acting: whether to read that part too, which may have gigabytes.

        Raises:
          ConfigError: it holds another tree, so it is of another configuration; or this
            process may not read it.
          Damaged: it cannot be read, or holds other bits than were saved.
        """
        whole = False
        try:
            whole = _compare_with_sums(self._folder(step), acting)
            return self._read(step, like, acting)
        except ConfigError:
            raise
        except Exception as error:  # a damaged file fails in many ways
            line = (
                f"checkpoint {step} in {self.directory} cannot be read"
                f" ({disk.reason(error)})"
            )
            if whole or _is_no_fault_of_the_file(error):
                raise ConfigError(f"{line}; it stays where it is") from error
            raise Damaged(line) from error

    def close(self) -> None:
        """Everything is on disk when this returns; may be called twice."""
        self._manager.close()

    def _folder(self, step: int) -> pathlib.Path:
        return self.directory / str(step)

    def _read(self, step: int, like: LearnerState, acting: bool) -> Checkpoint:
        wanted = named(like)
        described = dict(self._manager.item_metadata(step).items())
        # Orbax restores other shapes without a word.
        if difference := _difference(described["state"], wanted):
            raise ConfigError(
                f"checkpoint {step} in {self.directory} is of another configuration or"
                f" version: {difference}; name another --workdir"
            )
        arguments: dict[str, Any] = {
            "state": ocp.args.StandardRestore(wanted),
            "counters": ocp.args.JsonRestore(),
        }
        # A description without content, as of the state, is what Orbax reads into.
        packed = (described.get("acting") or {}) if acting else {}
        if packed:
            buffers = {name: np.zeros(p.shape, np.uint8) for name, p in packed.items()}
            arguments["acting"] = ocp.args.StandardRestore(buffers)
        items = self._manager.restore(step, args=ocp.args.Composite(**arguments))
        arrays = [items.state[name] for name in wanted]
        state = jax.tree.unflatten(jax.tree.structure(like), arrays)
        states = {
            name: array.tobytes()[:-1]
            for name, array in (items.acting if packed else {}).items()
        }
        return Checkpoint(step, state, dict(items.counters), states)

    def _remove_half_written(self) -> None:
        """Where Orbax's threads are still at it after a failure, the next save does."""
        with contextlib.suppress(OSError):  # a disk is gone: the save itself says so
            for path in self.directory.glob(_HALF_WRITTEN):
                shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, steps: Sequence[int]) -> None:
        """Moves checkpoints to where Orbax does not see them."""
        try:
            for step in steps:
                self._damaged.mkdir(exist_ok=True)
                place = self._damaged / str(step)
                shutil.rmtree(place, ignore_errors=True)  # of an earlier start
                self._folder(step).rename(place)
        except OSError as error:
            raise ConfigError(
                f"damaged checkpoints in {self.directory} cannot be set aside in"
                f" {self._damaged}: {disk.reason(error)}"
            ) from error
        self._manager.reload()


def named(tree: Tree) -> dict[str, np.ndarray]:
    """Flattens to {"params/torso/w": array} on the host, in the tree's own order."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    if len(set(names)) != len(names):
        raise ValueError("two leaves of the state have one name")
    leaves = jax.device_get([leaf for _, leaf in paths])
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def _difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """`metaparameters/gamma is float32 [2] there, absent here`; empty where none is."""
    for name in sorted(there.keys() | here.keys()):
        old, new = (
            describe(leaves[name]) if name in leaves else "absent"
            for leaves in (there, here)
        )
        if old != new:
            return f"{name} is {old} there, {new} here"
    return ""


def describe(leaf: Any) -> str:
    """`float32 [3, 4]`; of anything with a dtype and a shape."""
    return f"{np.dtype(leaf.dtype).name} {list(leaf.shape)}"


def _sums(folder: pathlib.Path) -> dict[str, str]:
    """The SHA-256 of every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): _sum(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _SUMS
    }


def _sum(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compare_with_sums(folder: pathlib.Path, acting: bool = True) -> bool:
    """Whether there are sums; where a process was killed before it wrote them are none.

    Raises:
      ValueError: a file is not as it was saved.
      OSError: a file cannot be read.
    """
    if not (folder / _SUMS).exists():
        return False
    for name, digest in json.loads((folder / _SUMS).read_text()).items():
        if name.startswith("acting/") and not acting:
            continue
        if not (folder / name).is_file() or _sum(folder / name) != digest:
            raise ValueError(f"the bits of {name} are not those that were saved")
    return True


def _is_no_fault_of_the_file(error: Exception) -> bool:
    """Whether this process cannot read now; EIO may be a bad sector, and is damage."""
    if isinstance(error, OSError):
        return error.errno not in (errno.EIO, errno.ENOENT)
    return isinstance(error, MemoryError)


def _is_news(record: logging.LogRecord) -> bool:
    """Orbax narrates every save; its errors still pass.

    An error of its threads is raised, too, in the thread that waits for them.
    """
    if "/orbax/" not in record.pathname:
        return True
    raised_too = record.pathname.endswith("/futures/future.py")
    return record.levelno >= logging.ERROR and not raised_too
