"""Names an actor that hangs in the one thread that could have started another."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

from stac.runtime.faults import pulse, supervision


class Watchdog:
    """A thread that watches one actor at a time, and tells once of each silence."""

    def __init__(
        self,
        silence_seconds: float,  # 0: it never tells
        tell: Callable[[str], None] = supervision.say,
    ) -> None:
        self._silence, self._tell = silence_seconds, tell
        self._watched: tuple[str, int, pulse.Watch] | None = None
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, name: str, of: pulse.Pulse) -> Iterator[None]:
        """While the thread that calls does what `of` shows signs of life from."""
        if self._silence and self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="watchdog", daemon=True
            )
            self._thread.start()
        self._watched = name, threading.get_ident(), pulse.Watch(of.signs)
        try:
            yield
        finally:
            self._watched = None

    def close(self) -> None:
        """May be called twice."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        told: pulse.Watch | None = None
        while not self._closed.wait(pulse.TICK_SECONDS):
            if (watched := self._watched) is None:
                continue
            name, thread, watch = watched
            silent = watch.look()
            if silent >= self._silence and watch is not told:
                told = watch
                frame = sys._current_frames().get(thread)
                line = supervision.Silent(silent, frame).line
                self._tell(
                    f"{name}: {line}; it is waited for (Ctrl-C saves and leaves)"
                )
