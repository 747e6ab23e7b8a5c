"""Checkpoints: the whole learner state on disk, bit for bit, through Orbax.

One step is one directory that appears whole or not at all: Orbax writes beside it and
renames. The state is stored as a flat dictionary {"params/torso/w": array, …}, because
empty subtrees (no metaparameters, an optimizer without state) are structure and not
data: the structure is the caller's, the arrays are the file's.
"""

from __future__ import annotations

import hashlib
import logging
import pathlib
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp

from stac.config import ConfigError
from stac.types import LearnerState, Tree

Counters = dict[str, float]  # what the learner counts beside its state


class Checkpoint(NamedTuple):
    """What was saved."""

    step: int  # learner updates
    state: LearnerState  # numpy leaves, in the structure that was asked for
    counters: Counters


class Damaged(ConfigError):
    """A checkpoint is there and cannot be read."""


class Checkpoints:
    """The last `keep` checkpoints of one run, in one directory.

    A save is on disk when it returns. One process writes a directory at a time
    (`stac.runtime.workdir` sees to it); what an earlier one left half-written is
    removed before the first save.
    """

    def __init__(self, directory: str | pathlib.Path, keep: int) -> None:
        _quiet_orbax()
        self.directory = pathlib.Path(directory).absolute()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            create=True,
            cleanup_tmp_directories=True,
            enable_async_checkpointing=False,
        )
        handlers = {
            "state": ocp.StandardCheckpointHandler(),
            "counters": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self.directory, options=options, item_handlers=handlers
        )

    def save(
        self, step: int, state: LearnerState, counters: Mapping[str, float]
    ) -> bool:
        """Writes a checkpoint unless there is one of this step or a later one.

        Args:
          step: learner updates.
          state: leaves of any array type; fetched to the host here.
          counters: JSON numbers.

        Returns:
          Whether it wrote.
        """
        arguments = ocp.args.Composite(
            state=ocp.args.StandardSave(named_leaves(state)),
            counters=ocp.args.JsonSave(dict(counters)),
        )
        return bool(self._manager.save(step, args=arguments))

    def steps(self) -> list[int]:
        """The steps on disk, the oldest first."""
        return sorted(self._manager.all_steps())

    def latest(self, like: LearnerState) -> Checkpoint | None:
        """Reads the newest checkpoint; None where there is none. See `restore`."""
        steps = self.steps()
        return self.restore(steps[-1], like) if steps else None

    def restore(self, step: int, like: LearnerState) -> Checkpoint:
        """Reads one checkpoint.

        Args:
          step: one of `steps()`.
          like: a state of the same structure, shapes and dtypes; values are ignored.

        Returns:
          The checkpoint: numpy leaves, every bit and dtype as saved.

        Raises:
          ConfigError: it holds another tree, so it is of another configuration.
          Damaged: it cannot be read.
        """
        wanted = named_leaves(like)
        try:
            self._check_tree(step, wanted)
            items = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(wanted),
                    counters=ocp.args.JsonRestore(),
                ),
            )
        except ConfigError:
            raise
        except Exception as error:  # a damaged file fails in many ways
            raise self._damaged(step, error) from error
        leaves = [items.state[name] for name in wanted]
        state = jax.tree.unflatten(jax.tree.structure(like), leaves)
        return Checkpoint(step, state, dict(items.counters))

    def close(self) -> None:
        """Everything is on disk when this returns; may be called twice."""
        self._manager.close()

    def _check_tree(self, step: int, wanted: Mapping[str, np.ndarray]) -> None:
        """Orbax restores other shapes without a word, so they are compared first."""
        metadata = self._manager.item_metadata(step).state
        if metadata is None:
            raise ValueError("its description is missing")
        there = {name: _describe(leaf) for name, leaf in metadata.items()}
        here = {name: _describe(leaf) for name, leaf in wanted.items()}
        for name in sorted(there.keys() | here.keys()):
            old, new = there.get(name, "absent"), here.get(name, "absent")
            if old != new:
                raise ConfigError(
                    f"checkpoint {step} in {self.directory} is of another"
                    f" configuration: {name} is {old} there, {new} here;"
                    " name another --workdir"
                )

    def _damaged(self, step: int, error: Exception) -> Damaged:
        reason = str(error).split("\n", 1)[0][:120]
        older = [s for s in self.steps() if s < step]
        cure = f"continue from checkpoint {older[-1]}" if older else "start anew"
        return Damaged(
            f"checkpoint {step} in {self.directory} cannot be read"
            f" ({type(error).__name__}: {reason}); move {self.directory / str(step)}"
            f" away to {cure}"
        )


def named_leaves(tree: Tree) -> dict[str, np.ndarray]:
    """Flattens to {"params/torso/w": array} on the host, in the tree's own order."""
    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    names = [jax.tree_util.keystr(p, simple=True, separator="/") for p, _ in paths]
    if len(set(names)) != len(names):
        raise ValueError("two leaves of the state have one name")
    leaves = jax.device_get([leaf for _, leaf in paths])
    return {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True)}


def digest(tree: Tree) -> str:
    """A SHA-256 of names, dtypes, shapes and every bit: equal states, equal digests."""
    total = hashlib.sha256()
    for name, leaf in named_leaves(tree).items():
        total.update(f"{name} {_describe(leaf)}\n".encode())
        total.update(np.ascontiguousarray(leaf).tobytes())
    return total.hexdigest()


def _describe(leaf: np.ndarray) -> str:
    """`float32 [3, 4]`; also of Orbax's description of an array."""
    return f"{np.dtype(leaf.dtype).name} {list(leaf.shape)}"


class _OrbaxErrorsOnly(logging.Filter):
    """Orbax narrates every save through absl's logger; its errors still pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.ERROR or "/orbax/" not in record.pathname


def _quiet_orbax() -> None:
    logger = logging.getLogger("absl")  # made by absl, which Orbax has imported
    if not any(isinstance(f, _OrbaxErrorsOnly) for f in logger.filters):
        logger.addFilter(_OrbaxErrorsOnly())
