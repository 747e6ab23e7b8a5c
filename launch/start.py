"""From a configuration to the runtime that was asked for."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stac.config import Config, check
from stac.launch import fork_server
from stac.launch.hosts import supervisor
from stac.launch.hosts.party import Party
from stac.runtime.faults import lines, shutdown
from stac.runtime.storage import workdir as workdir_

if TYPE_CHECKING:
    from stac.runtime.logs.loggers import Logger  # imports NumPy

# What learns on a CPU instead, by observation and torso.
CURES = {
    ("atari", "deep"): "--network=shallow",
    ("pixels", "residual_strided"): "--observations=features",
}


def run(
    config: Config,
    workdir: str,
    hosts: Party | None = None,
    loggers: Mapping[str, Logger] | None = None,
) -> int | None:
    """Runs to the end, or until told to stop; returns an exit status or None.

    Args:
      config: the run.
      workdir: a prepared directory.
      hosts: all that take part, where there are several.
      loggers: see `train`.

    A runtime is imported here and not before, so that no command waits for the
    libraries of another.
    """
    if hosts is not None:
        return supervisor.run(config, workdir, hosts)
    from stac.runtime.logs import loggers as loggers_
    from stac.runtime.logs import summary

    place = pathlib.Path(workdir)
    if row := summary.finished(place, config.total_frames):
        lines.to_stdout("\n".join(summary.nothing_left(place, row)))
        loggers_.Loggers(loggers or {}, lines.to_stdout).close()
        return None
    played = config.environment
    seen = "atari" if played.domain == "atari" else played.observations
    cure = CURES.get((seen, config.network.torso))
    if cure and not has_accelerator():
        lines.to_stdout(f"no accelerator found: {cure} is meant for a CPU")
    if config.runtime.name != "launchpad":
        threads = importlib.import_module("stac.launch.threads")
        return threads.run(config, workdir, loggers or {})
    forks = fork_server.ForkServer("stac.launch.launchpad.nodes")
    with contextlib.closing(forks):
        program = importlib.import_module("stac.launch.launchpad.program")
        return program.run(config, workdir, forks)


def train(
    config: Config,
    path: str | pathlib.Path,
    runtime: str | None = None,
    loggers: Mapping[str, Logger] | None = None,
) -> int | None:
    """Trains in a directory, or continues the run in it, from Python.

    Args:
      config: the run, such as `stac.configs.catch.config(agent="stacx")`.
      path: the run's directory.
      runtime: in the place of the configuration's; by default that one, but for
        `launchpad`, in whose place it trains in `threads`.
      loggers: by their names, each with `write(row)` and `close()`; they get every row
        that metrics.jsonl gets. Not in `launchpad`, where the learner is a process.

    Returns:
      An exit status or None.

    Raises:
      ConfigError: the configuration cannot work, or `path` holds another run.
      KeyboardInterrupt: Ctrl-C; the run is saved.
    """
    own = config.runtime.name
    runtime = runtime or ("threads" if own == "launchpad" else own)
    check(not loggers or runtime != "launchpad", "loggers: use threads or lockstep")
    config = dataclasses.replace(
        config, runtime=dataclasses.replace(config.runtime, name=runtime)
    )
    from stac.agents import make as agents
    from stac.environments import make
    from stac.runtime.logs import trackers

    trackers.names(config.runtime.logger)
    make.spec_of.cache_clear()  # a notebook may have registered the environment anew
    agents.check_fit(config, make.spec(config))
    with workdir_.prepare(path, config) as place, shutdown.borrowed():
        return run(config, str(place.path), loggers=loggers)


def has_accelerator() -> bool:
    """Whether a build of JAX for GPUs or TPUs is installed."""
    plugins = ("jax_plugins", "libtpu")
    return any(importlib.util.find_spec(name) for name in plugins)
