"""Actors of this machine for a learner on another: they join, work, and join again.

The parent process calls the learner every second (`join.py`). While it answers, the
actors run as they do beside a learner, and one that fails starts again. When it does
not, they are stopped, and the parent tries to join again until it is told to leave.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import socket
import threading
import uuid
from collections.abc import Callable

import launchpad as lp

from stac import cores
from stac.config import ConfigError, changed
from stac.launch import listening, processes, version
from stac.launch.fork_server import ForkServer
from stac.launch.launchpad import join, nodes, program
from stac.runtime.faults import lines, shutdown

_RETRY_SECONDS = 3.0  # between two attempts to join
_REACH_SECONDS = 5.0  # to connect to a port
_LEAVE_SECONDS = 2.0  # for the learner to hear of it
_END_SECONDS = 5.0  # for the actors, which have nothing to save


def run(address: listening.Address, actors: int = 0) -> int:
    """Acts for the learner at `address` until its run is over, or until a signal.

    Args:
      address: of the learner.
      actors: their number; 0: one for each core of this machine.

    Returns:
      An exit status: 0, or that of an actor which fails too often.

    Raises:
      ConfigError: nobody answers at the first attempt; the learner refuses this
        machine; or its task cannot be played here.
    """
    actors, key = actors or cores.usable(), uuid.uuid4().hex
    stop = shutdown.Stop()
    attempt = functools.partial(Learner, address, actors, key, stop)
    with (
        contextlib.closing(ForkServer(nodes.__name__)) as forks,
        shutdown.on_signals(stop, 2 * _END_SECONDS),
    ):
        learner = _first(attempt, stop)
        while learner is not None:
            with contextlib.closing(learner):
                status = _act(learner, stop, forks)
            if status is not None or stop.is_set():
                return status or 0
            learner = _again(attempt, stop)
    return 0


def _first(attempt: Callable[[], Learner], stop: shutdown.Stop) -> Learner | None:
    """Joins; None where this machine is to stop."""
    try:
        return attempt()
    except OSError as error:
        if stop.is_set():
            return None
        raise ConfigError(f"cannot join a learner at {error}") from None


def _again(attempt: Callable[[], Learner], stop: shutdown.Stop) -> Learner | None:
    """Joins as soon as that is possible; None where this machine is to stop."""
    while not stop.wait(_RETRY_SECONDS):
        with contextlib.suppress(OSError):
            return attempt()
    return None


class Learner:
    """A learner on another machine whose run this one has joined."""

    def __init__(
        self, address: listening.Address, actors: int, key: str, stop: shutdown.Stop
    ) -> None:
        """Joins with so many actors, unless `stop` is set first; see join.Joined.

        Raises:
          OSError: nobody answers there, or nobody who speaks this.
          ConfigError: the learner refuses this machine.
        """
        self.address, self._key = address, key
        at = listening.Address(_reached(address), address.port)
        _reached(at.next)
        self.place, self.queue = program.fixed(str(at)), program.fixed(str(at.next))
        program.prepare(at.host)
        # Clients are in cycles, and a new one would use a connection of theirs that is
        # cut: TCP may take minutes to try that again.
        gc.collect()
        self._client = lp.CourierHandle(
            self.place, call_timeout=join.SILENCE_SECONDS, wait_for_ready=False
        ).dereference()
        future = self._client.futures.join(
            version.code(), key, socket.gethostname(), actors
        )
        self._hears = True  # by all that this machine knows
        try:
            with stop.closing(future.cancel):
                answer = future.result()
            if isinstance(answer, str):
                raise ConfigError(f"{address} refuses: {answer}")
            config, self.first = answer
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - Courier's own class has no name
            if stop.is_set():
                self.close()  # it may have joined all the same
            why = f"{address}: {_words(error)}: is it a learner with --listen?"
            raise OSError(why) from None
        own = {"num_actors": actors, "listen": "", "learner_devices": ()}
        # For the actors of this machine alone.
        self.config = changed(config, {f"runtime.{k}": v for k, v in own.items()})

    def tell(self, acting: int) -> str:
        """Says how many actors act; returns why the run is over, or "".

        Raises:
          OSError: the learner does not answer, or no longer knows this machine.
        """
        try:
            answer = self._client.tell(self._key, acting)
        except Exception as error:  # noqa: BLE001 - Courier's own class has no name
            self._hears = False
            raise OSError(_words(error)) from None
        if answer is None:
            raise OSError("it has counted this machine out")
        return str(answer)

    def close(self) -> None:
        """Leaves, where the learner still hears it.

        On a connection that is cut it might come after this machine has joined again.
        """
        if self._hears:
            future = self._client.futures.leave(self._key)
            with contextlib.suppress(Exception):
                future.result(_LEAVE_SECONDS)
            future.cancel()
        del self._client


def _reached(address: listening.Address) -> str:
    """Connects to a port; returns its host in numbers; raises OSError that names it."""
    try:
        with socket.create_connection(address, _REACH_SECONDS) as connection:
            return str(connection.getpeername()[0])
    except OSError as error:
        raise OSError(f"{address}: {listening.reason(error)}") from None


def _words(error: Exception) -> str:
    """Of Courier, whose messages may end in a traceback."""
    return str(error).partition("\n")[0].replace("Deadline Exceeded", "no answer")


class _Talk:
    """Tells the learner every second how many actors act, in a thread of its own."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self.ended = shutdown.Stop()  # by a cut, or the end of the run
        self.over = self.why = ""  # of the run; of the cut
        self.running: processes.Processes | None = None
        threading.Thread(target=self._run, name="talk", daemon=True).start()

    def _run(self) -> None:
        try:
            while not (self.over or self.ended.is_set()):
                self.over = self._learner.tell(self._acting())
                self.ended.wait(join.TICK_SECONDS)
        except OSError as error:
            self.why = str(error)
        self.ended.set()

    def _acting(self) -> int:
        everyone = self.running.everyone if self.running else []
        return sum(each.acts for each in everyone)


def _act(learner: Learner, stop: shutdown.Stop, forks: ForkServer) -> int | None:
    """Acts until the run is over or cut; an exit status, or None to join again."""
    talk, address = _Talk(learner), learner.address
    with stop.closing(talk.ended.set):
        if failed := _play(learner, talk, forks):
            status = failed.report()
            lines.to_stderr("this machine leaves; the learner goes on without it")
            return status
    if talk.over:
        lines.to_stdout(f"{address}: {talk.over}")
        return 0
    if not stop.is_set():
        lines.to_stderr(
            f"{address} is lost: {talk.why}; the actors stop, and join again"
        )
    return None


def _play(learner: Learner, talk: _Talk, forks: ForkServer) -> processes.Process | None:
    """Runs the actors; returns one that fails too often, or None at the end."""
    config, first = learner.config, learner.first
    spec, item = program.parts(config)
    actors = lp.Program("actors")
    handle = lp.CourierHandle(learner.place)
    program.add_actors(actors, first, config, spec, item, learner.queue, handle)
    if talk.ended.is_set():
        return None
    played, number = config.environment, config.runtime.num_actors
    lines.to_stdout(
        f"joined {learner.address}: actors {first} to {first + number - 1},"
        f" for {config.agent.name} on {played.domain}, {played.task}"
    )
    running = talk.running = program.start(actors, config, forks)
    talk.ended.wakes(running.ask)
    failed = running.watch()
    running.finish(_END_SECONDS)
    return failed
