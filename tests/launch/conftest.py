"""What the tests of whole runs share."""

from __future__ import annotations

import io
import pathlib
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.launch import runs


@pytest.fixture
def elsewhere(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Default workdirs are relative to the current directory."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., runs.Run]]:
    """Starts a Run that leaves nothing behind, however the test ends."""
    started: list[runs.Run] = []

    def begin(*arguments, **keywords):
        started.append(runs.Run(*arguments, **keywords))
        return started[-1]

    yield begin
    for run in started:
        run.kill()


class Stderr:
    """What threads say on stderr, from `listen` on.

    pytest's own captures empty the file that they read, and lose what is said in
    between; and they take stderr back when a test's fixtures are there.
    """

    def __init__(self, path: pathlib.Path, patch: pytest.MonkeyPatch) -> None:
        raw = path.open("ab", buffering=0)
        self.stream = io.TextIOWrapper(raw, write_through=True)  # type: ignore[arg-type]
        self._path, self._patch, self._taken = path, patch, 0

    def listen(self) -> None:
        self._patch.setattr(sys, "stderr", self.stream)

    def take(self) -> str:
        """All that was said since the last time."""
        new = self._path.read_bytes()[self._taken :]
        self._taken += len(new)
        return new.decode()


@pytest.fixture
def stderr(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stderr]:
    listener = Stderr(tmp_path_factory.mktemp("lines") / "stderr", monkeypatch)
    with listener.stream:
        yield listener
