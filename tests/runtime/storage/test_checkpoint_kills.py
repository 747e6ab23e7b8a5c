"""Checkpoints of a process that is killed at any instant of saving."""

from __future__ import annotations

import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from stac.runtime.storage import checkpoints
from tests.conftest import ROOT
from tests.runtime.experiences import digest
from tests.runtime.storage import saving_for_ever
from tests.runtime.storage.test_checkpoints import zeros_like


@pytest.fixture
def saver() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.runtime.storage.saving_for_ever"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    with process:
        yield process
        process.kill()


@pytest.mark.faults
@pytest.mark.parametrize(
    "kills", [10, pytest.param(100, marks=pytest.mark.slow, id="many")]
)
def test_a_kill_at_any_instant_of_a_save_leaves_the_newest_that_was_reported(
    tmp_path: pathlib.Path, saver: subprocess.Popen[str], kills: int
) -> None:
    files, chance = tmp_path / "checkpoints", random.Random(kills)
    newest, cut = 0, 0
    for _ in range(kills):
        reported = saved_until_killed(saver, files, newest + 1, chance)
        left = list(files.glob("*.orbax-checkpoint-tmp*"))
        cut += bool(left)
        checkpoint = newest_that_is_readable(files)
        assert checkpoint.step >= reported
        assert digest(checkpoint.state) == digest(
            saving_for_ever.state(checkpoint.step)
        )
        assert checkpoint.acting == saving_for_ever.acting(checkpoint.step)
        newest = checkpoint.step
    assert cut >= kills // 3, "the kills did not come while it saved"


def saved_until_killed(
    saver: subprocess.Popen[str],
    files: pathlib.Path,
    first: int,
    chance: random.Random,
) -> int:
    """Kills a process between its first and third save; returns its last report."""
    assert saver.stdin is not None
    assert saver.stdout is not None
    saver.stdin.write(f"{files} {first}\n")
    saver.stdin.flush()
    child = int(saver.stdout.readline())
    reported, began = int(saver.stdout.readline()), time.monotonic()
    reported, took = int(saver.stdout.readline()), time.monotonic() - began
    time.sleep(chance.uniform(0, 2 * took))
    os.kill(child, signal.SIGKILL)
    while (line := saver.stdout.readline()) != "dead\n":
        reported = int(line)
    return reported


def newest_that_is_readable(files: pathlib.Path) -> checkpoints.Checkpoint:
    """Reads as a new process would; nothing may be damaged."""
    lines: list[str] = []
    reader = checkpoints.Checkpoints(files, saving_for_ever.KEEP)
    checkpoint = reader.latest(zeros_like(saving_for_ever.state(0)), lines.append)
    reader.close()
    assert lines == []
    assert checkpoint is not None
    return checkpoint
