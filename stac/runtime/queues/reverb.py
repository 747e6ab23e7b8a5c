"""A TrajectoryQueue between processes: one Reverb table, first in, first out.

One trajectory is one item of the table (`reverb_items.py`). The table holds `capacity`
items and gives each away once; a writer whose items do not fit waits. Rows that
trajectories share are sent and stored once; Reverb forgets them when no item refers to
them and their writer is past them.

No call here waits in Reverb for longer than a second: most of its calls cannot be woken
from outside, and a thread that is left in one keeps its process from ending well. So a
reader takes only items that it has seen in the table, which works for one reader alone.

Reverb is imported where it is first needed, without TensorFlow (`reverb_import.py`).
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from stac.runtime.queues import reverb_import, reverb_items
from stac.runtime.queues.base import Closed
from stac.types import Experience

if TYPE_CHECKING:
    import reverb

TABLE = "trajectories"
_FLUSH_MILLISECONDS = 250  # how late a waiting writer sees that the queue was closed
_ANSWER_SECONDS = 1  # for the server to describe its table (Reverb takes whole seconds)
_ENDING_SECONDS = 2.0  # between the end of the server and that of a client
_LOOK_SECONDS = 0.005  # between looks into an empty table


@contextlib.contextmanager
def serve(capacity: int, port: int | None = None) -> Iterator[str]:
    """Runs a server with the table for as long as the block lasts.

    It listens on every network interface, without asking callers who they are.

    Args:
      capacity: in trajectories.
      port: None picks a free one.

    Yields:
      The address for a `ReverbQueue`.
    """
    reverb = reverb_import.load()
    table = reverb.Table.queue(TABLE, capacity)
    with tempfile.TemporaryDirectory() as unused:  # else it leaves one behind
        checkpointer = reverb.checkpointers.DefaultCheckpointer(unused)
        server = reverb.Server([table], port, checkpointer)
        try:
            yield f"localhost:{server.port}"
        finally:
            server.stop()
            del server  # the interpreter would complain if it went first


class ReverbQueue:
    """One side's view of the table: any number of writers, and one reader.

    An object belongs to one side: either its `put` is used or its `get`.
    """

    def __init__(self, address: str, spec: reverb_items.Spec) -> None:
        """Connects to what `serve` holds; the server may come up later."""
        self._client = reverb_import.load().Client(address)
        self._items = reverb_items.Items(spec)
        self._writer: reverb.TrajectoryWriter | None = None
        self._taken: list[list[np.ndarray]] = []  # items of a batch that is not full
        self._closed = threading.Event()

    def room(self, count: int) -> contextlib.AbstractContextManager[None]:
        """There is always room here: what the table cannot take waits in `put`."""
        return contextlib.nullcontext()

    def put(self, experience: Experience) -> None:
        """See TrajectoryQueue; returns when the table has taken all E.

        Where trajectories overlap, one object must be given the trajectories of one
        actor, all of them and in order.

        Raises:
          Closed: this side was closed.
        """
        envs = len(experience.report.actor)
        places = self._items.places(envs)
        with self._ended_by_close():
            writer = self._open_writer(envs)
            for block, own in self._items.steps(experience):
                writer.append([block, own])
                if own is not None:
                    blocks, owns = writer.history
                    writer.create_item(TABLE, 1.0, [blocks[places], owns[-1]])
            self._flush(writer)

    def get(self, count: int) -> Experience:
        """See TrajectoryQueue; `count` may be more than the table holds at a time."""
        with self._ended_by_close():
            while (missing := count - len(self._taken)) > 0:
                there = min(self._wait_for_items(), missing)  # else `sample` waits
                samples = self._client.sample(TABLE, there, emit_timesteps=False)
                self._taken += [list(sample.data) for sample in samples]
        items, self._taken = self._taken, []
        return self._items.join(items)

    def size(self) -> int:
        """Trajectories in the table, and those taken for a batch that is not full."""
        return (self._in_table() or 0) + len(self._taken)

    def close(self) -> None:
        """Closes this side; the other side and the table do not notice."""
        self._closed.set()
        if self._writer is not None:
            self._writer.close()  # a server that stops waits 5 s for open ones

    def _open_writer(self, envs: int) -> reverb.TrajectoryWriter:
        """Returns the writer; waits for the server, which must answer to open one."""
        while self._writer is None:
            self._check()
            if self._in_table() is not None:
                kept = self._items.history(envs)
                self._writer = self._client.trajectory_writer(kept)
                for column in (0, 1):
                    self._writer.configure(
                        (column,), num_keep_alive_refs=kept, max_chunk_length=1
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
        """Waits for an item; returns the number in the table."""
        while not (size := self._in_table() or 0):
            if self._closed.wait(_LOOK_SECONDS):
                break
        self._check()
        return size

    def _in_table(self) -> int | None:
        """The number of items in the table; None where the server does not answer."""
        from reverb import errors

        try:
            tables = self._client.server_info(timeout=_ANSWER_SECONDS)
        except errors.DeadlineExceededError:
            return None
        return int(tables[TABLE].current_size)

    def _check(self) -> None:
        if self._closed.is_set():
            raise Closed

    @contextlib.contextmanager
    def _ended_by_close(self) -> Iterator[None]:
        """Turns the error of a server that ends with the run into Closed.

        The run may close the server some moments before it closes this side.
        """
        try:
            yield
        except RuntimeError as error:  # Reverb's client has no class of its own
            if self._closed.wait(_ENDING_SECONDS):
                raise Closed from error
            raise
