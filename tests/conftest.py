"""What all tests share: eight CPU devices, the golden files, where Launchpad runs."""

from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import signal
import tempfile
from collections.abc import Iterator
from typing import Any

import jax
import pytest

# Before JAX looks for devices. Eight of the host stand in for eight accelerators; the
# processes that tests start have one, as a user's have.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
# Most of a test's time is XLA's: what was compiled once, in this process or in another
# that a test starts, is not compiled again.
_COMPILED = tempfile.TemporaryDirectory(prefix="stac-tests-")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _COMPILED.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
# LLVM, most of XLA's time, does little: an update of catch compiles in 4 s of CPU time,
# and not in 18. `XLA_FLAGS= make test` compiles as users' runs do.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

ROOT = pathlib.Path(__file__).parents[1]
GOLDEN_COPIES = ROOT / "tests" / "golden"
GOLDEN_SHARED = ROOT.parent / "shared" / "golden"
GOLDEN_NAMES = ("categorical_1_head", "categorical_3_heads", "gaussian_3_heads")


@pytest.fixture(params=GOLDEN_NAMES)
def golden(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One golden update: `case`, what goes in, and `expected`, what must come out.

    A test takes them all, or some by name:
    `@pytest.mark.parametrize("golden", ["gaussian_3_heads"], indirect=True)`.
    """
    return load_golden(request.param)


@pytest.fixture
def double_precision() -> Iterator[None]:
    """For comparisons with exact twins."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def hang_ups_heard() -> Iterator[None]:
    """Whoever started the tests may have them ignored, as nohup does."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def load_golden(name: str) -> dict[str, Any]:
    """Reads the copy in this repository; test_golden_files.py compares the two."""
    return json.loads((GOLDEN_COPIES / f"{name}.json").read_text())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests marked `launchpad` where there is no Launchpad."""
    if importlib.util.find_spec("launchpad") is not None:
        return
    skip = pytest.mark.skip(reason="Launchpad has no wheel for this Python")
    for item in items:
        if item.get_closest_marker("launchpad"):
            item.add_marker(skip)
