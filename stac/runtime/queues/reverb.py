"""A TrajectoryQueue between processes: one Reverb table, first in, first out.

One trajectory is one item of the table (`reverb_items.py`). The table holds `capacity`
of them and gives each away once; a writer whose items do not fit waits.
Nothing here waits in Reverb for longer than a second: most of its calls cannot be woken
from outside, and a thread that is left in one keeps its process from ending well. So a
reader takes only what it has seen to be there, which holds for one reader alone.

Steps that trajectories share are sent to the table and stored in it once; it forgets
them when they are in no item and their writer is past them. A reader gets items whole.

Reverb imports TensorFlow, several seconds and some hundred megabytes a process. So it
is imported by the first who needs it, and not with this file.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from stac.config import BatchConfig
from stac.environments.base import EnvironmentSpec
from stac.runtime.queues import reverb_items
from stac.runtime.queues.local import Closed
from stac.runtime.queues.reverb_items import Template
from stac.types import CoreState, Experience, Report, Trajectory

if TYPE_CHECKING:
    import reverb

TABLE = "trajectories"
_FLUSH_MILLISECONDS = 250  # how late a waiting writer sees that the queue was closed
_ANSWER_SECONDS = 1  # for the server to say how it is (Reverb takes whole seconds)
_ENDING_SECONDS = 2.0  # between the end of the server and that of a client
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.01  # seconds between looks into an empty table


def template(
    spec: EnvironmentSpec, batch: BatchConfig, core_state: CoreState
) -> Template:
    """What the actors' trajectories look like.

    Args:
      spec: of the environment.
      batch: for n and the overlap.
      core_state: of the agent for any number of environments: leaves [E, ...].
    """
    rows, columns = batch.unroll_length, batch.unroll_length - 1
    action = (spec.num_actions,) if spec.continuous else ()
    array: Any = jax.ShapeDtypeStruct
    experience = Experience(
        Trajectory(
            observation=array(
                (rows, *spec.observation_shape), np.dtype(spec.observation_dtype)
            ),
            first=array((rows,), np.bool_),
            action=array(
                (columns, *action), np.float32 if spec.continuous else np.int32
            ),
            behaviour_log_prob=array((columns,), np.float32),
            reward=array((columns,), np.float32),
            discount=array((columns,), np.float32),
            core_state=jax.tree.map(
                lambda leaf: array(leaf.shape[1:], leaf.dtype), core_state
            ),
        ),
        Report(
            episode_return=array((rows,), np.float32),
            episode_length=array((rows,), np.int32),
            parameter_version=array((), np.int32),
            actor=array((), np.int32),
        ),
    )
    return Template(experience, batch.overlap)


@contextlib.contextmanager
def serve(item: Template, capacity: int, port: int | None = None) -> Iterator[str]:
    """A server with the table, for as long as the block lasts.

    It listens on every network interface, and whoever reaches it may read and write.

    Args:
      item: what one item looks like; others are refused. See `template`.
      capacity: in trajectories.
      port: None picks a free one.

    Yields:
      The address for `connect`.
    """
    import reverb
    import tensorflow

    signature = [
        tensorflow.TensorSpec(shape, dtype)
        for shape, dtype in reverb_items.packing(item).signature()
    ]
    table = reverb.Table.queue(TABLE, capacity, signature=signature)
    with tempfile.TemporaryDirectory() as unused:  # else it leaves one behind
        checkpointer = reverb.checkpointers.DefaultCheckpointer(unused)
        server = reverb.Server([table], port, checkpointer)
        try:
            yield f"localhost:{server.port}"
        finally:
            server.stop()
            del server  # before the interpreter goes, which it would complain about


def connect(address: str, item: Template) -> ReverbQueue:
    """One side of the queue that `serve` holds; the server may come up later."""
    import reverb

    return ReverbQueue(reverb.Client(address), item)


class ReverbQueue:
    """One side's view of the table: any number of writers, and one reader.

    An object belongs to one side: either its `put` is used or its `get`.
    """

    def __init__(self, client: reverb.Client, item: Template) -> None:
        """See `connect`."""
        self._client = client
        self._packing = reverb_items.packing(item)
        self._writer: reverb.TrajectoryWriter | None = None
        self._taken: list[list[np.ndarray]] = []  # of a batch that is not whole yet
        self._closed = threading.Event()

    def put(self, experience: Experience) -> None:
        """See TrajectoryQueue; returns when the table has taken all E.

        Where trajectories overlap, all that one object is given must come from one
        actor, in order and from its first.

        Raises:
          Closed: this side was closed.
          ValueError: a leaf does not look like the table's items, or trajectories that
            overlap are not as many as the time before.
        """
        with self._ending():
            writer = self._open_writer(len(experience.report.actor))
            for step in self._packing.steps(experience):
                writer.append(step.cells)
                if step.item:
                    columns = zip(writer.history, step.item, strict=True)
                    item = [column[places] for column, places in columns]
                    writer.create_item(TABLE, 1.0, item)
            self._flush(writer)

    def get(self, count: int) -> Experience:
        """See TrajectoryQueue; `count` may be more than the table holds at a time."""
        with self._ending():
            while (missing := count - len(self._taken)) > 0:
                self._taken += self._sample(min(self._wait_for_items(), missing))
        items, self._taken = self._taken, []
        return self._packing.join(items)

    def size(self) -> int:
        """Trajectories in the table, and those taken for a batch to come."""
        return self._in_table() + len(self._taken)

    def close(self) -> None:
        """Closes this side; the other side and the table do not notice."""
        self._closed.set()
        if self._writer is not None:
            self._writer.close()  # a server that stops waits 5 s for open ones

    def _open_writer(self, envs: int) -> reverb.TrajectoryWriter:
        """The one writer, when the server is up: making one asks the server."""
        while self._writer is None:
            self._check()
            if self._info():
                kept = self._packing.kept(envs)
                self._writer = self._client.trajectory_writer(max(kept))
                for column, steps in enumerate(kept):
                    self._writer.configure(
                        (column,), num_keep_alive_refs=steps, max_chunk_length=1
                    )
        return self._writer

    def _flush(self, writer: reverb.TrajectoryWriter) -> None:
        from reverb import errors

        while True:
            self._check()
            try:
                writer.flush(timeout_ms=_FLUSH_MILLISECONDS)
            except errors.DeadlineExceededError:
                continue  # the table is full
            return

    def _wait_for_items(self) -> int:
        """Trajectories that can be taken without waiting: at least one."""
        pause = _FIRST_LOOK
        while not (size := self._in_table()):
            if self._closed.wait(pause):
                break
            pause = min(2 * pause, _LAST_LOOK)
        self._check()
        return size

    def _in_table(self) -> int:
        """Trajectories there; 0 where the server does not answer."""
        info = self._info()
        return info.current_size if info else 0

    def _sample(self, count: int) -> list[list[np.ndarray]]:
        """Leaves of the oldest `count` items, which must be there: this call waits."""
        samples = self._client.sample(TABLE, count, emit_timesteps=False)
        return [list(sample.data) for sample in samples]

    def _info(self) -> Any | None:
        """What the server says of the table; None if it says nothing in time."""
        from reverb import errors

        try:
            return self._client.server_info(timeout=_ANSWER_SECONDS)[TABLE]
        except errors.DeadlineExceededError:
            return None

    def _check(self) -> None:
        if self._closed.is_set():
            raise Closed

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """A server that ends with the run is no failure: the close is on its way."""
        try:
            yield
        except RuntimeError as error:  # all that Reverb's client knows
            if self._closed.wait(_ENDING_SECONDS):
                raise Closed from error
            raise
