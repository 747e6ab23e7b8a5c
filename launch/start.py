"""From a configuration to the runtime that was asked for."""

from __future__ import annotations

import importlib
import importlib.util
from typing import NamedTuple

from stac import probe
from stac.config import Config
from stac.runtime.faults import lines

_RUNTIMES = {
    "launchpad": "stac.launch.launchpad.program",
    "threads": "stac.launch.threads",
    "lockstep": "stac.launch.threads",
}
_PROBE = "import jax; print(jax.default_backend())"
_PROBE_SECONDS = 60.0
_DAY = 24 * 60 * 60


class Slow(NamedTuple):
    """How STACX fares on two CPU cores."""

    frames_per_second: int
    cure: str
    memory: str = ""  # of all processes together, where it is much


# By observation and torso; see docs/performance.md.
SLOW = {
    ("atari", "deep"): Slow(240, "--network=shallow", " and about 8 GB of memory"),
    ("pixels", "residual_strided"): Slow(15, "--observations=features"),
}


def run(config: Config, workdir: str) -> int | None:
    """Runs to the end, or until told to stop; returns an exit status or None.

    A runtime is imported here and not before, so that no command waits for the
    libraries of another.
    """
    played = config.environment
    seen = "atari" if played.domain == "atari" else played.observations
    slow = SLOW.get((seen, config.network.torso))
    if slow and not has_accelerator():
        lines.show(_warning(slow, config.total_frames))
    return importlib.import_module(_RUNTIMES[config.runtime.name]).run(config, workdir)


def has_accelerator() -> bool:
    """Whether JAX would use a GPU or TPU.

    Asked of a process that ends at once: a device that this process had opened would
    be short of memory, or taken, for the process that learns.
    """
    plugins = ("jax_plugins", "libtpu")
    if not any(importlib.util.find_spec(name) for name in plugins):
        return False
    return probe.ask(_PROBE, _PROBE_SECONDS) not in (None, "", "cpu")


def _warning(slow: Slow, frames: int) -> str:
    days = frames / slow.frames_per_second / _DAY
    length = f"{days:.0f} days" if days >= 2 else f"{24 * days:.1f} hours"
    return (
        "no accelerator found: on 2 CPU cores this network learns from about"
        f" {slow.frames_per_second} frames/s, so {frames:,} frames take {length}"
        f"{slow.memory}; {slow.cure} is meant for a CPU, and launch.catch and"
        " launch.gymnasium learn within minutes"
    )
