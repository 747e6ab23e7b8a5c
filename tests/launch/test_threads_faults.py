"""Actors of one process that fail or hang: they begin again, and the agent learns."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from stac.config import changed
from stac.configs import catch as numbers
from stac.environments import catch
from stac.launch import threads
from stac.runtime.faults import restarts
from tests import conftest
from tests.launch import runs
from tests.launch.runs import rows
from tests.waiting import until

pytestmark = pytest.mark.faults

BOTH = pytest.mark.parametrize(
    "runtime", ["threads", pytest.param("lockstep", marks=pytest.mark.slow)]
)


def config(runtime, frames=150_000, **changes):
    changes |= {"name": runtime, "learner_devices": (0,)}
    runtimes = {f"runtime.{name}": value for name, value in changes.items()}
    return changed(numbers.config(agent="stacx"), runtimes | {"total_frames": frames})


class Flaky(catch.Catch):
    """Each of its games raises with this probability a step, 40 times in all.

    So the last comes at about 80,000 steps (standard deviation: 13,000), before the end
    of the run: one after the last row of metrics is told, but in no row.
    """

    probability = 0.0005
    due: Iterator[int]

    def __init__(self, task, seed, num_envs):
        super().__init__(task, seed, num_envs)
        self._faults = np.random.default_rng([seed, 1])
        self._steps = 0

    def step(self, action):
        self._steps += 1
        unlucky = self._faults.random(self.num_envs).min() < self.probability
        if unlucky and next(self.due, None) is not None:
            raise OSError(f"the game crashed at step {self._steps}")
        return super().step(action)


@BOTH
def test_catch_is_learned_though_its_environment_fails_again_and_again(
    runtime, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(catch, "Catch", Flaky)
    monkeypatch.setattr(Flaky, "due", iter(range(40)), raising=False)
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(restarts, "LONGEST_PAUSE", 0.05)
    threads.run(config(runtime, actor_restarts=1000), tmp_path)
    assert max(row["episode_return"] for row in rows(tmp_path)[-3:]) > 0.9
    assert rows(tmp_path)[-1]["actor_restarts"] == 40
    failures = [
        line for line in capsys.readouterr().err.splitlines() if "failed" in line
    ]
    assert len(failures) == 40
    assert (
        "actor/0 failed: OSError: the game crashed at step "
        in failures[0] + failures[1]
    )


class Hanging(catch.Catch):
    """The first that steps for the hundredth time hangs until it is let go."""

    hung: threading.Event
    released: threading.Event
    closed: threading.Event
    _steps = 0
    _hangs = False

    def step(self, action):
        self._steps += 1
        if self._steps == 100 and not Hanging.hung.is_set():
            Hanging.hung.set()
            self._hangs = True
            assert Hanging.released.wait(60)
        return super().step(action)

    def close(self):
        if self._hangs:
            Hanging.closed.set()


def test_an_actor_that_hangs_is_replaced_and_leaves_when_it_wakes(
    tmp_path, monkeypatch, capsys
):
    for name in ("hung", "released", "closed"):
        setattr(Hanging, name, threading.Event())
    monkeypatch.setattr(catch, "Catch", Hanging)
    stop = threads.shutdown.Stop()
    monkeypatch.setattr(threads.shutdown, "Stop", lambda: stop)
    watched = config(
        "threads", 10**8, silence_seconds=2, num_actors=1, log_every_seconds=0.2
    )
    running = threading.Thread(
        target=threads.run, args=(watched, tmp_path), daemon=True
    )
    running.start()
    try:
        assert Hanging.hung.wait(60)
        until(lambda: rows(tmp_path)[-1]["actor_restarts"] == 1, 60)
        [line] = filter(None, capsys.readouterr().err.splitlines())
        start = "actor/0 failed: no sign of life for 2 s in wait (threading"
        assert line.startswith(start)
        Hanging.released.set()
        assert Hanging.closed.wait(10), "it went on acting"
        updates = rows(tmp_path)[-1]["updates"]
        until(lambda: rows(tmp_path)[-1]["updates"] > updates, 60)
    finally:
        Hanging.released.set()
        stop.set()
        running.join(30)
    assert not running.is_alive()


BROKEN = f"""{runs.BROKEN_GAME}
import launch.catch
raise SystemExit(launch.catch.main())
"""


@BOTH
def test_an_actor_that_fails_too_often_ends_the_run_with_its_traceback(
    runtime, tmp_path
):
    flags = [f"--runtime={runtime}", f"--workdir={tmp_path}"]
    flags += ["--total_frames=1e8", "--config.runtime.actor_restarts=1"]
    ended = subprocess.run(
        [sys.executable, "-c", BROKEN, *flags],
        cwd=conftest.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    lines = ended.stdout.splitlines()
    assert ended.returncode == 1
    assert lines[-1] == "RuntimeError: the paddle broke"
    assert ended.stdout.count("Traceback (most recent call last):") == 1
    assert ended.stdout.count("starting it again in 1 s (1 of 1 in 10 min)") in (1, 2)
    assert list((tmp_path / "checkpoints").iterdir()), "what was learned is to be saved"
