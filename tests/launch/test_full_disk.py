"""A real run on a real disk of 50 MB that another file fills."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

pytestmark = pytest.mark.faults

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 120.0  # then it is killed
# A name space of its own ends with the run, and the disk with it.
MOUNT = 'mount -t tmpfs -o size=50m none "$0" && exec "$@"'
NAMESPACES = (["unshare", "-rm"], ["unshare", "-m"])  # a user's, root's


class RunOnSmallDisk:
    """`launch.catch` that works in a file system of its own."""

    def __init__(self, namespace: list[str], place: pathlib.Path) -> None:
        self._process = subprocess.Popen(
            [*namespace, "sh", "-c", MOUNT, str(place)]
            + [sys.executable, "-m", "launch.catch", "--runtime=lockstep"]
            + ["--agent=impala"]
            + [f"--workdir={place}/run", "--total_frames=100000000"]
            + ["--config.runtime.checkpoint_every_seconds=0.5"]
            + ["--config.runtime.log_every_seconds=0.2"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        )
        self._limit = threading.Timer(SECONDS, self._process.kill)
        self._limit.start()
        self.lines: list[str] = []
        self._from = 0
        self.read_until("^writing to ")
        disk = f"/proc/{self._process.pid}/root{place}"
        self._disk = os.open(disk, os.O_RDONLY)  # it stays while this is open
        self.disk = pathlib.Path(f"/proc/self/fd/{self._disk}")

    def read_until(self, pattern: str) -> str:
        """The first line like that, of those read or those to come."""
        for line in self.lines[self._from :]:
            if re.search(pattern, line):
                return line
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)
            if re.search(pattern, line):
                return line
        raise AssertionError(f"no {pattern!r} in {''.join(self.lines)}")

    def fill(self) -> None:
        """Takes every byte that is left; lines from before are read no more."""
        self._from = len(self.lines)
        with (self.disk / "filler").open("wb", buffering=0) as filler:
            size = 1 << 20
            while size:
                try:
                    filler.write(bytes(size))
                except OSError:
                    size //= 2

    def empty(self) -> None:
        """Undoes `fill`; lines from before are read no more."""
        (self.disk / "filler").unlink()
        self._from = len(self.lines)

    def stop(self) -> int:
        """Asks it to; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        rest, _ = self._process.communicate()
        self.lines += rest.splitlines(keepends=True)
        return self._process.returncode

    def close(self) -> None:
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        self._limit.cancel()
        os.close(self._disk)


@pytest.fixture(scope="module")
def namespace(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What begins a command that may mount a disk."""
    place = tmp_path_factory.mktemp("probe")
    for words in NAMESPACES:
        probe = [*words, "sh", "-c", MOUNT, str(place), "true"]
        try:
            if subprocess.run(probe, capture_output=True, timeout=10).returncode == 0:
                return words
        except OSError:
            continue
    pytest.skip("this system lets nobody mount a file system for a test")


@pytest.fixture
def run(namespace: list[str], tmp_path: pathlib.Path) -> Iterator[RunOnSmallDisk]:
    running = RunOnSmallDisk(namespace, tmp_path)
    yield running
    running.close()


def test_a_full_disk_stops_the_saving_and_not_the_training(
    run: RunOnSmallDisk,
) -> None:
    run.read_until("after .* episodes")
    place = run.disk / "run"
    run.fill()
    refused = "No space left on device.*; training goes on"
    for name in ("metrics.jsonl", "events.out.tfevents"):
        run.read_until(f"{name}.* NOT WRITTEN: {refused}")
    first = run.read_until(f"CHECKPOINT NOT SAVED: .*{refused}")
    again = rf"(?!.*update {update_of(first):,} )CHECKPOINT NOT SAVED: .*{refused}"
    run.read_until(f"^{again}")  # it learned in between
    assert (run.disk / "filler").stat().st_size > 30 << 20
    assert not list(place.glob("checkpoints/*tmp*")), "half a save is worth nothing"
    assert len([line for line in run.lines if "NOT WRITTEN" in line]) == 2

    run.empty()
    run.read_until("saving works again: update")
    run.read_until("is written again; rows lost")
    run.read_until(" episodes ")
    assert run.stop() == 0, run.lines
    assert re.match(r"update [\d,]+ is saved in ", run.lines[-1])
    text = (place / "metrics.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    assert rows[-1]["failed_saves"] >= 2
    saved = max(int(path.name) for path in (place / "checkpoints").iterdir())
    assert rows[-1]["updates"] == saved


def test_a_run_that_ends_on_a_full_disk_says_what_is_not_saved(
    run: RunOnSmallDisk,
) -> None:
    run.read_until("after .* episodes")
    run.fill()
    assert run.stop() == 1, run.lines
    assert re.search(
        r"launch.catch: update [\d,]+ is not saved: No space left on device.*;"
        r" the(re is no checkpoint| newest checkpoint is of update [\d,]+)\n",
        "".join(run.lines),
    )
    assert not [l for l in run.lines if "Traceback" in l], "".join(run.lines)


def update_of(line: str) -> int:
    return int(re.findall(r"update ([\d,]+) is not saved", line)[0].replace(",", ""))
