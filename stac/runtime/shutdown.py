"""How a run ends when somebody asks for it: a signal, or another part's failure.

The first signal sets the `Stop`; whatever waits is closed, the learner saves and the
run returns normally. The second signal leaves at once. A main thread that compiles or
waits for a device runs no signal handlers, for minutes at times. So signals arrive
through a pipe that a thread of its own reads, and if the run has not returned after
`GRACE_SECONDS`, that thread saves the last finished state and ends the process.

Before a run a signal ends the process, and after it none does: see `as_program`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, TextIO

# SIGHUP: the terminal is gone. Where it is ignored, as under nohup, it stays ignored.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 6.0  # then the run is left where it is: all is to be over within 10 s
ECHO_SECONDS = 0.5  # a terminal, a wrapper and a scheduler may each send the first one
_GOODBYE_SECONDS = 10.0  # for Python to end after a run; JAX takes half a second of it
_LEFT_SAVED = "left while a computation was still running; what was finished is saved"
_LEFT_UNSAVED = "left without the last save: the checkpoint before it is the newest"
_LISTEN_SECONDS = 1.0  # for who reads our lines to make room for one more


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
    to save and ends the process with status 0. After that, while Python is taken apart,
    they do nothing; a thread that hangs then is left behind.
    """
    _handle(_leave_early)
    status = 1
    try:
        status = main()
    finally:
        _handle(signal.SIG_IGN)
        hurry = threading.Timer(_GOODBYE_SECONDS, leave, (status,))
        hurry.daemon = True
        hurry.start()
    sys.exit(status)


@contextlib.contextmanager
def on_signals(stop: Stop, grace_seconds: float = GRACE_SECONDS) -> Iterator[None]:
    """Lets SIGNALS set `stop` in this block; then the old handlers return.

    But for `as_program`'s: after a run there is nothing to be broken off. Outside the
    main thread, where Python takes no signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(
        target=_watch,
        args=(reader, stop, grace_seconds),
        name="signals",
        daemon=True,
    )
    watcher.start()
    # The C-level handler writes the number to the pipe whatever the main thread does.
    old_pipe = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    old_handlers = _handle(_nothing)
    try:
        yield
    finally:
        for number, handler in old_handlers.items():
            early = handler is _leave_early
            signal.signal(number, signal.SIG_IGN if early else handler)
        signal.set_wakeup_fd(old_pipe)
        writer.close()
        watcher.join()
        reader.close()


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
        if _has_room(sys.stderr):
            name = signal.Signals(number).name
            os.write(2, f"{name}: there is nothing to save\n".encode())
    os._exit(0)


def _nothing(number: int, frame: object) -> None:
    """The watcher does the work; this keeps Python from its own KeyboardInterrupt."""


def _watch(reader: socket.socket, stop: Stop, grace_seconds: float) -> None:
    """Reads signal numbers until the pipe is closed."""
    if not (first := _next_signal(reader)):
        return
    asked = time.monotonic()
    say(f"{first.name}: saving and leaving (a second one leaves at once)")
    ask(stop)
    try:
        while again := _next_signal(reader, asked + grace_seconds):
            if time.monotonic() - asked > ECHO_SECONDS:
                leave(128 + again)
    except TimeoutError:
        leave_saving(stop)


def leave_saving(stop: Stop) -> NoReturn:
    """Ends the process after a save, whatever it is in; status 1 where that failed."""
    status = 1
    try:
        saved = stop.save()
        status = int(saved is False)
        if saved is not None:
            say(_LEFT_SAVED if saved else _LEFT_UNSAVED)
    except Exception:  # noqa: BLE001 - told, and the status says so
        say(traceback.format_exc())
    finally:
        leave(status)


def _next_signal(
    reader: socket.socket, deadline: float | None = None
) -> signal.Signals | None:
    """The next of SIGNALS, or None when the block was left. Raises TimeoutError."""
    while True:
        if deadline is not None:
            reader.settimeout(max(deadline - time.monotonic(), 1e-3))
        data = reader.recv(1)
        if not data:
            return None
        if data[0] in SIGNALS:
            return signal.Signals(data[0])


def ask(stop: Stop) -> None:
    """Sets it; who cannot be woken is left waiting, and left behind."""
    try:
        stop.set()
    except Exception:  # noqa: BLE001 - told
        say(traceback.format_exc())


def say(line: str) -> None:
    """To whoever watches the run, if there still is somebody who reads."""
    # Whoever listened may have gone first: `| tee` ends by the same Ctrl-C.
    with contextlib.suppress(OSError, ValueError):
        if _has_room(sys.stderr):
            print(line, file=sys.stderr, flush=True)


def leave(status: int) -> NoReturn:
    """Ends the process at once, whatever its threads are in."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            if _has_room(stream):
                stream.flush()
    os._exit(status)


def _has_room(stream: TextIO) -> bool:
    """Whether it takes a line: a pipe that nobody reads would hold us for ever."""
    try:
        return bool(select.select([], [stream], [], _LISTEN_SECONDS)[1])
    except (OSError, ValueError):  # no file: a test's, or closed
        return True
