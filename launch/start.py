"""From a configuration to the runtime that was asked for."""

from __future__ import annotations

import importlib
import importlib.util

from stac import children
from stac.config import Config

_RUNTIMES = {
    "launchpad": "stac.launch.launchpad.program",
    "threads": "stac.launch.threads",
    "lockstep": "stac.launch.threads",
}
_PROBE = "import jax; print(jax.default_backend())"
_PROBE_SECONDS = 60.0

SLOW = {  # what is seen, by which torso; measured on 2 cores, see BUILD_NOTES.md
    ("atari", "deep"): "the deep network learns from about 240 frames/s on 2 CPU cores;"
    " --network=shallow is meant for a CPU",
    (
        "pixels",
        "residual_strided",
    ): "pixels are learned from at 10 to 20 frames/s on 2 CPU cores;"
    " --observations=features is meant for a CPU",
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
        print(f"no accelerator found: {slow}", flush=True)
    return importlib.import_module(_RUNTIMES[config.runtime.name]).run(config, workdir)


def has_accelerator() -> bool:
    """Whether JAX would use a GPU or TPU.

    Asked of a process that ends at once: a device that this process had opened would
    be short of memory, or taken, for the process that learns.
    """
    plugins = ("jax_plugins", "libtpu")
    if not any(importlib.util.find_spec(name) for name in plugins):
        return False
    return children.ask(_PROBE, _PROBE_SECONDS) not in (None, "", "cpu")
