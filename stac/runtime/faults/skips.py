"""Batches that were passed over because a number in them was not finite.

The update itself keeps such a batch from the parameters (`stac.learning.update`). Here
it is counted and named, so that whoever made it can be found, and the run is given up
where it learns from too few of its batches.
"""

from __future__ import annotations

import collections
from collections.abc import Callable

import numpy as np

from stac.config import RunError
from stac.types import Report

WINDOW = 100  # updates that the share is of


class NotFinite(RunError):
    """Too many batches were passed over."""


class Skips:
    """Watches the last `WINDOW` updates."""

    def __init__(
        self, share: float, say: Callable[[str], None], *, replay: bool = False
    ) -> None:
        """Ends the run above this share; tells `say` of each batch in a line.

        With a replay the batch is not what the actors just sent.
        """
        self._replay = replay
        self._allowed = share * WINDOW + 1e-9  # 0.29 * 100 is a little below 29
        self._say = say
        self._recent: collections.deque[bool] = collections.deque(maxlen=WINDOW)
        self.total = 0

    def count(self, skipped: bool) -> None:
        """Takes one update, in order: whether it was passed over."""
        self._recent.append(skipped)
        self.total += skipped

    def tell(self, number: int, report: Report) -> None:
        """Says that the update just counted was passed over.

        Args:
          number: updates since the run began, this one included.
          report: of its batch.

        Raises:
          NotFinite: more than the share of the last `WINDOW` updates were.
        """
        drawn = "transitions that were drawn from the replay"
        batch = drawn if self._replay else made_by(report)
        self._say(
            f"update {number:,}: a loss or a gradient is not finite; its batch is"
            f" passed over ({batch})"
        )
        if sum(self._recent) > self._allowed:
            raise NotFinite(
                f"{sum(self._recent)} of the last {len(self._recent)} updates met a"
                " loss or a gradient that is not finite: the run is stopped with the"
                " last good parameters; try a smaller optimizer.learning_rate, and look"
                " for a reward or an observation that is not finite (the last such"
                f" batch: {batch})"
            )


def made_by(report: Report) -> str:
    """`8 trajectories of actors 0, 3; parameters of updates 117 to 121`."""
    actors = ", ".join(str(actor) for actor in np.unique(report.actor))
    versions = np.asarray(report.parameter_version)
    updates = f"updates {versions.min():,} to {versions.max():,}"
    return f"{len(versions)} trajectories of actors {actors}; parameters of {updates}"
