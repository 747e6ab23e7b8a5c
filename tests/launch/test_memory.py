"""Nothing grows: neither what a run holds in memory nor what it keeps on disk."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests.launch import moments, runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]

WARM, LATER = 400, 4000  # updates
MEBIBYTES = 24.0  # allocators go up and down by 9; a batch kept of each update is 139
CHECKPOINTS = 4  # those to keep, and one that is being written or removed


def private_memory(pid: int) -> float:
    """MiB that are the process's alone."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    kibibytes = re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE)
    return sum(map(int, kibibytes)) / 1024


def measured(run: runs.Run, updates: int) -> dict[int, float]:
    moments.until(lambda: moments.rows(run)[-1:][0]["updates"] >= updates, run)
    return {pid: private_memory(pid) for pid in run.processes()}


@pytest.mark.parametrize(
    "runtime",
    ["threads", "lockstep", pytest.param("launchpad", marks=pytest.mark.launchpad)],
)
def test_memory_and_files_of_a_run_stay_as_they_are(runtime, start, tmp_path):
    frequent = "--config.runtime.checkpoint_every_seconds=0.5"
    run = start(tmp_path, f"--runtime={runtime}", moments.FOREVER, frequent)
    run.wait_for("frames (")
    before, after = measured(run, WARM), measured(run, LATER)
    assert set(after) == set(before)
    growth = {pid: after[pid] - before[pid] for pid in before}
    print({pid: f"{before[pid]:.0f} + {more:.1f}" for pid, more in growth.items()})
    assert max(growth.values()) < MEBIBYTES
    kept = list((tmp_path / "checkpoints").iterdir())
    assert len(kept) <= CHECKPOINTS
