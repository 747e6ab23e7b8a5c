"""The parent process of one host: it starts the child that trains, and ends it.

A child that waits for a dead host is inside JAX, where no signal of Python's reaches
it, and JAX ends it in time without saying why. The parents do not load JAX. They hear
of each other's faults (`party.py`), name the host, give their children the time to
save, and end them.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import pickle
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from stac import children
from stac.config import FAILED, USER_ERROR, Config, ConfigError, flat
from stac.launch import processes, version
from stac.launch.hosts import party
from stac.launch.hosts.find import Hosts
from stac.runtime.faults import lines, shutdown
from stac.runtime.storage import workdir as workdir_

_LOOK_SECONDS = 0.1
# Without a sign of life of the child, once it runs. It beats whatever its devices do.
SILENCE_SECONDS = 30.0
# A child that raises may have lost another host: that one's parent is heard first.
_ANOTHERS_FAULT_SECONDS = 3.0


class Command(NamedTuple):
    """A command as `processes.Process` takes it."""

    command_as_list: list[str]
    env_overrides: Mapping[str, str]
    title: str


@contextlib.contextmanager
def together(config: Config, hosts: Hosts) -> Iterator[party.Party | None]:
    """All hosts of the run, once they have met; None where there is but one.

    A mistake that is found in the block, such as a workdir of another run, ends the
    others as well.

    Raises:
      ConfigError: a host has another configuration or another version of the code.
      RunError: a host does not come.
    """
    if hosts.count == 1:
        yield None
        return
    lines.prefix = f"[host {hosts.index}] "
    lines.to_stdout(f"host {hosts.index} of {hosts.count}; --hosts=1 runs alone")
    about = describe(config)
    with contextlib.closing(party.Party(hosts, socket.gethostname())) as all_hosts:
        all_hosts.meet(about, lambda theirs: difference(about, theirs))
        try:
            yield all_hosts
        except ConfigError as error:
            all_hosts.tell(party.REFUSED, str(error))
            raise


def describe(config: Config) -> dict[str, Any]:
    """Versions, code and configuration, which must be the same on all hosts."""
    from importlib import metadata  # only here: a run of one host does without

    return {
        "version": {
            "jax": metadata.version("jax"),
            "jaxlib": metadata.version("jaxlib"),
            "the code of stac": version.code(),
        },
        "config": flat(json.loads(json.dumps(dataclasses.asdict(config)))),
    }


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Says what another host has that the first, which is here, has not; or ""."""
    for part, what in (("version", "version"), ("config", "configuration")):
        mine, theirs = here[part], there.get(part) or {}
        differing = [
            f"{name} is {theirs.get(name)!r} there, {mine[name]!r} on the first host"
            for name in mine
            if theirs.get(name) != mine[name]
        ]
        if differing:
            return f"has another {what}: {', '.join(differing[:3])}"
    return ""


def run(config: Config, workdir: str, all_hosts: party.Party) -> int:
    """Trains on all hosts to `total_frames`, or until one gets a signal; saves.

    Args:
      config: with runtime `threads`; the same on all hosts.
      workdir: a prepared directory, of the first host alone.
      all_hosts: see `together`.

    Returns:
      An exit status: 0, or 1 where a host failed, or 2 for a user's mistake. The reason
      has been printed.
    """
    hosts, stop = all_hosts.hosts, shutdown.Stop()
    runtime = dataclasses.replace(config.runtime, silence_seconds=SILENCE_SECONDS)
    run_of_child = base64.b64encode(pickle.dumps((config, workdir, hosts))).decode()
    stop.saves(lambda: shutdown.Saved(True, ""))  # the child does
    with shutdown.on_signals(stop, 2 * processes.END_SECONDS):
        child = processes.Process(
            Command(
                [sys.executable, "-m", "stac.launch.hosts.member", run_of_child],
                {"PYTHONPATH": children.python_path()},
                "learner",
            ),
            runtime,
            workdir_.locks(),
        )
        fault = _Watch(all_hosts, child, stop).until_the_end()
        words = fault and f"{all_hosts.describe(fault.host)} {fault.words}"
        if fault and fault.kind == party.FAULT:
            lines.to_stderr(f"{words}: stopping")
        child.ask()
        child.join(processes.END_SECONDS)
    if not fault:
        return 0
    if fault.kind == party.REFUSED:
        if fault.host != hosts.index:  # its child has said it
            lines.to_stderr(f"{words}")
        return USER_ERROR
    if child.trace and fault.host == hosts.index:
        lines.to_stderr(child.trace.rstrip())
    lines.to_stderr(
        f"{words}: the run is stopped; the same command on every host continues"
    )
    return FAILED


class _Watch:
    """Watches over the child and listens to the other hosts."""

    def __init__(
        self, all_hosts: party.Party, child: processes.Process, stop: shutdown.Stop
    ) -> None:
        self._party, self._child, self._stop = all_hosts, child, stop
        self._done: set[int] = set()
        self._ends_at: float | None = None  # where the run was asked to stop
        self._failed_at: float | None = None  # the child

    def until_the_end(self) -> party.Event | None:
        """Returns the event that ended the run; None where all hosts are done."""
        while len(self._done) < self._party.hosts.count:
            event = self._party.event(_LOOK_SECONDS)
            if event and self._ends_the_run(event):
                return event
            if self._stop.is_set() and self._ends_at is None:
                self._end()
                self._party.tell(party.STOP, "was told to stop")
            if event := self._fault():
                self._party.tell(event.kind, event.words)
                return event
        return None

    def _ends_the_run(self, event: party.Event) -> bool:
        if event.kind == party.DONE:
            self._done.add(event.host)
        elif event.kind == party.STOP and self._ends_at is None:
            lines.to_stderr(
                f"{self._party.describe(event.host)} {event.words}: so does this"
            )
            self._end()
        return event.kind == party.REFUSED or (
            event.kind == party.FAULT and event.host not in self._done
        )

    def _end(self) -> None:
        self._ends_at = time.monotonic() + processes.END_SECONDS
        self._child.ask()

    def _fault(self) -> party.Event | None:
        """A fault of this host, if there is one; notices when its child is done."""
        here = self._party.hosts.index
        fault = functools.partial(party.Event, here, party.FAULT)
        now, status = time.monotonic(), self._child.status
        if self._child.fell_silent():
            return fault(self._child.how())
        if status is None or here in self._done:
            if self._ends_at is None or now < self._ends_at:
                return None
            return fault(
                "does not end" if status is None else "still waits for the others"
            )
        # The loss of another host makes JAX raise in this child, or abort it.
        may_be_anothers = status in (FAILED, -signal.SIGABRT)
        # So it may be where the first host is done, and its service with it.
        if may_be_anothers and here and 0 in self._done and self._ends_at is not None:
            status = 0
        if status == 0:
            self._done.add(here)
            self._party.tell(party.DONE)
            self._ends_at = self._ends_at or now + processes.END_SECONDS
            return None
        self._failed_at = self._failed_at or now
        if may_be_anothers and now - self._failed_at < _ANOTHERS_FAULT_SECONDS:
            return None
        self._child.join(0.0)  # and hears its last words
        kind = party.REFUSED if status == USER_ERROR else party.FAULT
        return party.Event(here, kind, self._child.how())
