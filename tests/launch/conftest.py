"""What the tests of whole runs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.launch import runs


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
