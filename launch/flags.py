"""The command line that all commands share: flags in, one checked `Config` out.

Later wins: the domain's numbers, the agent's row, the common flags, `--config.a.b=c`.
A wrong command line ends with exit status 2 and one line on stderr. Reading one imports
neither JAX nor a simulator, so that the line comes at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import pathlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from stac.agents.variants import VARIANTS
from stac.config import (
    FAILED,
    RUNTIMES,
    USER_ERROR,
    Config,
    ConfigError,
    RunError,
    challenges,
    changed,
    choose,
)
from stac.config.checks import nearest
from stac.launch import overrides
from stac.runtime.faults import lines
from stac.runtime.storage import workdir

LAUNCH_TYPES = ("local_mp", "local_mt")  # those of Launchpad's that run here

# The common flags: the fields behind them, and their help.
_COMMON = {
    "total_frames": ("total_frames", "length in frames, action repeats included"),
    "runtime": ("runtime.name", f"{', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}"),
    "seed": ("seed", "of parameters, actions and environments"),
    "num_actors": ("runtime.num_actors", "actors, each with its own environments"),
    "actor_devices": ("runtime.actor_devices", "devices that act, as in 0,1"),
    "learner_devices": ("runtime.learner_devices", "devices that learn"),
    "envs_per_actor": ("runtime.envs_per_actor", "environments of one actor"),
}


class Domain(NamedTuple):
    """The part of the command line that is one command's own."""

    program: str  # "launch.atari"
    summary: str  # what is trained on, in one line
    flags: Mapping[str, tuple[str, str]]  # name: (default, help); all are words, and
    # the first one names the task
    config: Callable[..., Config]  # called with agent=… and the flags above by name
    # "module:name"; what that is may import a simulator.
    tasks: str  # the names of all tasks, for `list`, or a function that returns them
    task: str = "builtins:str"  # from any spelling of a task to its own name


class Request(NamedTuple):
    """What the user asked for."""

    config: Config
    workdir: pathlib.Path


class Help(Exception):
    """The user asked for help, or a list; the message is that."""


def main(
    run: Callable[[Config, str], int | None],
    domain: Domain,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses, prepares the workdir and runs; returns the exit status.

    Args:
      run: takes the configuration and the workdir; returns an exit status or None.
      domain: the command.
      argv: the arguments, the program's name first; `sys.argv` by default.
    """
    argv = sys.argv if argv is None else argv
    program = _program(argv, domain)
    try:
        return _run(run, parse(argv, domain))
    except Help as text:
        lines.show(str(text))
        return 0
    except ConfigError as error:
        lines.say(f"{program}: {' '.join(str(error).split())}")
        return USER_ERROR
    except RunError as error:
        lines.say(f"{program}: {error}")
        return FAILED


def _run(run: Callable[[Config, str], int | None], request: Request) -> int:
    from stac.environments import make

    make.spec(request.config)  # an unknown task leaves no workdir behind
    with workdir.prepare(request.workdir, request.config) as place:
        verb = "continuing" if place.resumed else "writing to"
        lines.show(f"{verb} {place.path}")
        try:
            status = run(request.config, str(place.path)) or 0
        except ConfigError:  # only the runtime knows its devices, for example
            place.abandon()
            raise
        if status == USER_ERROR:
            place.abandon()
        return status


def parse(argv: Sequence[str], domain: Domain) -> Request:
    """Reads a command line.

    Raises:
      ConfigError: it is wrong; the message says how, and the cure.
      Help: `--help` is in it, or `list` where a game or task should be.
    """
    values = _define(domain)
    rest = _read(values, argv[1:])
    if values["help"].value:
        raise Help(_help(values, _program(argv, domain), domain))
    words = {name: str(values[name].value) for name in domain.flags}
    task, *others = words.values()
    if task == "list":
        tasks = pkgutil.resolve_name(domain.tasks)
        raise Help("\n".join(tasks() if callable(tasks) else tasks))
    _read_rest(rest, values)
    changes = _changes(values)
    plain = domain.config(agent=values["agent"].value, **words)
    changes = {**challenges.implied(plain.environment.challenges, changes), **changes}
    config = changed(plain, changes)
    spelled = pkgutil.resolve_name(domain.task)(config.environment.task)
    config = changed(config, {"environment.task": spelled})
    place = values["workdir"].value
    if place == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the flag out")
    return Request(config, workdir.place(place or workdir.default(config, *others)))


def launch_type() -> str:
    """How Launchpad is to launch the program; as processes by default.

    Raises:
      ConfigError: `--lp_launch_type` is none of `LAUNCH_TYPES`.
    """
    flags.FLAGS.mark_as_parsed()  # they have their defaults where none was given
    flag = flags.FLAGS["lp_launch_type"]
    value = flag.value if flag.present else LAUNCH_TYPES[0]
    return choose("launch type", str(value), LAUNCH_TYPES)


def default_runtime() -> str:
    """Launchpad where it is installed. Looks without importing, which takes seconds."""
    return "launchpad" if _installed("launchpad") else "threads"


def _define(domain: Domain) -> flags.FlagValues:
    """Flags of this parse alone: absl's global ones would outlive it."""
    values = flags.FlagValues()
    words = {
        "agent": ("stacx", ", ".join(VARIANTS)),
        **domain.flags,
        "workdir": (None, "all that the run writes; an existing one is continued"),
        **{name: (None, about) for name, (_, about) in _COMMON.items()},
        "runtime": (default_runtime(), _COMMON["runtime"][1]),
        **dict.fromkeys(overrides.fields(), (None, "")),
    }
    flags.DEFINE_boolean("help", False, "this text", flag_values=values, short_name="h")
    for name, (default, about) in words.items():
        flags.DEFINE_string(name, default, about, flag_values=values)
    return values


def _read(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Reads the flags that are defined; returns all other arguments."""
    try:
        return list(values(["", *arguments], known_only=True)[1:])
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(str(error).removeprefix("flag ")) from None


def _changes(values: flags.FlagValues) -> dict[str, Any]:
    """The fields that flags set, by name; `--config.…` comes last and wins."""
    common = {name: field for name, (field, _) in _COMMON.items()}
    return {
        field: overrides.read(name, field, text)
        for name, field in (common | overrides.fields()).items()
        if (text := values[name].value) is not None
    }


def _read_rest(rest: list[str], values: flags.FlagValues) -> None:
    """Launchpad reads its own flags (`--lp_launch_type`); any others are refused."""
    known = list(values)
    if (values["config.runtime.name"].value or values["runtime"].value) == "launchpad":
        if not _installed("launchpad"):
            raise ConfigError(
                "the launchpad runtime is not installed (it needs Linux and Python"
                " 3.10): use --runtime=threads"
            )
        if any(argument.lstrip("-").startswith("lp_") for argument in rest):
            importlib.import_module("launchpad.flags")
            rest = _read(flags.FLAGS, rest)
            known += flags.FLAGS
    if not rest:
        return
    if not rest[0].startswith("-"):
        raise ConfigError(f"unexpected argument {rest[0]!r}: write --name=value")
    name = rest[0].lstrip("-").partition("=")[0]
    if name.split(".")[0] == "config":
        overrides.refuse(rest[0], name.removeprefix("config").removeprefix("."))
    raise ConfigError(f"unknown flag --{name}: {_hint(name, known)}")


def _hint(name: str, known: Iterable[str]) -> str:
    """The cure for an unknown flag.

    The last word of a configuration key is enough to find it: `--learning_rate` is
    `--config.optimizer.learning_rate`.
    """
    if name.startswith("lp_"):
        return "Launchpad's flags need --runtime=launchpad"
    spellings: dict[str, list[str]] = {}
    for flag in known:
        if not flag.endswith("_"):
            spellings.setdefault(flag.rpartition(".")[2], []).append(f"--{flag}")
    words = [name] if name in spellings else nearest(name, spellings)[:2]
    near = [spelling for word in words for spelling in spellings[word]]
    return f"did you mean {' or '.join(near)}?" if near else "see --help"


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _program(argv: Sequence[str], domain: Domain) -> str:
    """The command as the user started it: "launch.atari" or "stac atari"."""
    return argv[0] if argv[0].startswith("stac ") else domain.program


def _help(values: flags.FlagValues, program: str, domain: Domain) -> str:
    """The flags and their defaults, and every number of the domain's configuration."""
    from stac.environments import make

    words = {name: default for name, (default, _) in domain.flags.items()}
    config = domain.config(agent=values["agent"].default, **words)
    unused = make.unused(config.environment.domain)
    numbers = {
        name: value
        for name, value in overrides.values(config).items()
        if not name.startswith(tuple(f"environment.{name}" for name in unused))
    }
    start = program if program.startswith("stac ") else f"python -m {program}"
    text = [f"{start}: trains STAC, STACX or IMPALA on {domain.summary}", ""]
    for name in values:
        default = values[name].default
        if default is None and name in _COMMON:
            default = numbers[_COMMON[name][0]]
        note = "" if default is None else f" (default {default})"
        if name not in ("help", "h", *overrides.fields()):
            text.append(f"  --{name:<16} {values[name].help}{note}")
    text.append(
        "  --config.a.b=c     any number below, of stac/config/; it wins over flags."
        " Without flags:"
    )
    return "\n".join([*text, *(f"    {name}={numbers[name]}" for name in numbers)])
