"""Restarts of actors that fail or hang: how soon, how often, and what is said of it.

A failure is told in one line. After a pause a new actor with a new environment takes
the place of the old one. After too many failures the run stops with the last of them.
Each actor counts its own, so that the limit is the same for two actors and for
hundreds.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent import futures

from stac import config
from stac.config import ConfigError, RuntimeConfig
from stac.runtime.faults import heartbeat
from stac.runtime.faults.heartbeat import Heartbeat, Silent, Watch
from stac.runtime.faults.lines import to_stderr
from stac.runtime.faults.shutdown import Stop
from stac.runtime.queues.base import Closed

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds before a new actor starts

# One life of an actor: takes the number of restarts before it, and the heartbeat to
# show; returns, or raises Closed, when the run ends.
Life = Callable[[int, Heartbeat], None]


class Restarts:
    """Counts one actor's failures: a pause after each, until they are too many.

    The clock is the actor's own work. Whatever it waits for, be it the learner, the
    queue, an environment that hangs or the pause before a restart, is no time between
    failures. Otherwise a failure that takes as long as the window would never be too
    often.
    """

    def __init__(self, limit: int, window_seconds: float) -> None:
        """`limit`: failures allowed in so many seconds of work."""
        self._limit, self._window = limit, window_seconds
        self.total = 0
        self._ages: list[float] = []  # seconds of work since each failure

    @classmethod
    def configured(cls, runtime: RuntimeConfig) -> Restarts:
        return cls(runtime.actor_restarts, 60 * runtime.actor_restart_minutes)

    def failed(self, worked_seconds: float) -> float | None:
        """Counts a failure.

        Args:
          worked_seconds: the actor's work since its start (Heartbeat.worked_seconds).

        Returns:
          Seconds to wait before the next start, or None: that was one too many.
        """
        ages = [age + worked_seconds for age in self._ages]
        self._ages = [age for age in ages if age < self._window] + [0.0]
        self.total += 1
        recent = len(self._ages)
        if recent > self._limit:
            return None
        return min(FIRST_PAUSE * 2 ** min(recent - 1, 9), LONGEST_PAUSE)

    def __str__(self) -> str:
        """`2 of 10 in 10 min`."""
        return f"{len(self._ages)} of {self._limit} in {self._window / 60:g} min"

    def verdict(self, pause: float | None) -> str:
        """Says what follows from `failed`."""
        if pause is None:
            return f"that is too often ({self}): the run is stopped"
        return f"starting it again in {pause:g} s ({self})"


def describe(error: BaseException) -> str:
    """The error in one line; of an actor that hangs, where it does."""
    return error.line if isinstance(error, Silent) else config.describe(error)


def again(
    name: str,
    error: BaseException,
    worked_seconds: float,
    restarts: Restarts,
    stop: Stop,
) -> None:
    """Counts an actor's failure, tells of it, and waits until it may start again.

    Args:
      name: of the actor.
      error: what the actor raised.
      worked_seconds: see Restarts.failed.
      restarts: of this actor.
      stop: of the run.

    Raises:
      Exception: `error`, where it is a ConfigError or not an Exception, or one failure
        too many.
      Closed: the run ends.
    """
    if isinstance(error, ConfigError) or not isinstance(error, Exception):
        raise error
    if stop.is_set():
        raise Closed from error
    pause = restarts.failed(worked_seconds)
    to_stderr(f"{name} failed: {describe(error)}; {restarts.verdict(pause)}")
    if pause is None:
        raise error
    if stop.wait(pause):
        raise Closed from error


class Supervised:
    """One actor in a thread, started again after each failure until the run ends.

    Nothing can end a thread that hangs. It is left alone, and its heartbeat, which is
    closed, turns it away before it hands in anything, should it wake.
    """

    def __init__(
        self,
        name: str,
        live: Life,
        runtime: RuntimeConfig,
        stop: Stop,
    ) -> None:
        self.name, self._live, self._stop = name, live, stop
        self.restarts = Restarts.configured(runtime)
        self._silence = runtime.silence_seconds

    def run(self) -> None:
        """Watches over the actor, in the thread that calls.

        Raises:
          Exception: what `again` raises, but for Closed.
        """
        while not self._stop.is_set():
            beating = Heartbeat()
            error = self._outcome(beating)
            if error is None or isinstance(error, Closed):
                return
            try:
                again(
                    self.name, error, beating.worked_seconds, self.restarts, self._stop
                )
            except Closed:
                return

    def _outcome(self, beating: Heartbeat) -> BaseException | None:
        """Lives once; returns what the life raised, or Silent where it hangs."""
        outcome: futures.Future[None] = futures.Future()
        thread = threading.Thread(
            target=self._run_life, args=(beating, outcome), name=self.name, daemon=True
        )
        thread.start()
        watch = Watch(beating, self._silence)
        while True:
            with contextlib.suppress(futures.TimeoutError):
                return outcome.exception(heartbeat.TICK_SECONDS)
            if self._stop.is_set():
                beating.close()
            if silent := watch.look():
                error = Silent(silent, thread.ident)
                if watch.close():
                    return error

    def _run_life(self, beating: Heartbeat, outcome: futures.Future[None]) -> None:
        try:
            self._live(self.restarts.total, beating)
        except BaseException as error:  # noqa: BLE001 - `run` looks at it
            outcome.set_exception(error)
        else:
            outcome.set_result(None)
