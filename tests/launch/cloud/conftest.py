"""What the tests of launches share."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.launch.cloud import launches


@pytest.fixture
def launch(tmp_path: pathlib.Path) -> Iterator[Callable[..., launches.Launch]]:
    """Starts a Launch on fake machines, and ends it with the test."""
    started: list[launches.Launch] = []

    def begin(*arguments, **environment):
        started.append(launches.Launch(tmp_path, *arguments, **environment))
        return started[-1]

    yield begin
    for running in started:
        running.kill()
