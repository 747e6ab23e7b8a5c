"""A real run on a real disk of 50 MB that another file fills."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.launch import moments, runs

pytestmark = pytest.mark.faults

# A name space of its own ends with the run, and the disk with it.
MOUNT = 'mount -t tmpfs -o size=50m none "$0" && exec "$@"'
NAMESPACES = (["unshare", "-rm"], ["unshare", "-m"])  # a user's, root's
OFTEN = (
    "--config.runtime.checkpoint_every_seconds=0.5",
    "--config.runtime.log_every_seconds=0.2",
)


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
def run(
    namespace: list[str], start: Callable[..., runs.Run], tmp_path: pathlib.Path
) -> runs.Run:
    """One that works in a file system of its own."""
    within = [*namespace, "sh", "-c", MOUNT, str(tmp_path)]
    flags = ("--runtime=lockstep", "--num_actors=2", moments.FOREVER, *OFTEN)
    return start(tmp_path / "run", *flags, within=within)


@pytest.fixture
def disk(run: runs.Run, tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The run's, which stays while this is open."""
    found(run, "^writing to ")
    number = os.open(f"/proc/{run.processes()[0]}/root{tmp_path}", os.O_RDONLY)
    yield pathlib.Path(f"/proc/self/fd/{number}")
    os.close(number)


def found(run: runs.Run, pattern: str, since: int = 0) -> str:
    """Waits for a line like that, of those after the first `since`; the first such."""

    def lines() -> list[str]:
        return [line for line in run.lines[since:] if re.search(pattern, line)]

    moments.until(lines, run)
    return lines()[0]


def until_episodes_end(run: runs.Run, place: pathlib.Path) -> None:
    def some_have() -> bool:
        return any(row["episodes"] > 0 for row in runs.rows(place)[-1:])

    moments.until(some_have, run)


def fill(disk: pathlib.Path) -> None:
    """Takes every byte that is left."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        size = 1 << 20
        while size:
            try:
                filler.write(bytes(size))
            except OSError:
                size //= 2


def test_a_full_disk_stops_the_saving_and_not_the_training(
    run: runs.Run, disk: pathlib.Path
) -> None:
    place = disk / "run"
    until_episodes_end(run, place)
    since = len(run.lines)
    fill(disk)
    refused = "No space left on device.*; training goes on"
    for name in ("metrics.jsonl", "events.out.tfevents"):
        found(run, f"{name}.* NOT WRITTEN: {refused}", since)
    first = found(run, f"CHECKPOINT NOT SAVED: .*{refused}", since)
    again = rf"(?!.*update {update_of(first):,} )CHECKPOINT NOT SAVED: .*{refused}"
    found(run, f"^{again}", since)  # it learned in between
    assert (disk / "filler").stat().st_size > 30 << 20
    assert not list(place.glob("checkpoints/*tmp*")), "half a save is worth nothing"
    assert len([line for line in run.lines if "NOT WRITTEN" in line]) == 2

    since = len(run.lines)
    (disk / "filler").unlink()
    found(run, "saving works again: update", since)
    found(run, "is written again; rows lost", since)
    before = runs.rows(place)[-1]["updates"]
    moments.until(lambda: runs.rows(place)[-1]["updates"] > before, run)
    run.terminate()
    assert run.status(runs.FAIL_SECONDS) == 0, run.text
    assert re.match(r"update [\d,]+ is saved in ", run.lines[-1])
    last = runs.rows(place)[-1]
    assert last["failed_saves"] >= 2
    saved = max(int(path.name) for path in (place / "checkpoints").iterdir())
    assert last["updates"] == saved


@pytest.mark.slow
def test_a_run_that_ends_on_a_full_disk_says_what_is_not_saved(
    run: runs.Run, disk: pathlib.Path
) -> None:
    until_episodes_end(run, disk / "run")
    fill(disk)
    run.terminate()
    assert run.status(runs.FAIL_SECONDS) == 1, run.text
    assert re.search(
        r"launch.catch: update [\d,]+ is not saved: No space left on device.*;"
        r" the(re is no checkpoint| newest checkpoint is of update [\d,]+)$",
        run.text,
        re.MULTILINE,
    )
    assert "Traceback" not in run.text


def update_of(line: str) -> int:
    return int(re.findall(r"update ([\d,]+) is not saved", line)[0].replace(",", ""))
