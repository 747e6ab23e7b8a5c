"""The buffers between actors and learner: one table, a row per kind.

An agent names its kind (`stac.agents.base.Agent.buffer`). Runtimes of one process use
`local`; the Launchpad program has a process that serves, and others that connect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from stac.agents import base
from stac.runtime.queues import local, reverb


class Buffer(NamedTuple):
    """One kind of buffer, within a process and between processes."""

    local: Callable[[int], local.LocalQueue]  # from its capacity, in trajectories
    serve: Callable[..., Any]  # see queues.reverb.serve
    connect: Callable[..., Any]  # see queues.reverb.ReverbQueue


BUFFERS: dict[str, Buffer] = {
    base.FIRST_IN_FIRST_OUT: Buffer(local.LocalQueue, reverb.serve, reverb.ReverbQueue),
}
