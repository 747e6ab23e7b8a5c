"""Actors that die or hang, and how often another may take their place.

What fails in an actor is told in a line, and after a while a new one, with a new
environment, begins where it was. Too often, and the run stops with what failed: each
actor counts for itself, so that what is too often is the same for two and for hundreds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from stac.config import ConfigError, RuntimeConfig
from stac.runtime.faults.lines import say as say
from stac.runtime.faults.pulse import TICK_SECONDS, Pulse, Watch
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.local import Closed

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a new actor starts
QUIET_SECONDS = 60.0  # without a failure, then the pause is the first one again
STARTING_SECONDS = 600.0  # the least that building an environment may take

# One life of an actor: takes the number of restarts before it, and the pulse to show;
# returns, or raises Closed, when the run ends.
Life = Callable[[int, Pulse], None]


class Silent(RuntimeError):
    """An actor whose environment does not return."""

    def __init__(self, seconds: float, frame: FrameType | None) -> None:
        """`frame`: where its thread is."""
        stack = traceback.extract_stack(frame) if frame else []
        self.silent_seconds = seconds
        where = f" in {stack[-1].name} ({_place(stack[-1])})" if stack else ""
        self.line = f"no sign of life for {seconds:.0f} s{where}"
        self.stack = "".join(traceback.format_list(stack)).rstrip()
        super().__init__(f"{self.line}\n{self.stack}")


class Restarts:
    """Counts one actor's failures: a pause after each, until they are too many."""

    def __init__(
        self,
        limit: int,
        window_seconds: float,
        past: str = "",
        clock: Callable[[], float] = time.monotonic,  # seconds
    ) -> None:
        """Nothing has failed so far, or what `past` of another one says.

        Args:
          limit: failures that are not too many; 0: the first is.
          window_seconds: that they may not come within.
          past: what `past` returned, in another process.
          clock: with any beginning.
        """
        self._limit, self._window, self._clock = limit, window_seconds, clock
        self.total, self._pause, ages = json.loads(past or f"[0, {FIRST_PAUSE}, []]")
        self._times = [clock() - age for age in ages]

    @classmethod
    def configured(cls, runtime: RuntimeConfig, past: str = "") -> Restarts:
        return cls(runtime.actor_restarts, 60 * runtime.actor_restart_minutes, past)

    def failed(self, silent_seconds: float = 0.0) -> float | None:
        """Counts a failure; returns seconds to wait, or None: that was one too many.

        Args:
          silent_seconds: before it, which are none of the window's: else what hangs for
            long each time would never be too often.
        """
        now = self._clock()
        self._times = [at + silent_seconds for at in self._times]
        quiet = not self._times or now - self._times[-1] > QUIET_SECONDS + self._pause
        self._pause = FIRST_PAUSE if quiet else min(2 * self._pause, LONGEST_PAUSE)
        self._times = [at for at in self._times if now - at < self._window] + [now]
        self.total += 1
        return self._pause if len(self._times) <= self._limit else None

    def past(self) -> str:
        """All that counts, for a Restarts that starts about now."""
        ages = [self._clock() - at for at in self._times]
        return json.dumps([self.total, self._pause, ages])

    def __str__(self) -> str:
        """`2 of 10 in 10 min`."""
        return f"{len(self._times)} of {self._limit} in {self._window / 60:g} min"

    def verdict(self, pause: float | None) -> str:
        """What comes of a failure, in words."""
        if pause is None:
            return f"that is too often ({self}): the run is stopped"
        return f"starting it again in {pause:g} s ({self})"


def describe(error: BaseException) -> str:
    """`OSError: the game crashed (catch.py:88)`: one line, of however many."""
    if isinstance(error, Silent):
        return error.line
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " … ".join(dict.fromkeys(lines[:1] + lines[-1:]))
    stack = traceback.extract_tb(error.__traceback__)
    where = f" ({_place(stack[-1])})" if stack else ""
    return f"{type(error).__name__}{': ' if said else ''}{said}{where}"


def again(
    name: str,
    error: BaseException,
    restarts: Restarts,
    stop: Stop,
    tell: Callable[[str], None] = say,
) -> None:
    """Counts what an actor raised, tells of it, and waits until it may start again.

    Args:
      name: of the actor.
      error: what it raised; `silent_seconds`, where it has that, are `failed`'s.
      restarts: of this actor.
      stop: of the run.
      tell: takes a line.

    Raises:
      Exception: `error`, where it is no fault but a ConfigError or not an Exception,
        and where it was one too many.
      Closed: the run ends.
    """
    if isinstance(error, ConfigError) or not isinstance(error, Exception):
        raise error
    if stop.is_set():
        raise Closed from error
    pause = restarts.failed(getattr(error, "silent_seconds", 0.0))
    tell(f"{name} failed: {describe(error)}; {restarts.verdict(pause)}")
    if pause is None:
        raise error
    if stop.wait(pause):
        raise Closed from error


class Supervised:
    """One actor, whose lives follow each other until the run ends.

    A life is a thread of its own. One that hangs cannot be ended: it is left alone, and
    should it wake, its pulse turns it away before it hands in anything.
    """

    def __init__(
        self,
        name: str,
        live: Life,
        restarts: Restarts,
        stop: Stop,
        silence_seconds: float,  # 0: however long
        tell: Callable[[str], None] = say,
        replaces_hung: bool = True,
    ) -> None:
        """`replaces_hung`: False where another process is better: `run` raises it."""
        self.name, self._live, self.restarts = name, live, restarts
        self._stop, self._silence, self._tell = stop, silence_seconds, tell
        self._replaces_hung = replaces_hung

    def run(self) -> None:
        """Lives, in the thread that calls, until the run ends.

        Raises:
          Exception: what `again` raises but Closed; Silent.
        """
        while not self._stop.is_set():
            life = _Thread(self.name, self._live, self.restarts.total)
            error = life.outcome(self._stop, self._silence)
            if error is None or isinstance(error, Closed):
                return
            if isinstance(error, Silent) and not self._replaces_hung:
                raise error
            try:
                again(self.name, error, self.restarts, self._stop, self._tell)
            except Closed:
                return


class _Thread:
    """One life."""

    def __init__(self, name: str, live: Life, restarts: int) -> None:
        self._pulse = Pulse()
        self._watch = Watch(self._pulse.signs)
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(live, restarts), name=name, daemon=True
        )
        self._thread.start()

    def outcome(self, stop: Stop, silence_seconds: float) -> BaseException | None:
        """Waits for what it raises, or None; Silent where it hangs."""
        while not self._over.wait(TICK_SECONDS):
            if stop.is_set():
                self._pulse.close()
            longest = silence_seconds
            if self._pulse.starting:
                longest = max(longest, STARTING_SECONDS)
            silent = self._watch.look()
            if silence_seconds and silent >= longest:
                frame = sys._current_frames().get(self._thread.ident or 0)
                if self._pulse.abandon(self._watch.seen):
                    return Silent(silent, frame)
        return self._error

    def _run(self, live: Life, restarts: int) -> None:
        try:
            live(restarts, self._pulse)
        except BaseException as error:  # noqa: BLE001 - `outcome` returns it
            self._error = error
        finally:
            self._over.set()


def _place(frame: traceback.FrameSummary) -> str:
    return f"{os.path.basename(frame.filename)}:{frame.lineno}"
