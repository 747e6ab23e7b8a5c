"""Double precision for the tests that compare with exact twins."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(autouse=True)
def float64(request: pytest.FixtureRequest) -> Iterator[None]:
    """In all of these tests but the golden ones, which choose for themselves."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", "precision" not in request.fixturenames)
    yield
    jax.config.update("jax_enable_x64", before)
