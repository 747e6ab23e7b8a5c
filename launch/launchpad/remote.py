"""Actors of this machine for a learner on another: they join, work, and join again.

The parent process holds a connection to the learner (`join.py`). While it stands, the
actors run as they do beside a learner, and one that fails starts again. When it is cut,
they are stopped, and the parent tries to join again until it is told to leave.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import launchpad as lp

from stac import cores
from stac.config import ConfigError
from stac.launch import processes
from stac.launch.launchpad import join, nodes, program
from stac.launch.nursery import Nursery
from stac.runtime.faults import lines, shutdown

_RETRY_SECONDS = 3.0  # between two attempts to join
_REACH_SECONDS = 2.0  # to connect to the queue or the learner
_STARTING_SECONDS = 60.0  # until those that do not answer are told of
_END_SECONDS = 5.0  # for the actors, which have nothing to save


def run(address: join.Address, actors: int = 0) -> int:
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
    actors = actors or cores.usable()
    stop = shutdown.Stop()
    with (
        contextlib.closing(Nursery(nodes.__name__)) as nursery,
        shutdown.on_signals(stop, 2 * _END_SECONDS),
    ):
        line: join.Line | None = _first(address, actors)
        while line is not None:
            status = _act(address, line, stop, nursery)
            if status is not None or stop.is_set():
                return status or 0
            line = _again(address, actors, stop)
    return 0


def _first(address: join.Address, actors: int) -> join.Line:
    try:
        return join.Line(address, actors)
    except OSError as error:
        why = join.reason(error)
        raise ConfigError(f"cannot join a learner at {address}: {why}") from None


def _again(address: join.Address, actors: int, stop: shutdown.Stop) -> join.Line | None:
    """Joins again as soon as that is possible; None where this machine is to stop."""
    while not stop.wait(_RETRY_SECONDS):
        with contextlib.suppress(OSError):
            return join.Line(address, actors)
    return None


class _Talk:
    """Tells the learner every second how many actors act, in a thread of its own."""

    def __init__(self, line: join.Line) -> None:
        self._line = line
        self.ended = shutdown.Stop()  # by a cut, or the end of the run
        self.over = self.why = ""  # of the run; of the cut
        self.running: processes.Processes | None = None
        threading.Thread(target=self._run, name="talk", daemon=True).start()

    def _run(self) -> None:
        try:
            while not (self.over or self.ended.is_set()):
                self.over = self._line.tell(self._acting())
                self.ended.wait(join.TICK_SECONDS)
        except (OSError, ValueError) as error:  # ValueError: closed by this machine
            self.why = join.reason(error)
        self.ended.set()

    def _acting(self) -> int:
        everyone = self.running.everyone if self.running else []
        return sum(each.acts for each in everyone)


def _act(
    address: join.Address, line: join.Line, stop: shutdown.Stop, nursery: Nursery
) -> int | None:
    """Acts until the connection ends; returns an exit status, or None to join again."""
    talk = _Talk(line)
    with contextlib.closing(line), stop.closing(talk.ended.set):
        if _reached(line, talk.ended):
            failed = _play(address, line, talk, nursery)
            if failed is not None:
                status = failed.report()
                lines.say("this machine leaves; the learner goes on without it")
                return status
    if talk.over:
        lines.show(f"{address}: {talk.over}")
        return 0
    if not stop.is_set():
        lines.say(f"{address} is lost: {talk.why}; the actors stop, and join again")
    return None


def _play(
    address: join.Address, line: join.Line, talk: _Talk, nursery: Nursery
) -> processes.Process | None:
    """Runs the actors; returns one that fails too often, or None at the end."""
    config = line.config
    program.prepare(line.host)
    spec, item = program.parts(config)
    actors = lp.Program("actors")
    queue, learner = program.fixed(line.queue), program.fixed(line.learner)
    handle = lp.CourierHandle(learner)
    program.add_actors(actors, line.first, config, spec, item, queue, handle)
    if talk.ended.is_set():
        return None
    played, number = config.environment, config.runtime.num_actors
    lines.show(
        f"joined {address}: {number} acting, {line.first} to {line.first + number - 1},"
        f" for {config.agent.name} on {played.domain}, {played.task}"
    )
    running = talk.running = program.start(actors, config, nursery)
    talk.ended.wakes(running.ask)
    failed = running.watch()
    running.finish(_END_SECONDS)
    return failed


def _reached(line: join.Line, ended: shutdown.Stop) -> bool:
    """Waits until the queue and the learner answer; False where `ended` comes first."""
    began, warned = time.monotonic(), False
    for name, at in (("queue", line.queue), ("learner", line.learner)):
        while not _answers(at):
            if time.monotonic() - began > _STARTING_SECONDS and not warned:
                lines.say(f"the {name} does not answer at {at}: a firewall?")
                warned = True
            if ended.wait(_RETRY_SECONDS):
                return False
    return not ended.is_set()


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS).close()
    except OSError:
        return False
    return True
