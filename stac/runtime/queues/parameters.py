"""A ParameterSource within one process."""

from __future__ import annotations

import threading

from stac.runtime.queues.base import Closed
from stac.types import Params


class ParameterStore:
    """Holds the newest parameters.

    Readers share the published arrays (numpy), so nobody may write to them.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._newest: tuple[int, Params] | None = None
        self._closed = False

    def publish(self, version: int, params: Params) -> None:
        """Replaces what readers get: `params` after `version` updates."""
        with self._changed:
            self._newest = (version, params)
            self._changed.notify_all()

    def latest(self) -> tuple[int, Params]:
        """See ParameterSource."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest is not None)
            if self._closed or self._newest is None:
                raise Closed
            return self._newest

    def close(self) -> None:
        """Wakes every reader with Closed; may be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
