"""How a run ends when it is asked to: by a signal, or by the failure of another part.

The first signal sets the `Stop`: whatever waits is closed, the learner saves, and the
run returns as it does at its end. A second signal, but SIGUSR1, leaves at once. A main
thread that compiles or waits for a device runs no signal handlers, at times for
minutes. So signals arrive through a pipe that a thread of its own reads. If the run has
not returned after `GRACE_SECONDS`, that thread saves the last finished state and ends
the process.

Before a run a signal ends the process, and after it signals do nothing: `as_program`.

This file is imported before all that is heavy, so it imports nothing heavy.
"""

from __future__ import annotations

import atexit
import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import NamedTuple, NoReturn

from stac.runtime.faults import lines

# SIGHUP: the terminal is gone. SIGUSR1: a scheduler's warning before it ends the job.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
# Where these are ignored at the start, as SIGHUP under nohup, they stay ignored.
_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGUSR1)
GRACE_SECONDS = 6.0  # then what is finished is saved, and the run is left where it is
ECHO_SECONDS = 0.5  # a terminal, a wrapper and a scheduler may each send the first one
NOTHING = "nothing to save: the learner had not begun"
_GOODBYE_SECONDS = 10.0  # for last words and exit functions; JAX's take half a second


class Saved(NamedTuple):
    """The outcome of a last save."""

    succeeded: bool
    line: str  # says what is saved: "update 12 is saved in runs/x"; "": nothing to say
    summary: Sequence[str] = ()  # lines to show before it


class Stop:
    """A request to end, seen by all. Unlike a signal handler it may take locks."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._lock = threading.Lock()
        self._closes: list[Callable[[], object]] = []
        self._save: Callable[[], Saved] | None = None

    def set(self) -> None:
        """Asks everyone to stop and closes what they wait for; may be called twice.

        Raises:
          Exception: what a `close` raised, after all of them were called.
        """
        with self._lock:
            self._asked.set()
            closes, self._closes = self._closes, []
        with contextlib.ExitStack() as stack:
            for close in reversed(closes):
                stack.callback(close)

    def is_set(self) -> bool:
        return self._asked.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits for `set`, at most so long; returns whether it was called."""
        return self._asked.wait(seconds)

    def wakes(self, close: Callable[[], object]) -> None:
        """Has `set` call `close`; calls it at once if `set` was called before."""
        with self._lock:
            if not self._asked.is_set():
                self._closes.append(close)
                return
        close()

    @contextlib.contextmanager
    def closing(self, close: Callable[[], object]) -> Iterator[None]:
        """Has `close` called by `set`, or else at the end of the block."""
        self.wakes(close)
        try:
            yield
        finally:
            with self._lock:
                pending = close in self._closes
                if pending:
                    self._closes.remove(close)
            if pending:
                close()

    def saves(self, save: Callable[[], Saved] | None) -> None:
        """Names the function that saves the last finished state, from any thread."""
        self._save = save

    def save(self) -> Saved:
        """Saves, from any thread."""
        if self._save is None:
            return Saved(True, NOTHING)
        return self._save()


def as_program(main: Callable[[], int]) -> NoReturn:
    """Calls `main` and ends this process with the status that it returns.

    Until `main` reaches its `on_signals`, the first of SIGNALS says that there is
    nothing to save and ends the process with status 0. After that block signals do
    nothing. The functions registered for Python's exit are run, for a few seconds at
    most. Python itself is not taken apart: with threads of TensorFlow, JAX and gRPC
    still in it, that takes long, and at times ends in an abort.
    """
    handle(_leave_early)
    status, failure = 1, None
    try:
        status = main()
    except SystemExit as ended:  # argparse: after its help, or a mistake of the user
        code = ended.code
        status = code if isinstance(code, int) else int(code is not None)
    except BaseException:  # noqa: BLE001 - shown
        failure = traceback.format_exc()
    handle(signal.SIG_IGN)
    hurry = threading.Timer(_GOODBYE_SECONDS, lines.leave, (status,))
    hurry.daemon = True
    hurry.start()
    if failure:
        lines.to_stderr(failure.rstrip())
    atexit._run_exitfuncs()
    lines.leave(status)


def trains_nothing() -> None:
    """Gives signals back their usual meaning, which `as_program` has taken."""
    if signal.getsignal(signal.SIGTERM) is _leave_early:
        handle(signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def on_signals(
    stop: Stop,
    grace_seconds: float = GRACE_SECONDS,
    signals: Sequence[signal.Signals] = SIGNALS,
) -> Iterator[None]:
    """Lets these signals set `stop` in this block; then the old handlers return.

    The handlers of `as_program` do not return, because after a run there is nothing to
    break off. Outside the main thread, where Python takes no signals, this does
    nothing. One of SIGNALS is told of in a line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watcher = _Watcher(stop, math.inf if _borrowed else grace_seconds, signals)
    # The watcher does the work; this keeps Python from its own KeyboardInterrupt.
    old_handlers = handle(lambda number, frame: None, signals)
    try:
        yield
    finally:
        watcher.close()
        for number, handler in old_handlers.items():
            early = handler is _leave_early
            signal.signal(number, signal.SIG_IGN if early else handler)
    if _borrowed and watcher.first == signal.SIGINT:
        raise KeyboardInterrupt


_borrowed = False


@contextlib.contextmanager
def borrowed() -> Iterator[None]:
    """For runs in a process that goes on after them: a script's, a notebook's.

    The first Ctrl-C there raises KeyboardInterrupt when the run has saved and returned,
    however long that takes.
    """
    global _borrowed
    before, _borrowed = _borrowed, True
    try:
        yield
    finally:
        _borrowed = before


_Handler = Callable[[int, FrameType | None], object] | int | None


def handle(
    handler: _Handler, signals: Sequence[signal.Signals] = SIGNALS
) -> dict[signal.Signals, _Handler]:
    """Sets the handler of these signals; returns the handlers before.

    SIGHUP and SIGUSR1 stay ignored where they are, as by `nohup`.
    """
    heeded = [
        number
        for number in signals
        if number not in _MAY_BE_IGNORED or signal.getsignal(number) != signal.SIG_IGN
    ]
    return {number: signal.signal(number, handler) for number in heeded}


def _leave_early(number: int, frame: object) -> None:
    """Raises no exception: imports run callbacks, and an exception in one is lost."""
    # Not `say`: the main thread may be in the middle of a line.
    with contextlib.suppress(OSError):
        if lines.has_room(sys.stderr):
            os.write(2, f"{signal.Signals(number).name}: {NOTHING}\n".encode())
    os._exit(0)


class _Watcher:
    """Reads signals in a thread of its own; another thread ends the run."""

    def __init__(
        self, stop: Stop, grace_seconds: float, signals: Sequence[signal.Signals]
    ) -> None:
        self._stop, self._grace, self._signals = stop, grace_seconds, signals
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self.first: int | None = None  # the first signal
        self._over = threading.Event()  # the run returned
        self._ending: threading.Thread | None = None
        self._reading = threading.Thread(target=self._read, name="signals", daemon=True)
        self._reading.start()
        # The C-level handler writes the number to the pipe whatever the main thread
        # does.
        self._old_pipe = signal.set_wakeup_fd(
            self._writer.fileno(), warn_on_full_buffer=False
        )

    def close(self) -> None:
        """Is called when the run returned; waits for a save that has begun."""
        self._over.set()
        if self._ending is not None:
            self._ending.join()
        signal.set_wakeup_fd(self._old_pipe)
        self._writer.close()
        self._reading.join()
        self._reader.close()

    def _read(self) -> None:
        """Reads until the pipe is closed."""
        first: float | None = None  # when the first signal came
        while data := self._reader.recv(1):
            number, now = data[0], time.monotonic()
            if number not in self._signals:
                continue
            if first is None:
                first, self.first = now, number
                ending = threading.Thread(
                    target=self._end, args=(number,), name="ending", daemon=True
                )
                ending.start()
                self._ending = ending  # only now: it may be joined
            elif now - first > ECHO_SECONDS and number != signal.SIGUSR1:
                lines.leave(128 + number)

    def _end(self, number: int) -> None:
        deadline = time.monotonic() + self._grace
        if number in SIGNALS:
            name = signal.Signals(number).name
            lines.to_stderr(
                f"{name}: saving and leaving (a second signal leaves at once)"
            )
        try:
            self._stop.set()
        except Exception:  # noqa: BLE001 - what cannot be woken is left behind
            lines.to_stderr(traceback.format_exc())
        left = max(0.0, deadline - time.monotonic())
        if not self._over.wait(min(left, threading.TIMEOUT_MAX)):
            self._leave_saving()

    def _leave_saving(self) -> NoReturn:
        """Saves and ends the process, whatever its threads are in."""
        status = 1
        try:
            saved = self._stop.save()
            status = 0 if saved.succeeded else 1
            if saved.summary and lines.has_room(sys.stdout):
                lines.to_stdout("\n".join(saved.summary))
            if saved.line:
                lines.to_stderr(
                    f"left while a computation was still running; {saved.line}"
                )
        except Exception:  # noqa: BLE001 - told, and the status says so
            lines.to_stderr(traceback.format_exc())
        finally:
            lines.leave(status)
