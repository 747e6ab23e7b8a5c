"""Signs of life: what an actor shows of itself, and how long it has shown none.

Only its environment is timed. An actor that waits for the queue, for parameters or for
a device, which may compile or be busy with an update, is alive however long it takes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from stac.runtime.queues.local import Closed

TICK_SECONDS = 1.0  # how often one looks


class Pulse:
    """Of one thread that acts. Who watches it may turn it away for good."""

    def __init__(self) -> None:
        self.starting = True  # until the first unroll: building takes longer
        self._lock = threading.Lock()
        self._signs = 0
        self._waiting = False
        self._gone = False

    def beat(self) -> None:
        """A sign of life.

        Raises:
          Closed: another actor has taken its place, or the run ends.
        """
        with self._lock:
            self._sign()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what may take any time; raises what `beat` does."""
        with self._lock:
            self._sign()
            self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def signs(self) -> int | None:
        """So many so far; None while it waits."""
        return None if self._waiting else self._signs

    def abandon(self, signs: int | None) -> bool:
        """Closes it unless it has given a sign since it had given so many, or waits."""
        with self._lock:
            if self._signs != signs:
                return False
            self._gone = True
            return True

    def close(self) -> None:
        """The next sign of life raises Closed."""
        with self._lock:
            self._gone = True

    def _sign(self) -> None:
        if self._gone:
            raise Closed
        self._signs += 1


class Watch:
    """How long something has been silent.

    Only time that the watcher saw pass counts, a little at a time: of a run that was
    stopped as a whole and goes on, nobody was silent.
    """

    def __init__(
        self,
        signs: Callable[[], int | None],
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        """Watches a count of signs of life; None stands for what needs to give none."""
        self._signs, self._clock = signs, clock
        self.seen = signs()
        self._silent, self._looked = 0.0, clock()

    def look(self) -> float:
        """Seconds of silence; to be called every `TICK_SECONDS`."""
        now, signs = self._clock(), self._signs()
        passed, self._looked = min(now - self._looked, 2 * TICK_SECONDS), now
        quiet = signs is not None and signs == self.seen
        self._silent, self.seen = self._silent + passed if quiet else 0.0, signs
        return self._silent
