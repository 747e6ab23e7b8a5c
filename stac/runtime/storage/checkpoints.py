"""Checkpoints: the whole learner state on disk, bit for bit, through Orbax.

One step is one directory that appears whole or not at all: Orbax writes beside it and
renames. The state is stored as a flat dictionary {"params/torso/w": array, …}, because
empty subtrees (no metaparameters, an optimizer without state) are structure and not
data: the structure is the caller's, the arrays are the file's.

<directory>/300/state/     the arrays
<directory>/300/acting/    bytes by name, where there are any
<directory>/300/counters/  numbers, and the digests of all three
<directory>.damaged/300/   what could not be read, for a person to look at; the last few
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from stac.config import ConfigError, RunError
from stac.runtime.storage import aside, disk, leaves, orbax_noise
from stac.types import LearnerState

# What the learner counts beside its state: JSON numbers, and lists of them.
Counters = dict[str, Any]

# Bytes that have to be free beyond a save's own: for the descriptions of its arrays,
# and for the logs until the next save.
MARGIN = 16 << 20

_DIGEST, _NAMES_DIGEST = "sha256", "names_sha256"  # beside the counters
_HALF_WRITTEN = "*.orbax-checkpoint-tmp*"
# Why nothing can be read, whatever is in it; a TensorStore error is a ValueError. EIO
# may be one bad sector, and is damage.
_NO_FAULT_OF_THE_FILE = re.compile(
    r"\b(EACCES|EPERM|EMFILE|ENFILE|ENOMEM|ESTALE|ENOTCONN|ETIMEDOUT)\b"
)


class Checkpoint(NamedTuple):
    """What was saved."""

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
    (`workdir.py` sees to it); what an earlier one left half-written is
    removed before the first save.
    """

    def __init__(self, directory: str | pathlib.Path, keep: int) -> None:
        orbax_noise.quiet()
        self.directory = pathlib.Path(directory).absolute()
        self._damaged = self.directory.with_name(f"{self.directory.name}.damaged")
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            cleanup_tmp_directories=False,  # `save` does, and two would trip over it
            enable_async_checkpointing=False,
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "acting": ocp.StandardCheckpointHandler(),
            "counters": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self.directory, options=options, item_handlers=handlers
        )

    def save(
        self,
        step: int,
        state: LearnerState,
        counters: Counters,
        acting: Mapping[str, bytes] | None = None,
    ) -> bool:
        """Writes a checkpoint unless there is one of this step or a later one.

        Args:
          step: learner updates.
          state: leaves of any array type; fetched to the host here.
          counters: see there.
          acting: what else is to come back with the state, by name.

        Returns:
          Whether it wrote.

        Raises:
          NotSaved: the disk is full or gone, or cannot be written.
        """
        arrays, packed = leaves.named(state), leaves.pack(acting or {})
        record = {
            **counters,
            _DIGEST: _digest(arrays, packed, counters),
            _NAMES_DIGEST: leaves.digest_of_names(arrays),
        }
        items = {
            "state": ocp.args.StandardSave(arrays),
            "counters": ocp.args.JsonSave(record),
        }
        if packed:
            items["acting"] = ocp.args.StandardSave(packed)
        size = sum(leaf.nbytes for leaf in (*arrays.values(), *packed.values()))
        try:
            # Not its parents: a disk that was taken away is not to be made up for.
            self.directory.mkdir(exist_ok=True)
            self._remove_half_written()
            disk.check_room(self.directory, size + MARGIN)
            return bool(self._manager.save(step, args=ocp.args.Composite(**items)))
        except Exception as error:  # a disk fails in many ways
            self._remove_half_written()
            raise NotSaved(disk.reason(error)) from error

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
          say: takes a line for the person watching, about each damaged one.

        Raises:
          ConfigError: the newest that can be read is of another configuration.
          Damaged: none can be read; all stay where they are, for what is wrong with
            every one may be wrong with who reads.
        """
        damaged: dict[int, Damaged] = {}
        for step in reversed(self.steps()):
            try:
                found = self.restore(step, like)
            except Damaged as damage:
                damaged[step] = damage
                continue
            if damaged:
                places = self._set_aside(sorted(damaged))  # the newest is moved last
                for bad, place in zip(sorted(damaged), places, strict=True):
                    said = f"{damaged[bad]}; it is set aside in {place}"
                    say(f"{said}; checkpoint {step} is used instead")
            return found
        if damaged:
            raise Damaged(
                f"none of {len(damaged)} checkpoints can be read, and all stay where"
                f" they are: {damaged[max(damaged)]}; to start from the beginning, name"
                " another --workdir"
            )
        return None

    def restore(self, step: int, like: LearnerState) -> Checkpoint:
        """Reads one checkpoint.

        Args:
          step: one of `steps()`.
          like: a state of the same structure, shapes and dtypes; values are ignored.

        Returns:
          The checkpoint: numpy leaves, every bit and dtype as saved.

        Raises:
          ConfigError: it holds another tree, so it is of another configuration; or this
            process may not read it.
          Damaged: it cannot be read, or holds other bits than were saved.
        """
        try:
            return self._read(step, like)
        except ConfigError:
            raise
        except Exception as error:  # a damaged file fails in many ways
            line = (
                f"checkpoint {step} in {self.directory} cannot be read"
                f" ({disk.reason(error)})"
            )
            spared = isinstance(error, MemoryError | PermissionError)
            if spared or _NO_FAULT_OF_THE_FILE.search(str(error)):
                raise ConfigError(f"{line}; it stays where it is") from error
            raise Damaged(line) from error

    def is_intact(self, step: int) -> bool:
        """Whether one of `steps()` holds the bits that were saved, of any structure."""
        try:
            items = self._manager.restore(step)
        except Exception:  # noqa: BLE001 - a damaged file fails in many ways
            return False
        counters = dict(items["counters"])
        digest, _ = counters.pop(_DIGEST, None), counters.pop(_NAMES_DIGEST, None)
        acting = dict(items.get("acting") or {})
        return digest in (None, _digest(items["state"], acting, counters))

    def close(self) -> None:
        """Everything is on disk when this returns; may be called twice."""
        self._manager.close()

    def _read(self, step: int, like: LearnerState) -> Checkpoint:
        wanted, composite = leaves.named(like), ocp.args.Composite
        only_counters = composite(counters=ocp.args.JsonRestore())
        counters = dict(self._manager.restore(step, args=only_counters).counters)
        digest, names = counters.pop(_DIGEST, None), counters.pop(_NAMES_DIGEST, None)
        described = dict(self._manager.item_metadata(step).items())
        if names != leaves.digest_of_names(wanted):  # or there is none: it is old
            self._refuse_another_tree(step, described["state"], wanted)
        # A description without content, as of the state, is what Orbax reads into.
        there = described.get("acting") or {}
        packed = {name: np.zeros(leaf.shape, np.uint8) for name, leaf in there.items()}
        arguments = {"state": ocp.args.StandardRestore(wanted)}
        if packed:
            arguments["acting"] = ocp.args.StandardRestore(packed)
        items = self._manager.restore(step, args=composite(**arguments))
        arrays = {name: items.state[name] for name in wanted}
        packed = dict(items.acting) if packed else {}
        if digest not in (None, _digest(arrays, packed, counters)):
            raise ValueError("its bits are not those that were saved")
        state = jax.tree.unflatten(jax.tree.structure(like), list(arrays.values()))
        return Checkpoint(step, state, counters, leaves.unpack(packed))

    def _refuse_another_tree(
        self, step: int, described: Mapping[str, Any], wanted: leaves.Leaves
    ) -> None:
        """Orbax restores other shapes without a word, so they are compared first."""
        if difference := leaves.difference(described, wanted):
            raise ConfigError(
                f"checkpoint {step} in {self.directory} is of another configuration:"
                f" {difference}; name another --workdir"
            )

    def _remove_half_written(self) -> None:
        """Where Orbax's threads are still at it after a failure, the next save does."""
        with contextlib.suppress(OSError):  # of a disk that is gone: who saves says so
            for path in self.directory.glob(_HALF_WRITTEN):
                shutil.rmtree(path, ignore_errors=True)

    def _set_aside(self, steps: Sequence[int]) -> list[pathlib.Path]:
        """Moves checkpoints to where Orbax does not see them; returns where."""
        try:
            places = aside.move(
                [self.directory / str(step) for step in steps], self._damaged
            )
        except OSError as error:
            raise ConfigError(
                f"damaged checkpoints in {self.directory} cannot be set aside in"
                f" {self._damaged}: {disk.reason(error)}"
            ) from error
        finally:
            self._manager.reload()
        return places


def _digest(arrays: leaves.Leaves, packed: leaves.Leaves, counters: Counters) -> str:
    """Of all that a checkpoint holds, as it is stored."""
    everything = {"state": arrays, "acting": packed, "counters": dict(counters)}
    return leaves.digest(everything)
