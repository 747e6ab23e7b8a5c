"""A program of child processes under watch; without JAX, as a child may import it."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import textwrap
import threading
from typing import NamedTuple

from stac.config import RuntimeConfig
from stac.launch import processes
from tests.waiting import until

ROOT = pathlib.Path(__file__).parents[2]
SOON = 20.0  # seconds: Python starts slowly on a machine that has other work


class Command(NamedTuple):
    title: str
    program: str

    @property
    def command_as_list(self) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(self.program)]

    @property
    def env_overrides(self) -> dict[str, str]:
        return {"PYTHONPATH": str(ROOT)}


class Watched:
    """A program of such children, whose watch is at work in a thread."""

    def __init__(self, limit=10, silence=0.0, begin=subprocess.Popen, **programs):
        commands = [Command(f"{role}/0", text) for role, text in programs.items()]
        runtime = RuntimeConfig(actor_restarts=limit, silence_seconds=silence)
        self.running = processes.Processes(commands, runtime, begin=begin)
        self._outcome = []
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self):
        self._outcome.append(self.running.watch())

    def begun(self):
        """Waits until all children are at work."""
        until(lambda: all(each.begun for each in self.running.everyone), SOON)

    def ended(self):
        """The process that ended the run."""
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the watch goes on"
        return self._outcome[0]

    def pid(self, role):
        [process] = [each for each in self.running.everyone if each.role == role]
        return process._process.pid

    def finish(self, seconds=SOON):
        """Ends all; returns their exit statuses."""
        self.running.finish(seconds)
        self._thread.join(SOON)
        return [process.status for process in self.running.everyone]
