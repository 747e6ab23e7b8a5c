"""STAC and STACX: actor-critics that tune themselves (Zahavy et al. 2020).

    import stac
    from stac.configs import catch

    config = catch.config(agent="stacx")
    stac.train(config, "runs/catch")

The public names are below, each with the module that defines it. A module is imported
when one of its names is first used, so that `import stac` costs nothing.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import Any

_PUBLIC = {
    # A run: its numbers, and the way to train and continue it.
    "Config": "stac.config",
    "ConfigError": "stac.config",
    "RunError": "stac.config",
    "changed": "stac.config",  # changed(config, {"optimizer.learning_rate": 1e-3})
    "train": "stac.launch.start",
    "load": "stac.evaluation.policies",  # what it has learned
    # Agents: pure functions, built from a configuration.
    "Agent": "stac.agents.base",
    "make_agent": "stac.agents.make:build",
    # Environments: E copies behind one reset and one step.
    "BatchedEnvironment": "stac.environments.base",
    "EnvironmentSpec": "stac.environments.base",
    "make_environment": "stac.environments.make:factory",
    # What travels between them (stac.types draws the picture of time).
    "Timestep": "stac.types",
    "Trajectory": "stac.types",
    "Experience": "stac.types",
    # Parts that wait: the wiring of examples/catch.py.
    "Actor": "stac.runtime.actor",
    "LearnerDevices": "stac.runtime.devices",
    "LocalQueue": "stac.runtime.queues.local",
    "ParameterStore": "stac.runtime.queues.local",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("stac-rl")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'stac' has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC, "__version__"})
