"""Starting: the right runtime, and a word where the hardware is not the paper's."""

from __future__ import annotations

import dataclasses
import importlib
import types
from typing import Any

import pytest

from stac.config import Config, EnvironmentConfig, NetworkConfig, RuntimeConfig
from stac.launch import start

ATARI = EnvironmentConfig()
PIXELS = EnvironmentConfig("control", "walker.walk", observations="pixels")
FEATURES = dataclasses.replace(PIXELS, observations="features")


def a_config(
    runtime: str = "threads",
    torso: str = "deep",
    environment: EnvironmentConfig = ATARI,
) -> Config:
    return dataclasses.replace(
        Config(),
        environment=environment,
        runtime=RuntimeConfig(name=runtime),
        network=NetworkConfig(torso=torso),
    )


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces the runtimes; collects which modules were asked for."""
    asked: list[str] = []

    def pretend(name: str) -> Any:
        asked.append(name)
        return types.SimpleNamespace(run=lambda config, workdir, forks=None: 7)

    monkeypatch.setattr(importlib, "import_module", pretend)
    return asked


@pytest.mark.parametrize(
    ("runtime", "module"),
    [
        ("launchpad", "stac.launch.launchpad.program"),
        ("threads", "stac.launch.threads"),
        ("lockstep", "stac.launch.threads"),
    ],
)
def test_only_the_runtime_that_was_asked_for_is_imported(
    runtime: str, module: str, modules: list[str]
) -> None:
    assert start.run(a_config(runtime, torso="mlp"), "somewhere") == 7
    assert modules == [module]


@pytest.mark.parametrize(
    ("torso", "environment", "accelerator", "cure"),
    [
        ("deep", ATARI, False, "--network=shallow"),
        ("deep", ATARI, True, ""),
        ("shallow", ATARI, False, ""),
        ("residual_strided", PIXELS, False, "--observations=features"),
        ("residual_strided", ATARI, False, ""),  # has no such cure
        ("residual_strided", FEATURES, False, ""),  # is refused, and nothing is slow
        ("mlp", FEATURES, False, ""),
    ],
)
def test_a_large_network_without_an_accelerator_is_warned_of_once(
    torso: str,
    environment: EnvironmentConfig,
    accelerator: bool,
    cure: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(start, "has_accelerator", lambda: accelerator)
    start.run(a_config(torso=torso, environment=environment), "somewhere")
    said = capsys.readouterr().out.splitlines()
    assert len(said) == (1 if cure else 0)
    assert all(line.startswith("no accelerator found: ") for line in said)
    assert all(f"{cure} is meant for a CPU" in line for line in said)


@pytest.mark.parametrize("installed", ["jax_plugins", "libtpu", ""])
def test_an_installed_plugin_counts_as_an_accelerator(
    installed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(name: str) -> bool:
        return name == installed

    monkeypatch.setattr(start.importlib.util, "find_spec", find)
    assert start.has_accelerator() is bool(installed)
