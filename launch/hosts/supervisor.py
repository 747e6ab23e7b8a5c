"""The parent process of one host: it starts the child that trains, and ends it.

A child that waits for a dead host is inside JAX, where no signal of Python's reaches
it, and JAX ends it in time without saying why. The parents do not load JAX. They hear
of each other's faults (`party.py`), name the host, give their children the time to
save, and end them.
"""

from __future__ import annotations

import base64
import dataclasses
import importlib.metadata
import json
import pickle
import signal
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from stac import children
from stac.config import FAILED, USER_ERROR, Config, flat
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
# From the first request to stop: the last updates, and the last save.
_END_SECONDS = shutdown.GRACE_SECONDS + 14.0


class Command(NamedTuple):
    """A command as `processes.Process` takes it."""

    command_as_list: list[str]
    env_overrides: Mapping[str, str]
    title: str


def run(config: Config, workdir: str, hosts: Hosts) -> int:
    """Trains on all hosts to `total_frames`, or until one gets a signal; saves.

    Args:
      config: with runtime `threads`; the same on all hosts.
      workdir: a prepared directory, of the first host alone.
      hosts: of the run.

    Returns:
      An exit status: 0, or 1 where a host failed, or 2 for a user's mistake. The reason
      has been printed.

    Raises:
      ConfigError: a host has another configuration or another version of the code.
      RunError: a host does not come.
    """
    lines.prefix = f"[host {hosts.index}] "
    all_hosts = party.Party(hosts, socket.gethostname())
    try:
        about = describe(config)
        all_hosts.meet(about, lambda theirs: difference(about, theirs))
        return _supervise(config, workdir, all_hosts)
    finally:
        all_hosts.close()


def describe(config: Config) -> dict[str, Any]:
    """What has to be the same on all hosts: versions, code and configuration."""
    return {
        "version": {
            "jax": importlib.metadata.version("jax"),
            "jaxlib": importlib.metadata.version("jaxlib"),
            "the code of stac": version.code(),
        },
        "config": flat(json.loads(json.dumps(dataclasses.asdict(config)))),
    }


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """Says what another host has that the first, which is here, has not; or ""."""
    for part, what in (("version", "version"), ("config", "configuration")):
        mine, theirs = here[part], there.get(part) or {}
        differing = [
            f"{name} is {theirs.get(name)} there, {mine[name]} on the first host"
            for name in mine
            if theirs.get(name) != mine[name]
        ]
        if differing:
            return f"has another {what}: {', '.join(differing[:3])}"
    return ""


def _supervise(config: Config, workdir: str, all_hosts: party.Party) -> int:
    hosts = all_hosts.hosts
    stop = shutdown.Stop()
    runtime = dataclasses.replace(config.runtime, silence_seconds=SILENCE_SECONDS)
    run_of_child = base64.b64encode(pickle.dumps((config, workdir, hosts))).decode()
    stop.saves(lambda: shutdown.Saved(True, ""))  # the child does
    with shutdown.on_signals(stop, 2 * _END_SECONDS):
        child = processes.Process(
            Command(
                [sys.executable, "-m", "stac.launch.hosts.member", run_of_child],
                {"PYTHONPATH": children.python_path()},
                "learner",
            ),
            runtime,
            workdir_.locks(),
        )
        watch = _Watch(all_hosts, child, stop)
        fault = watch.until_the_end()
        child.ask()
        child.join(_END_SECONDS)
    if not fault:
        return 0
    if child.status == USER_ERROR:
        return USER_ERROR  # it has said why
    lines.say(f"{fault}: the run is stopped; the same command on every host continues")
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

    def until_the_end(self) -> str:
        """Returns why the run failed, or "" where all hosts are done."""
        hosts = self._party.hosts
        while len(self._done) < hosts.count:
            event = self._party.event(_LOOK_SECONDS)
            if event and (fault := self._hear(event)):
                return fault
            if self._stop.is_set() and self._ends_at is None:
                self._end()
                self._party.tell(party.STOP, "was told to stop")
            if fault := self._fault():
                self._party.tell(party.FAULT, fault)
                return f"{self._party.describe(hosts.index)} {fault}"
        return ""

    def _hear(self, event: party.Event) -> str:
        if event.kind == party.DONE:
            self._done.add(event.host)
        elif event.kind == party.STOP and self._ends_at is None:
            lines.say(f"{self._party.describe(event.host)} {event.words}: so does this")
            self._end()
        elif event.kind == party.FAULT and event.host not in self._done:
            return f"{self._party.describe(event.host)} {event.words}"
        return ""

    def _end(self) -> None:
        self._ends_at = time.monotonic() + _END_SECONDS
        self._child.ask()

    def _fault(self) -> str:
        """The fault of this host, or ""; notices when its child is done."""
        now, here = time.monotonic(), self._party.hosts.index
        if self._child.fell_silent():
            return self._child.how()
        late = self._ends_at is not None and now > self._ends_at
        if self._child.status is None:
            return "does not end" if late else ""
        if here in self._done:
            return "still waits for the others" if late else ""
        # JAX ends a child whose first host is gone, also where that one is done.
        first_is_done = here > 0 and 0 in self._done and self._ends_at is not None
        if self._child.status == 0 or first_is_done:
            self._done.add(here)
            self._party.tell(party.DONE)
            self._ends_at = self._ends_at or now + _END_SECONDS
            return ""
        if self._failed_at is None:
            self._failed_at = now
        raised = self._child.status in (FAILED, -signal.SIGABRT)
        if now - self._failed_at < _ANOTHERS_FAULT_SECONDS * raised:
            return ""
        self._child.join(0.0)
        return self._child.how()
