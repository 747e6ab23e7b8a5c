"""How a run ends when somebody asks for it: a signal, or another part's failure.

The first signal sets the `Stop`; whatever waits is closed, the learner saves and the
run returns normally. The second signal leaves at once. A main thread that compiles or
waits for a device runs no signal handlers, for minutes at times. So signals arrive
through a pipe that a thread of its own reads, and if the run has not returned after
`GRACE_SECONDS`, that thread saves the last finished state and ends the process.

Before a run a signal ends the process, and after it none does: see `as_program`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from stac.runtime.faults import lines

# SIGHUP: the terminal is gone. Where it is ignored, as under nohup, it stays ignored.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 6.0  # then what is finished is saved, and the run is left where it is
ECHO_SECONDS = 0.5  # a terminal, a wrapper and a scheduler may each send the first one
_GOODBYE_SECONDS = 10.0  # for last words and exit functions; JAX's take half a second
_LEFT_SAVED = "left while a computation was still running; all before it is saved"
_LEFT_UNSAVED = "left without the last save: the checkpoint before it is the newest"


class Stop:
    """Asked once, seen by everyone. Unlike a signal handler it may take locks."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._wake: list[Callable[[], None]] = []
        self._save: Callable[[], object] | None = None

    def set(self) -> None:
        """Asks everyone to stop and closes what they wait for; may be called twice.

        Raises:
          Exception: what a `close` raised, after all of them were called.
        """
        with self._lock:
            self._asked.set()
            wake, self._wake = self._wake, []
        with contextlib.ExitStack() as stack:
            for close in reversed(wake):
                stack.callback(close)

    def is_set(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits until asked to stop, or so long; returns whether asked."""
        return self._asked.wait(seconds)

    def wakes(self, close: Callable[[], None]) -> None:
        """Has `close` called when asked to stop; at once if that has happened."""
        with self._lock:
            if not self._asked.is_set():
                self._wake.append(close)
                return
        close()

    @contextlib.contextmanager
    def closing(self, close: Callable[[], None]) -> Iterator[None]:
        """Has `close` called when asked to stop, or else at the end of the block."""
        self.wakes(close)
        try:
            yield
        finally:
            with self._lock:
                waiting = close in self._wake
                if waiting:
                    self._wake.remove(close)
            if waiting:
                close()

    def saves(self, save: Callable[[], object] | None) -> None:
        """Names what saves the last finished state if the run does not return.

        Args:
          save: returns False where it could not.
        """
        self._save = save

    def save(self) -> bool | None:
        """Saves as `saves` said, from any thread.

        Returns whether all is saved, or None where `saves` has named nothing yet.
        """
        return None if self._save is None else self._save() is not False


def as_program(main: Callable[[], int]) -> NoReturn:
    """Calls `main`, and ends this process with the status that it returns.

    Until `main` has its `on_signals`, the first of SIGNALS says that there is nothing
    to save and ends the process with status 0. After that they do nothing: what is
    registered for Python's end is done, for so many seconds at most. Python itself is
    not taken apart: with threads of TensorFlow, JAX and gRPC still in it, that takes
    long, and at times ends in an abort.
    """
    _handle(_leave_early)
    status, failed = 1, None
    try:
        status = main()
    except BaseException:  # noqa: BLE001 - shown
        failed = traceback.format_exc()
    _handle(signal.SIG_IGN)
    hurry = threading.Timer(_GOODBYE_SECONDS, lines.leave, (status,))
    hurry.daemon = True
    hurry.start()
    if failed:
        lines.say(failed.rstrip())
    atexit._run_exitfuncs()
    lines.leave(status)


@contextlib.contextmanager
def on_signals(stop: Stop, grace_seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Lets SIGNALS set `stop` in this block; then the old handlers return.

    But for `as_program`'s: after a run there is nothing to be broken off. Outside the
    main thread, where Python takes no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watcher = _Watcher(stop, grace_seconds)
    # The C-level handler writes the number to the pipe whatever the main thread does.
    old_pipe = signal.set_wakeup_fd(watcher.file, warn_on_full_buffer=False)
    old_handlers = _handle(_nothing)
    try:
        yield
    finally:
        watcher.finish()
        for number, handler in old_handlers.items():
            early = handler is _leave_early
            signal.signal(number, signal.SIG_IGN if early else handler)
        signal.set_wakeup_fd(old_pipe)
        watcher.close()


_Handler = Callable[[int, FrameType | None], object] | int | None


def _handle(handler: _Handler) -> dict[signal.Signals, _Handler]:
    """Has SIGNALS handled so; returns how they were before."""
    heeded = [
        number
        for number in SIGNALS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    ]
    return {number: signal.signal(number, handler) for number in heeded}


def _leave_early(number: int, frame: object) -> None:
    """No exception: imports run callbacks, and what is raised in those is lost."""
    # Not `say`: the main thread may be in the middle of a line.
    with contextlib.suppress(OSError):
        if lines.has_room(sys.stderr):
            name = signal.Signals(number).name
            os.write(2, f"{name}: there is nothing to save\n".encode())
    os._exit(0)


def _nothing(number: int, frame: object) -> None:
    """The watcher does the work; this keeps Python from its own KeyboardInterrupt."""


class _Watcher:
    """Reads signals in a thread of its own; another one ends the run."""

    def __init__(self, stop: Stop, grace_seconds: float) -> None:
        self._stop, self._grace = stop, grace_seconds
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._over = threading.Event()  # the run returned
        self._ending: threading.Thread | None = None
        self._reading = threading.Thread(target=self._read, name="signals", daemon=True)
        self._reading.start()

    @property
    def file(self) -> int:
        """Where the numbers of signals are to be written to."""
        return self._writer.fileno()

    def finish(self) -> None:
        """The run returned: waits for who ends it, who may have begun to leave."""
        self._over.set()
        if self._ending is not None:
            self._ending.join()

    def close(self) -> None:
        """After `finish`, when nobody writes any more."""
        self._writer.close()
        self._reading.join()
        self._reader.close()

    def _read(self) -> None:
        """Until the pipe is closed."""
        asked: float | None = None
        while number := self._next_signal():
            now = time.monotonic()
            if asked is None:
                asked = now
                ending = threading.Thread(
                    target=self._end, args=(number.name,), name="ending", daemon=True
                )
                ending.start()
                self._ending = ending  # only now: it may be joined
            elif now - asked > ECHO_SECONDS:
                lines.leave(128 + number)

    def _next_signal(self) -> signal.Signals | None:
        """The next of SIGNALS, or None when the pipe was closed."""
        while data := self._reader.recv(1):
            if data[0] in SIGNALS:
                return signal.Signals(data[0])
        return None

    def _end(self, name: str) -> None:
        deadline = time.monotonic() + self._grace
        lines.say(f"{name}: saving and leaving (a second one leaves at once)")
        ask(self._stop)
        if not self._over.wait(max(0.0, deadline - time.monotonic())):
            leave_saving(self._stop)


def leave_saving(stop: Stop, status: int = 0) -> NoReturn:
    """Ends the process after a save, whatever it is in.

    With this status, or with 1 where the save failed.
    """
    asked, status = status, 1
    try:
        saved = stop.save()
        status = 1 if saved is False else asked
        if saved is not None:
            lines.say(_LEFT_SAVED if saved else _LEFT_UNSAVED)
    except Exception:  # noqa: BLE001 - told, and the status says so
        lines.say(traceback.format_exc())
    finally:
        lines.leave(status)


def ask(stop: Stop) -> None:
    """Sets it; who cannot be woken is left waiting, and left behind."""
    try:
        stop.set()
    except Exception:  # noqa: BLE001 - told
        lines.say(traceback.format_exc())
