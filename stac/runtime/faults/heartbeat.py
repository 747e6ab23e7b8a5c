"""Heartbeats: an actor shows that its environment goes on; a watch sees when it hangs.

Only the environment is timed. An actor that waits for the queue, for parameters or for
a device, which may compile or be busy with an update, is alive however long it takes.

The standard library's `faulthandler.dump_traceback_later(exit=True)` could end an actor
process in which nothing beats. It is not used: to arm it again takes 85 us and a new
thread, a heartbeat 3 us; a run that was stopped as a whole (Ctrl-Z) would lose all of
its actors when it goes on; and it cannot tell which of a process's actors hangs.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from stac.config import place
from stac.runtime.queues.base import Closed

TICK_SECONDS = 1.0  # between two looks of a watch
STARTING_SECONDS = 600.0  # building environments and a first unroll may take this long

Clock = Callable[[], float]  # seconds, from any beginning


class Heartbeat:
    """The heartbeat of one actor, which is closed to turn the actor away for good."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.starting = True  # until the first unroll
        self.worked_seconds = 0.0  # without waits, up to the newest beat
        self.waited_seconds = 0.0  # for the policy, parameters and the queue
        self._clock, self._since = clock, clock()
        self._lock = threading.Lock()
        self._beats = 0
        self._waiting = False
        self._closed = False

    def beat(self) -> None:
        """Shows that the actor goes on.

        Raises:
          Closed: another actor has taken its place, or the run ends.
        """
        with self._lock:
            self._beat()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """For blocks that may take any time; raises what `beat` does."""
        with self._lock:
            self._beat()
            self._waiting = True
        try:
            yield
        finally:
            now = self._clock()
            self.waited_seconds += now - self._since
            self._since = now
            self._waiting = False

    def times(self) -> tuple[float, float]:
        """Seconds that the environments took so far, and that all else took."""
        return self.worked_seconds, self.waited_seconds

    def resume(self) -> None:
        """Counts work anew: the actor was at rest, for others in its thread to act."""
        self._since = self._clock()

    def beats(self) -> int | None:
        """The number of beats so far; None while the actor waits."""
        return None if self._waiting else self._beats

    def close(self) -> None:
        """Makes the next beat raise Closed."""
        with self._lock:
            self._closed = True

    def close_unless_beaten(self, beats: int | None) -> bool:
        """Closes unless there is a beat more than `beats`; returns whether closed."""
        with self._lock:
            if self._waiting or self._beats != beats:
                return False
            self._closed = True
            return True

    def _beat(self) -> None:
        if self._closed:
            raise Closed
        now = self._clock()
        self.worked_seconds += now - self._since
        self._since = now
        self._beats += 1


class Watch:
    """Measures how long a heartbeat has been silent.

    Only time that the watch saw pass counts, a tick at a time: in a run that was
    stopped as a whole and goes on, nothing was silent.
    """

    def __init__(
        self,
        heartbeat: Heartbeat,
        silence_seconds: float,  # longest silence allowed; 0: any
        clock: Clock = time.monotonic,
    ) -> None:
        self._heartbeat, self._longest, self._clock = heartbeat, silence_seconds, clock
        self._beats = heartbeat.beats()
        self._silent, self._looked = 0.0, clock()

    def look(self) -> float:
        """Call it every TICK_SECONDS.

        Returns:
          Seconds of silence where they are too many, else 0.
        """
        now, beats = self._clock(), self._heartbeat.beats()
        passed, self._looked = min(now - self._looked, 2 * TICK_SECONDS), now
        quiet = beats is not None and beats == self._beats
        self._silent, self._beats = self._silent + passed if quiet else 0.0, beats
        longest = self._longest
        if self._heartbeat.starting:
            longest = max(longest, STARTING_SECONDS)
        return self._silent if self._longest and self._silent >= longest else 0.0

    def close(self) -> bool:
        """Closes the heartbeat unless it has beaten since the last look."""
        return self._heartbeat.close_unless_beaten(self._beats)


class Silent(RuntimeError):
    """An actor's environment does not return."""

    def __init__(self, seconds: float, thread: int | None) -> None:
        """`thread`: the identifier of the actor's thread."""
        frame = sys._current_frames().get(thread or 0)
        stack = traceback.extract_stack(frame) if frame else []
        where = f" in {stack[-1].name} ({place(stack[-1])})" if stack else ""
        self.line = f"no sign of life for {seconds:.0f} s{where}"
        self.stack = "".join(traceback.format_list(stack)).rstrip()
        super().__init__(f"{self.line}\n{self.stack}")
