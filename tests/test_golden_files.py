"""The golden files in this repository are the ones that were handed to it."""

from __future__ import annotations

import pytest

from tests import conftest


@pytest.mark.parametrize("name", conftest.GOLDEN_NAMES)
def test_the_copy_equals_the_shared_original(name: str) -> None:
    if not conftest.GOLDEN_SHARED.is_dir():
        pytest.skip("no ../shared/golden beside this repository")
    original = conftest.GOLDEN_SHARED / f"{name}.json"
    copy = conftest.GOLDEN_COPIES / f"{name}.json"
    assert copy.read_bytes() == original.read_bytes()
