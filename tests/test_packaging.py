"""What is used is declared and pinned, and what the README says to type exists."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import sysconfig

import pytest

from tests import architecture
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
# Packages that are not named like the module they bring.
PACKAGES = {
    "PIL": "pillow",
    "absl": "absl-py",
    "haiku": "dm-haiku",
    "launchpad": "dm-launchpad",
    "orbax": "orbax-checkpoint",
    "reverb": "dm-reverb",
    "tensorflow": "tensorflow-cpu",
}


def test_every_library_that_the_product_imports_is_declared() -> None:
    imported = {
        name.split(".")[0]
        for _, _, tree in architecture._sources(ROOT)
        for name in _outside_imports(tree)
    }
    missing = {name for name in imported if _package(name) not in _declared()}
    assert not missing, "imported, but not among pyproject's dependencies"
    assert "jax" in imported


def test_every_installed_package_is_pinned() -> None:
    if sys.version_info[:2] != (3, 10) or sys.prefix != str(ROOT / ".venv"):
        pytest.skip("only .venv has the constrained set")
    text = (ROOT / "constraints" / "python310.txt").read_text()
    pinned = set(re.findall(r"^[\w.-]+==[\w.]+", text, re.MULTILINE))
    # Not sys.path: setuptools, once imported, adds the folder of its vendored packages.
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    installed = {
        f"{_normal(found.name)}=={found.version}"
        for found in importlib.metadata.distributions(path=folders)
        if found.name != "stac-rl"
    }
    assert len(installed) > 50
    unpinned = sorted(installed - pinned)
    assert not unpinned


def test_the_readmes_tensorboard_starts() -> None:
    program = pathlib.Path(sys.prefix) / "bin" / "tensorboard"
    if not program.exists():
        pytest.skip("TensorBoard comes with Launchpad's set")
    assert f".venv/bin/{program.name} --logdir" in README
    asked = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert (asked.returncode, asked.stderr) == (0, "")


def test_the_readme_names_targets_that_the_makefile_has() -> None:
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", README)) - {"help"}
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert {"setup", "run", "test", "test-latest", "lint"} <= named
    assert named <= targets


def _outside_imports(tree: ast.Module) -> set[str]:
    known = (*sys.stdlib_module_names, *architecture.PACKAGES)
    names = architecture._imports(tree, ROOT)
    return {name for name in names if name.split(".")[0] not in known}


def _declared() -> set[str]:
    """Names in pyproject.toml that a user gets: all but the developers' extra."""
    toml = importlib.import_module(
        "tomllib" if sys.version_info >= (3, 11) else "tomli"
    )
    project = toml.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [line for name in extras if name != "dev" for line in extras[name]]
    lines += project["dependencies"]
    return {_normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines}


def _package(module: str) -> str:
    return PACKAGES.get(module, _normal(module))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
