"""`python -m launch.doctor`: what works on this machine, and what is missing.

A line for each thing. The status is 0 if `python -m launch.atari --agent=stacx
--game=james_bond` would work, else 1. Checks that may hang or break a process, such as
a driver's, run in a process of their own, with a time limit.
"""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

from stac import cores
from stac.children import python_path
from stac.config import FAILED
from stac.launch import cli, flags
from stac.runtime.faults import lines, shutdown
from stac.runtime.logs import words

OK, WARNING, FAULT = "ok", "warning", "FAULT"
_SECONDS = 180.0  # for a process; TensorFlow alone takes 10 on a cold disk
_MEMORY = 8e9  # bytes that STACX with the deep network takes, all processes together
_LEAST_MEMORY = 2e9  # bytes below which no run begins
_DISK = 1e9  # bytes for checkpoints and logs

# Packages that the front door needs, and those that something else needs.
NEEDED = (
    *("jax", "jaxlib", "dm-haiku", "optax", "orbax-checkpoint", "ale-py", "numpy"),
    *("absl-py", "gymnasium", "rich", "tensorboardX"),
)
OTHERS = {
    "dm-launchpad": "--runtime=launchpad",
    "dm-reverb": "--runtime=launchpad",
    "dm-control": "launch.control, launch.realworld",
    "mujoco": "launch.control, launch.realworld, launch.mujoco",
    "minatar": "launch.minatar",
    "matplotlib": "launch.report",
    "imageio-ffmpeg": "launch.evaluate --video",
    "tensorboard": "to look at the events of a run",
    "wandb": "--logger=wandb",
}

_DEVICES = """
import jax
print(jax.default_backend(), ", ".join(sorted({d.device_kind for d in jax.devices()})),
      len(jax.devices()), sep="|")
"""
_LAUNCHPAD = "import launchpad, reverb"
_OPENGL = """
from stac.environments import rendering
print(rendering.backend())
"""
_GAME = """
import time
import numpy as np
from stac.environments import atari
games = atari.Atari("james_bond", 0, 32)
games.reset()
steps, began = 0, time.perf_counter()
while time.perf_counter() - began < 2:
    games.step(np.zeros(32, np.int32))
    steps += 32
print(round(4 * steps / (time.perf_counter() - began)))
"""


class Check(NamedTuple):
    """A line of the report."""

    state: str  # OK, WARNING or FAULT
    about: str
    text: str


class Answer(NamedTuple):
    """The end of a process that looked at something."""

    works: bool
    text: str  # its last line: of its output, or else of its error


def _main(name: str, arguments: list[str]) -> int:
    """Prints the report; returns 0, or 1 if the front door would not open."""
    about = __doc__.splitlines()[0].split(": ", 1)[1]
    cli.Parser(prog=name, description=about).parse_args(arguments)
    faults = 0
    for check in checks():
        lines.to_stdout(f"{check.state:<7}  {check.about:<10}  {check.text}")
        faults += check.state == FAULT
    if faults:
        lines.to_stderr(
            f"{name}: the front door would not open: fix the lines marked FAULT"
        )
        return FAILED
    lines.to_stdout("python -m launch.atari --agent=stacx --game=james_bond would work")
    return 0


def checks() -> Iterator[Check]:
    """All checks, the slow ones last."""
    for look in (_python, _packages, _cores, _memory, _disk):
        yield from look()
    for slow in (_runtimes, _devices, _games, _opengl):
        yield from slow()


def _python() -> Iterator[Check]:
    version = platform.python_version()
    right = (3, 10) <= sys.version_info[:2] < (3, 14)
    cure = "" if right else ": stac needs 3.10 to 3.13"
    place = f"{platform.system()} {platform.machine()}"
    yield Check(OK if right else FAULT, "Python", f"{version} on {place}{cure}")


def _packages() -> Iterator[Check]:
    there = {name: version for name in NEEDED if (version := _version(name))}
    listed = ", ".join(f"{name} {version}" for name, version in there.items())
    yield Check(OK if there else FAULT, "packages", listed or "none is installed")
    for name in NEEDED:
        if name not in there:
            yield Check(FAULT, "packages", f"{name} is missing: pip install {name}")
    others = {name: _version(name) for name in OTHERS}
    listed = ", ".join(
        f"{name} {version}" for name, version in others.items() if version
    )
    yield Check(OK, "packages", listed or "no others")
    missing = {name: use for name, use in OTHERS.items() if not others[name]}
    for name, use in missing.items():
        yield Check(WARNING, "packages", f"{name} is missing; it is for {use}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cores() -> Iterator[Check]:
    usable = f"{cores.usable()} of {os.cpu_count()} may be used at a time"
    yield Check(OK, "cores", usable)


def _memory() -> Iterator[Check]:
    rows = dict(line.split(":", 1) for line in _read("/proc/meminfo").splitlines())
    free = int(rows.get("MemAvailable", "0 kB").split()[0]) * 1024
    group = "/sys/fs/cgroup/memory"
    if (limit := _read(f"{group}.max")).isdigit():
        stat = dict(line.split() for line in _read(f"{group}.stat").splitlines())
        cached = int(stat.get("inactive_file", 0))  # given back when it is wanted
        used = int(_read(f"{group}.current") or 0) - cached
        free = min(free, int(limit) - used)
    text = f"{free / 1e9:.1f} GB are free"
    if free < _MEMORY:
        text += f"; the deep network takes {_MEMORY / 1e9:.0f}: use --network=shallow"
    enough = OK if free >= _MEMORY else WARNING
    yield Check(FAULT if free < _LEAST_MEMORY else enough, "memory", text)


def _disk() -> Iterator[Check]:
    here = pathlib.Path.cwd()
    free = shutil.disk_usage(here).free
    if not os.access(here, os.W_OK):
        yield Check(FAULT, "disk", f"{here} cannot be written: use --workdir elsewhere")
    elif free < _DISK:
        few = f"{free / 1e9:.1f} GB are free in {here}: a run needs 1"
        yield Check(FAULT, "disk", few)
    else:
        yield Check(OK, "disk", f"{free / 1e9:.0f} GB are free in {here}")


def _runtimes() -> Iterator[Check]:
    yield Check(OK, "runtimes", "threads and lockstep work wherever JAX does")
    if flags.default_runtime() != "launchpad":
        why = "launchpad is not installed: it needs Linux and Python 3.10"
        yield Check(OK, "runtimes", f"{why}; threads is the default")
        return
    answer = _ask(_LAUNCHPAD)
    cure = "" if answer.works else f"; use --runtime=threads ({answer.text})"
    works = "works" if answer.works else "is the default and does not work"
    state = OK if answer.works else FAULT
    yield Check(state, "runtimes", f"launchpad {works}{cure}")


def _devices() -> Iterator[Check]:
    answer = _ask(_DEVICES)
    if not answer.works:
        yield Check(FAULT, "devices", f"JAX finds none: {answer.text}")
        return
    backend, kinds, count = answer.text.split("|")
    if backend != "cpu":
        yield Check(OK, "devices", f"{count} of {backend}: {kinds}")
        return
    yield Check(
        WARNING,
        "devices",
        "no accelerator: with Atari's deep network 200M frames take some 10 days of two"
        " cores (docs/performance.md)",
    )


def _games() -> Iterator[Check]:
    answer = _ask(_GAME)
    if answer.works:
        rate = words.amount(float(answer.text))
        yield Check(OK, "Atari", f"the emulator alone makes {rate} frames/s here")
    else:
        yield Check(FAULT, "Atari", f"james_bond cannot be played: {answer.text}")


def _opengl() -> Iterator[Check]:
    if not _version("dm-control"):
        return
    answer = _ask(_OPENGL)
    why = f"control from pixels does not work: {answer.text}"
    text = f"{answer.text} draws control from pixels" if answer.works else why
    yield Check(OK if answer.works else WARNING, "OpenGL", text)


def _ask(code: str) -> Answer:
    """Runs a few lines in a process of their own."""
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": python_path()},
        )
    except subprocess.TimeoutExpired:
        return Answer(False, f"nothing happened for {_SECONDS:.0f} s")
    works = ended.returncode == 0
    words = (ended.stdout if works else ended.stderr).strip().splitlines()
    return Answer(works, words[-1] if words else f"status {ended.returncode}")


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text().strip()
    except OSError:
        return ""


main = cli.script("launch.doctor", _main)

if __name__ == "__main__":
    shutdown.as_program(main)
