"""The command line that all commands share: flags in, one checked `Config` out.

Later wins: the domain's numbers, the agent's row, the common flags, `--config.a.b=c`.
A wrong command line ends with exit status 2 and one line on stderr. Reading one imports
neither JAX nor a simulator, so that the line comes at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from absl import flags

from stac.agents import make as agents
from stac.config import (
    FAILED,
    RUNTIMES,
    USER_ERROR,
    Config,
    ConfigError,
    RunError,
    challenges,
    changed,
    check,
    flat,
)
from stac.config.checks import nearest
from stac.environments import make
from stac.launch.domains import Domain
from stac.launch.hosts import find, supervisor
from stac.launch.hosts.find import ALONE, Hosts
from stac.launch.hosts.party import Party
from stac.runtime.faults import lines
from stac.runtime.logs import command
from stac.runtime.storage import workdir

# The common flags: the fields behind them, and their help.
_COMMON = {
    "total_frames": ("total_frames", "length in frames, action repeats included"),
    "runtime": ("runtime.name", f"{', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}"),
    "seed": ("seed", "seed of parameters, actions and environments"),
    "num_actors": ("runtime.num_actors", "actors, each with its own environments"),
    "actor_devices": (
        "runtime.actor_devices",
        "devices that act, as in 0,1; see docs/scaling.md",
    ),
    "learner_devices": ("runtime.learner_devices", "devices that learn"),
    "envs_per_actor": (
        "runtime.envs_per_actor",
        "environments of one actor; 0: by its cores",
    ),
    "logger": (
        "runtime.logger",
        "tensorboard, wandb or none; several with commas; see docs/watching.md",
    ),
    "listen": (
        "runtime.listen",
        "HOST:PORT where actors of other machines may join; see docs/scaling.md",
    ),
    "evaluate_every": (
        "runtime.evaluate_every",
        "frames between evaluations beside training, 0: none; see docs/evaluation.md",
    ),
    "best": ("runtime.keep_best", "keeps the best-scoring checkpoint, in best/"),
}
_SWITCHES = ("best",)  # flags that need no value
# The hosts of the run: no part of its configuration.
_HOSTS = {
    "coordinator": "HOST:PORT of the first of several hosts; see docs/scaling.md",
    "hosts": "number of hosts; 1: alone, whatever started this process",
    "host": "the index of this host, 0 for the first",
}
# Fields that other flags set, because more than the one field follows from them.
_ELSEWHERE = {
    "agent.name": "--agent",
    "environment.domain": "another command (launch.atari, launch.control, …)",
    "environment.task": "--game (launch.atari), --env (launch.gymnasium) or --task",
    "environment.observations": "--observations of launch.control",
}


TASK_FLAGS = ("task", "game", "env")  # each command has one of them


class Request(NamedTuple):
    """A command line, read."""

    config: Config
    workdir: pathlib.Path
    hosts: Hosts = ALONE


Run = Callable[[Config, str, "Party | None"], "int | None"]


class Help(Exception):
    """The user asked for help, or a list; the message is that."""


def main(
    run: Run,
    domain: Domain,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses, prepares the workdir and runs; returns the exit status.

    Args:
      run: takes the configuration, the workdir ("" but on the first host) and the
        hosts, where there are several; returns an exit status or None.
      domain: the command.
      argv: the arguments, the program's name first; `sys.argv` by default.
    """
    argv = sys.argv if argv is None else argv
    name = program(argv, domain.program)
    with command.started_by(command.line(domain.program, argv[1:])):
        return exit_status(name, lambda: _run(run, parse(argv, domain)))


def exit_status(program: str, command: Callable[[], int]) -> int:
    """Runs a command; returns its exit status.

    A text that was asked for is shown. A refusal or a fault is one line on stderr.

    Args:
      program: its name, before the line.
      command: returns its status.
    """
    try:
        return command()
    except Help as text:
        lines.to_stdout(str(text))
        return 0
    except ConfigError as error:
        lines.to_stderr(f"{program}: {' '.join(str(error).split())}")
        return USER_ERROR
    except RunError as error:
        lines.to_stderr(f"{program}: {error}")
        return FAILED


def _run(run: Run, request: Request) -> int:
    from stac.runtime.logs import trackers

    # An unknown logger or task, or an agent that cannot play it, leaves no workdir.
    trackers.names(request.config.runtime.logger)
    agents.check_fit(request.config, make.spec(request.config))
    with supervisor.together(request.config, request.hosts) as hosts:
        if request.hosts.index:
            return run(request.config, "", hosts) or 0
        with workdir.prepare(request.workdir, request.config) as place:
            verb = "continuing" if place.resumed else "writing to"
            lines.to_stdout(f"{verb} {place.path}")
            return run(request.config, str(place.path), hosts) or 0


def parse(argv: Sequence[str], domain: Domain) -> Request:
    """Reads a command line.

    Raises:
      ConfigError: it is wrong; the message says how, and the cure.
      Help: `--help` is in it, or `list` where a game or task should be.
    """
    values = _define(domain)
    rest = _read(values, argv[1:])
    if values["help"].value:
        raise Help(_help(values, program(argv, domain.program), domain))
    words = {name: str(values[name].value) for name in domain.flags}
    task, *others = words.values()
    if task == "list":
        raise Help("\n".join(domain.all_tasks()))
    coordinator, count, index = (values[name].value for name in _HOSTS)
    hosts = find.find(coordinator, count, index, os.environ)
    if hosts.count > 1 and values["runtime"].using_default_value:
        values["runtime"].value = "threads"
    plain = domain.config(str(values["agent"].value), **words)
    _refuse_rest(rest, values, domain.task_flag, plain)
    changes = _changes(values)
    _refuse_unread(changes, plain)
    changes = {**challenges.implied(plain.environment.challenges, changes), **changes}
    config = changed(plain, changes)
    config = changed(config, {"environment.task": domain.spelled(task)})
    place = values["workdir"].value
    if place == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the flag out")
    check(
        hosts.count == 1 or config.runtime.name == "threads",
        f"{hosts.count} hosts: only --runtime=threads spans several; --hosts=1 runs"
        " alone",
    )
    check(
        config.batch.batch_size % hosts.count == 0,
        f"batch.batch_size={config.batch.batch_size}: must be a multiple of the"
        f" {hosts.count} hosts",
    )
    path = workdir.place(place or workdir.default(config, *others))
    return Request(config, path, hosts)


def numbers(config: Config) -> dict[str, Any]:
    """The fields that `--config.a.b=c` sets, and their values, by name."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else value
        for name, value in flat(dataclasses.asdict(config)).items()
        if name not in _ELSEWHERE
    }


def default_runtime() -> str:
    """Launchpad where it is installed. Looks without importing, which takes seconds."""
    return "launchpad" if _installed("launchpad") else "threads"


def _define(domain: Domain) -> flags.FlagValues:
    """Flags of this parse alone: absl's global ones would outlive it."""
    values = flags.FlagValues()
    words = {
        "agent": (domain.agent, ", ".join(agents.VARIANTS)),
        **domain.flags,
        "workdir": (None, "all that the run writes; an existing one is continued"),
        **{name: (None, about) for name, (_, about) in _COMMON.items()},
        **{name: (None, about) for name, about in _HOSTS.items()},
        **dict.fromkeys(_fields(), (None, "")),
    }
    words["runtime"] = (default_runtime(), _COMMON["runtime"][1])
    flags.DEFINE_boolean("help", False, "this text", flag_values=values, short_name="h")
    for name, (default, about) in words.items():
        kind = flags.DEFINE_boolean if name in _SWITCHES else flags.DEFINE_string
        kind(name, default, about, flag_values=values)  # type: ignore[operator]
    return values


def _read(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Reads the flags that are defined; returns all other arguments."""
    for argument in arguments:
        name, _, text = argument.lstrip("-").partition("=")
        if name in _SWITCHES and text and text.lower() not in _BOOLEANS:
            raise ConfigError(f"{argument}: must be true or false")
    try:
        return list(values(["", *arguments], known_only=True)[1:])
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(str(error).removeprefix("flag ")) from None


def _changes(values: flags.FlagValues) -> dict[str, Any]:
    """The fields that flags set, by name; `--config.…` comes last and wins."""
    common = {name: field for name, (field, _) in _COMMON.items()}
    return {
        field: _value(name, field, str(given))
        for name, field in (common | _fields()).items()
        if (given := values[name].value) is not None
    }


def _fields() -> dict[str, str]:
    """The fields by their flags: {"config.agent.outer.gamma": "agent.outer.gamma"}.

    `lambda` is a word of Python, so the field is `lambda_`; both are flags.
    """
    names = numbers(Config())
    flags_of = {f"config.{name.removesuffix('_')}": name for name in names}
    return flags_of | {f"config.{name}": name for name in names}


def _value(flag: str, field: str, text: str) -> Any:
    """Reads a field's value from its text, by the kind of the field's default."""
    kind = type(flat(dataclasses.asdict(Config()))[field])
    reader, expected = _READERS[kind]
    try:
        return reader(text)
    except (ValueError, KeyError):
        raise ConfigError(f"--{flag}={text}: must be {expected}") from None


def _whole(text: str) -> int:
    """Reads a whole number, also 1e6 or 1_000_000."""
    with contextlib.suppress(ValueError):
        return int(text)
    if not (number := float(text)).is_integer():
        raise ValueError
    return int(number)


def _wholes(text: str) -> tuple[int, ...]:
    """Reads `256,256`, with or without brackets and spaces."""
    items = text.strip("()[] ").split(",")
    return tuple(_whole(item) for item in items if item.strip())


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_READERS: dict[type, tuple[Callable[[str], Any], str]] = {
    bool: (lambda text: _BOOLEANS[text.lower()], "true or false"),
    int: (_whole, "a whole number"),
    float: (float, "a number"),
    str: (str, "a word"),
    tuple: (_wholes, "whole numbers with commas between them, as in 0,1"),
}


def _refuse_rest(
    rest: list[str], values: flags.FlagValues, task: str, plain: Config
) -> None:
    """Refuses a runtime that is not installed, and flags that nothing has read.

    `task` is the flag that names the task, and `plain` the configuration without flags.
    """
    runtime = values["config.runtime.name"].value or values["runtime"].value
    if runtime == "launchpad" and not _installed("launchpad"):
        raise ConfigError(
            "the launchpad runtime is not installed (it needs Linux and Python 3.10):"
            " use --runtime=threads"
        )
    if not rest:
        return
    if not rest[0].startswith("-"):
        raise ConfigError(f"unexpected argument {rest[0]!r}: write --name=value")
    name = rest[0].lstrip("-").partition("=")[0]
    hint = f"use --{task}" if name in TASK_FLAGS else _hint(name, values, plain)
    raise ConfigError(f"unknown flag --{name}: {hint}")


def _refuse_unread(changes: Iterable[str], plain: Config) -> None:
    """Refuses settings that the agent or its environment does not read."""
    for name in changes:
        by = "suite" if agents.reads(plain.agent.name, name) else "agent"
        flag = f"--config.{name.removesuffix('_')}"
        check(_is_read(name, plain), f"{flag}: this {by} does not read it")


def _is_read(name: str, plain: Config) -> bool:
    domain = plain.environment.domain
    return agents.reads(plain.agent.name, name) and make.reads(domain, name)


def _hint(name: str, known: flags.FlagValues, plain: Config) -> str:
    """The cure for an unknown flag.

    The last word of a configuration key is enough to find it: `--learning_rate` is
    `--config.optimizer.learning_rate`.
    """
    if elsewhere := _ELSEWHERE.get(name.removeprefix("config.")):
        return f"use {elsewhere}"
    name = name.rpartition(".")[2]
    spellings: dict[str, list[str]] = {}
    for flag in known:
        if not flag.endswith("_") and _is_read(flag.removeprefix("config."), plain):
            spellings.setdefault(flag.rpartition(".")[2], []).append(f"--{flag}")
    words = [name] if name in spellings else nearest(name, spellings)[:2]
    near = [spelling for word in words for spelling in spellings[word]]
    return f"did you mean {' or '.join(near)}?" if near else "see --help"


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def program(argv: Sequence[str], name: str) -> str:
    """The command as the user started it: "launch.atari" (`name`) or "stac atari"."""
    return argv[0] if argv[0].startswith("stac ") else name


def _help(values: flags.FlagValues, program: str, domain: Domain) -> str:
    """The flags and their defaults, and every number of the domain's configuration."""
    words = {name: default for name, (default, _) in domain.flags.items()}
    config = domain.config(str(values["agent"].value), **words)
    shown = {
        name.removesuffix("_"): value
        for name, value in numbers(config).items()
        if _is_read(name, config)
    }
    start = program if program.startswith("stac ") else f"python -m {program}"
    elsewhere = ("help", "h", *_fields())  # those of fields have lines of their own
    text = [f"{start}: trains an agent on {domain.summary}", ""]
    for name in values:
        default = values[name].default
        if default is None and name in _COMMON:
            default = shown[_COMMON[name][0]]
        note = "" if default in (None, "") else f" (default {default})"
        if name not in elsewhere:
            text.append(f"  --{name:<16} {values[name].help}{note}")
    text.append(
        "  --config.a.b=c     any number below, of stac/config/; it wins over flags."
        " Without flags:"
    )
    return "\n".join([*text, *(f"    {name}={shown[name]}" for name in shown)])
