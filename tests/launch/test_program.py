"""The Launchpad program as a user meets it: watched, interrupted, continued."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests import conftest

pytestmark = pytest.mark.launchpad

LAUNCH_TYPES = ("local_mp", "local_mt")
SMALL = ("--runtime=launchpad", "--agent=impala", "--num_actors=1")
LONG = 20_000_000  # frames that nobody waits for
START_SECONDS = 120.0  # for imports and compiling on a machine that has other work
END_SECONDS = 10.0
FAIL_SECONDS = 15.0

# Put where Python looks at its start, in every process of a run.
BROKEN_GAME = """
from stac.environments import catch

def step(self, action, _step=catch.Catch.step, _steps=[]):
    _steps.append(1)
    if len(_steps) > 100:
        raise RuntimeError("the paddle broke")
    return _step(self, action)

catch.Catch.step = step
"""


class Run:
    """`python -m launch.catch --runtime=launchpad …` in a session of its own."""

    def __init__(
        self, workdir: pathlib.Path, *flags: str, path: pathlib.Path | None = None
    ) -> None:
        paths = f"{path or ''}:{conftest.ROOT}"
        environment = {**os.environ, "PYTHONPATH": paths}
        environment.pop("XLA_FLAGS", None)  # one device, as a user has it
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launch.catch",
                f"--workdir={workdir}",
                *SMALL,
                *flags,
            ],
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

    def wait_for(self, words: str) -> None:
        """Waits until a line says so."""
        with self._said:
            self._said.wait_for(lambda: self._has(words) or self._over, START_SECONDS)
        assert self._has(words), self.text

    def interrupt(self) -> None:
        """Ctrl-C: the terminal tells every process of the foreground."""
        os.killpg(self._process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """A scheduler tells the one process that it knows."""
        self._process.terminate()

    def status(self, seconds: float) -> int:
        """Its exit status, which must come within so many seconds."""
        status = self._process.wait(seconds)
        self._reader.join(seconds)
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def processes(self) -> list[int]:
        """What runs in its session."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,stat=", "-s", str(self._process.pid)],
            capture_output=True,
            text=True,
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        return [int(pid) for pid, state in rows if not state.startswith("Z")]

    def kill(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    @property
    def _over(self) -> bool:
        return not self._reader.is_alive()

    def _has(self, words: str) -> bool:
        return any(words in line for line in self.lines)

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()


@pytest.fixture
def start() -> Iterator[type[Run]]:
    """Starts a Run that leaves nothing behind, however the test ends."""
    started: list[Run] = []

    def begin(*arguments, **keywords):
        started.append(Run(*arguments, **keywords))
        return started[-1]

    yield begin
    for run in started:
        run.kill()


def unexpected(run: Run) -> list[str]:
    """Lines that are no news of the run."""
    known = (
        r"writing to|continuing|starting|building|compiling|SIG(INT|TERM): saving"
        r"|.* frames \(|(done: .* frames; )?update [\d,]+ is saved in "
    )
    return [line for line in run.lines if not re.match(known, line)]


def saved(workdir: pathlib.Path) -> list[int]:
    return sorted(int(step.name) for step in (workdir / "checkpoints").iterdir())


@pytest.mark.parametrize("launch_type", LAUNCH_TYPES)
def test_an_interrupted_run_saves_leaves_nothing_behind_and_is_continued(
    start, tmp_path, launch_type
):
    flags = (f"--lp_launch_type={launch_type}", "--total_frames=150000")
    run = start(tmp_path, *flags)
    run.wait_for(" updates")
    run.interrupt()
    assert run.status(END_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []
    [updates] = saved(tmp_path)
    assert 0 < updates < 150_000 // 160, "it was to be interrupted"

    run = start(tmp_path, *flags)
    assert run.status(START_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []
    assert f"continuing from update {updates}" in run.lines
    assert saved(tmp_path)[-1] == -(-150_000 // 160)


def test_processes_are_the_default_and_sigterm_stops_them_at_any_time(start, tmp_path):
    run = start(tmp_path, f"--total_frames={LONG}")
    run.wait_for("writing to")
    deadline = time.monotonic() + START_SECONDS
    while len(run.processes()) < 4:  # parent, queue, learner, actor
        assert time.monotonic() < deadline, run.text
        time.sleep(0.05)
    run.terminate()
    assert run.status(END_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []


@pytest.mark.parametrize("launch_type", LAUNCH_TYPES)
def test_an_exception_in_an_actor_is_shown_and_takes_the_run_down(
    start, tmp_path, launch_type
):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(BROKEN_GAME)
    run = start(
        tmp_path / "run",
        f"--lp_launch_type={launch_type}",
        f"--total_frames={LONG}",
        path=broken,
    )
    run.wait_for("RuntimeError: the paddle broke")
    assert run.status(FAIL_SECONDS) == 1
    assert run.processes() == []
    assert "Traceback (most recent call last):" in run.lines
    assert saved(tmp_path / "run"), "what was learned is to be saved"


@pytest.mark.slow
@pytest.mark.faults
def test_a_dead_queue_takes_the_run_down(start, tmp_path):
    run = start(tmp_path, f"--total_frames={LONG}")
    run.wait_for(" updates")
    _, queue, *_ = sorted(run.processes())
    os.kill(queue, signal.SIGKILL)
    assert run.status(FAIL_SECONDS) == 1
    assert run.processes() == []
    assert run.lines[-1] == "queue/0 ended with status -9: the run is stopped"


def test_a_launch_type_that_is_not_local_is_refused(start, tmp_path):
    run = start(tmp_path, "--lp_launch_type=vertex_ai")
    assert run.status(START_SECONDS) == 2
    assert "unknown launch type 'vertex_ai': choose one of" in run.lines[-1]
