"""The contracts between actors and learner: a queue, and a source of parameters.

Trajectories go to the learner through a bounded queue, first in, first out. A full
queue makes actors wait, an empty one the learner. Trajectories in a queue may be lost:
they are counted, but they are no part of a checkpoint except in lockstep.

Parameters go to the actors: the newest only, never a backlog. The learner publishes
after every update, and an actor reads the newest before each unroll.
"""

from __future__ import annotations

import contextlib
from typing import Protocol

from stac.types import Experience, Params


class Closed(Exception):
    """The run is ending: nothing more goes through here."""


class TrajectoryQueue(Protocol):
    """A queue as actors and learner see it, wherever it lives."""

    def room(self, count: int) -> contextlib.AbstractContextManager[object]:
        """A block that acts `count` trajectories and puts them; begins with a wait.

        It waits where they could only grow old in the queue.

        Raises:
          Closed: the queue was closed.
        """
        ...

    def put(self, experience: Experience) -> None:
        """Hands in E trajectories, leaves [E, ...]; waits while the queue is full.

        Raises:
          Closed: the queue was closed.
        """
        ...

    def get(self, count: int) -> Experience:
        """Takes the oldest `count` trajectories, numpy [count, ...]; waits for them.

        Raises:
          Closed: the queue was closed.
        """
        ...

    def size(self) -> int:
        """Trajectories that wait to be taken, or waited when it was closed."""
        ...

    def close(self) -> None:
        """Wakes all that wait, on both sides, with Closed; may be called twice."""
        ...


class ParameterSource(Protocol):
    """The learner as an actor sees it."""

    def latest(self) -> tuple[int, Params]:
        """Returns (updates behind the parameters, the part of theta actors need).

        Waits until something was published.

        Raises:
          Closed: the run ends.
        """
        ...
