"""From a configuration to the runtime that was asked for."""

from __future__ import annotations

import importlib
import importlib.util
import pathlib

from stac import children
from stac.config import Config
from stac.environments import make
from stac.runtime.storage import workdir as workdir_

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
    if lines := _finished(config, workdir):
        print("\n".join(lines), flush=True)
        return None
    played = config.environment
    seen = "atari" if played.domain == "atari" else played.observations
    slow = SLOW.get((seen, config.network.torso))
    if slow and not has_accelerator():
        print(f"no accelerator found: {slow}", flush=True)
    return importlib.import_module(_RUNTIMES[config.runtime.name]).run(config, workdir)


def _finished(config: Config, path: str) -> list[str]:
    """See assembly.finished; asked before anything is built or started."""
    if not any(pathlib.Path(path, workdir_.CHECKPOINTS).glob("*")):
        return []
    from stac.runtime import assembly  # only now: this loads JAX and Orbax

    return assembly.finished(config, make.spec(config).frames_per_step, path)


def has_accelerator() -> bool:
    """Whether JAX would use a GPU or TPU.

    Asked of a process that ends at once: a device that this process had opened would
    be short of memory, or taken, for the process that learns.
    """
    plugins = ("jax_plugins", "libtpu")
    if not any(importlib.util.find_spec(name) for name in plugins):
        return False
    return children.ask(_PROBE, _PROBE_SECONDS) not in (None, "", "cpu")
