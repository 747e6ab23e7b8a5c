"""Runs of a command as a user meets them, whose every process a test can see."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Sequence

from tests import conftest
from tests.waiting import until

SMALL = ("--runtime=launchpad", "--agent=impala", "--num_actors=1")
LONG = 20_000_000  # frames that nobody waits for
START_SECONDS = 240.0  # for imports and compiling on a machine that has other work
END_SECONDS = 10.0
FAIL_SECONDS = 15.0
_MARK = "STAC_TEST_RUN"  # in the environment of all that a run starts


def game(does: str) -> str:
    """Code after which a step of catch first does this; `steps` counts from 1.

    Put where Python looks at its start, it holds in every process of a run.
    """
    return f"""
import time
from stac.environments import catch

def step(self, action, _step=catch.Catch.step, _steps=[]):
    _steps.append(1)
    steps = len(_steps)
    {does}
    return _step(self, action)

catch.Catch.step = step
"""


BROKEN_GAME = game('if steps > 100: raise RuntimeError("the paddle broke")')


class Run:
    """`python -m launch.catch --runtime=launchpad …` in a session of its own."""

    def __init__(
        self,
        workdir: pathlib.Path | None,
        *flags: str,
        path: pathlib.Path | None = None,
        program: str = "launch.catch",
        within: Sequence[str] = (),
    ) -> None:
        """Starts it.

        Args:
          workdir: need not exist; None for a program that takes neither it nor SMALL.
          *flags: beside SMALL, over which they win.
          path: goes before PYTHONPATH's own; see `early`.
          program: a module.
          within: a command that runs the command behind it, in the same process.
        """
        self.workdir, self.flags = workdir, (*SMALL, *flags)
        if workdir is not None:
            flags = (f"--workdir={workdir}", *self.flags)
        paths = f"{path or ''}:{conftest.ROOT}"
        mark = str(uuid.uuid4())
        self._mark = f"{_MARK}={mark}"
        environment = {**os.environ, "PYTHONPATH": paths, _MARK: mark}
        self._process = subprocess.Popen(
            [*within, sys.executable, "-m", program, *flags],
            cwd=conftest.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, words: str, since: int = 0) -> None:
        """Waits until a line says so, of those after the first `since`."""

        def has() -> bool:
            return any(words in line for line in self.lines[since:])

        with self._said:
            self._said.wait_for(lambda: has() or self.over, START_SECONDS)
        assert has(), self.text

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells every process of the foreground."""
        os.killpg(self._process.pid, signal.SIGINT)

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """A scheduler tells the one process that it knows."""
        self._process.send_signal(number)

    def behead(self) -> None:
        """`kill -9` of the process that the user started, and of no other."""
        self._process.kill()
        self._process.wait()

    def status(self, seconds: float) -> int:
        """Its exit status, which must come within so many seconds."""
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def processes(self, role: str = "", worker: bool = False) -> list[int]:
        """What it started and still runs; of a role, its workers or itself."""
        pids = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                environment = (
                    (folder / "environ").read_text(errors="replace").split("\0")
                )
                zombie = ") Z " in (folder / "stat").read_text()
                works = b"stac.environments" in (folder / "cmdline").read_bytes()
                ours = self._mark in environment and not zombie
                named = not role or (
                    f"STAC_ROLE={role}" in environment
                    if worker
                    else (folder / "comm").read_text() == f"stac {role}\n"
                )
                if ours and named and (works == worker or not role):
                    pids.append(int(folder.name))
        return sorted(pids)

    def ports(self, role: str = "") -> set[int]:
        """On which it listens, or its process of a role."""
        return ports(self.processes(role))

    def kill(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    @property
    def over(self) -> bool:
        """Whether all that could say something has ended."""
        return not self._reader.is_alive()

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()


def _listening() -> list[tuple[int, str]]:
    """(port, inode) of every TCP socket on this machine that listens."""
    rows = []
    for name in ("tcp", "tcp6"):
        lines = pathlib.Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        rows += [line.split() for line in lines]
    return [(int(row[1].split(":")[1], 16), row[9]) for row in rows if row[3] == "0A"]


def ports(processes: Iterable[int]) -> set[int]:
    """On which any of these processes listens."""
    sockets = set()
    for pid in processes:
        for file in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(os.readlink(file))
    return {port for port, inode in _listening() if f"socket:[{inode}]" in sockets}


def ports_in_use() -> set[int]:
    """On which anybody listens."""
    return {port for port, _ in _listening()}


def unexpected(run: Run) -> list[str]:
    """Lines that are no news of the run."""
    known = (
        r"writing to|continuing|starting|building|compiling|making"
        r"|SIG(INT|TERM|USR1): saving|waiting for (trajectories|the actors)"
        r"|.* frames \(|nothing to save"
        r"|(frames|return|scores|continue|report|evaluate)  |evaluating the last "
        r"|evaluation(s due meanwhile were skipped: | at .* frames: )"
        r"|(done: .* frames; )?update [\d,]+ is saved in "
    )
    return [line for line in run.lines if not re.match(known, line)]


def early(folder: pathlib.Path, code: str) -> pathlib.Path:
    """A directory, made to be a Run's `path`, of code that Python runs at its start."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(code)
    return folder


def rows(workdir: pathlib.Path) -> list[dict[str, float]]:
    """Of metrics.jsonl, the whole lines: the last may grow; [] before there is one."""
    path = workdir / "metrics.jsonl"
    *lines, _ = path.read_text().split("\n") if path.exists() else [""]
    return [json.loads(line) for line in lines]


def wait_for_actors(run: Run, **counts: int) -> float:
    """Waits until the metrics count these actors by machine; returns the seconds."""
    began = time.monotonic()

    def acting() -> dict[str, float]:
        newest = (rows(run.workdir) or [{}])[-1]
        machines = {name for name in newest if name.startswith("actors/")}
        return {name.partition("/")[2]: newest[name] for name in machines}

    until(
        lambda: acting() == counts,
        START_SECONDS,
        lambda: f"{acting()}\n{run.text}",
        every=0.2,
        over=lambda: run.over,
    )
    return time.monotonic() - began


def saved(workdir: pathlib.Path) -> list[int]:
    """Updates behind each checkpoint, the oldest first; not those half-written."""
    names = [step.name for step in (workdir / "checkpoints").glob("*")]
    return sorted(int(name) for name in names if name.isdigit())
