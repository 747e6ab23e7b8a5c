"""The command line that all commands share: flags in, one checked `Config` out.

Later wins: the domain's numbers, the agent's row, the common flags, `--config.a.b=c`.
A wrong command line ends with exit status 2 and one line on stderr. Reading one imports
neither JAX nor a simulator, so that the line comes at once.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pathlib
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

# The fields behind the common flags.
_FIELDS = {
    "total_frames": "total_frames",
    "seed": "seed",
    "runtime": "runtime.name",
    "num_actors": "runtime.num_actors",
    "envs_per_actor": "runtime.envs_per_actor",
}


class Domain(NamedTuple):
    """The part of the command line that is one command's own."""

    program: str  # "launch.atari"
    summary: str  # one line for --help
    flags: Mapping[str, tuple[str, str]]  # name: (default, help); all are words, and
    # the first one names the task
    config: Callable[..., Config]  # called with agent=… and the flags above by name
    played: Callable[[], Iterable[str]]  # the names of all tasks, for `list`
    task: Callable[[str], str] = str  # the task's own name, from any spelling of it;
    # called last, for it may import a simulator


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
    try:
        return _run(run, parse(argv, domain))
    except Help as text:
        lines.show(str(text))
        return 0
    except ConfigError as error:
        lines.say(f"{_program(argv, domain)}: {' '.join(str(error).split())}")
        return USER_ERROR
    except RunError as error:
        lines.say(f"{_program(argv, domain)}: {error}")
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
    changes, arguments = overrides.split(_with_files(argv[1:]))
    values = _define(domain)
    rest = _read(values, arguments)
    if values["help"].value:
        raise Help(_help(values, _program(argv, domain), domain))
    words = {name: str(values[name].value) for name in domain.flags}
    task, *others = words.values()
    if task == "list":
        raise Help("\n".join(domain.played()))
    changes = {**_common(values), **changes}
    runtime = choose("runtime", changes["runtime.name"], RUNTIMES)
    _read_rest(rest, list(values), runtime)
    plain = domain.config(agent=values["agent"].value, **words)
    changes = {**challenges.implied(plain.environment.challenges, changes), **changes}
    config = _with_task(changed(plain, changes), domain.task)
    return Request(config, _place(values["workdir"].value, config, others))


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


def _with_files(arguments: Sequence[str]) -> list[str]:
    """Replaces `--flagfile=x` by the flags in x, one a line."""
    try:
        return flags.FlagValues().read_flags_from_files(arguments, force_gnu=False)
    except (flags.Error, OSError, ValueError) as error:
        raise ConfigError(str(error)) from None


def _define(domain: Domain) -> flags.FlagValues:
    """Flags of this parse alone: absl's global ones would outlive it."""
    values = flags.FlagValues()

    def word(name: str, default: str | None, help_: str) -> None:
        flags.DEFINE_string(name, default, help_, flag_values=values)

    flags.DEFINE_boolean("help", False, "this text", flag_values=values, short_name="h")
    word("agent", "stacx", ", ".join(VARIANTS))
    for name, (default, help_) in domain.flags.items():
        word(name, default, help_)
    word("total_frames", None, "length in environment frames, action repeats included")
    word("workdir", None, "all that the run writes; an existing one is continued")
    word("runtime", default_runtime(), f"{', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}")
    word("seed", None, "of parameters, actions and environments")
    word("num_actors", None, "actors, each with environments of its own")
    word("envs_per_actor", None, "environments that one actor steps together")
    return values


def _read(values: flags.FlagValues, arguments: Sequence[str]) -> list[str]:
    """Reads the flags that are defined; returns all other arguments."""
    try:
        return list(values(["", *arguments], known_only=True)[1:])
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(str(error).removeprefix("flag ")) from None


def _read_rest(rest: list[str], known: list[str], runtime: str) -> None:
    """Launchpad reads its own flags (`--lp_launch_type`); any others are refused."""
    if runtime == "launchpad":
        if not _installed("launchpad"):
            raise ConfigError(
                "the launchpad runtime is not installed (it needs Linux and Python"
                " 3.10): use --runtime=threads"
            )
        if any(argument.lstrip("-").startswith("lp_") for argument in rest):
            importlib.import_module("launchpad.flags")
            rest = _read(flags.FLAGS, rest)
            known = [*known, *flags.FLAGS]
    if not rest:
        return
    if not rest[0].startswith("-"):
        raise ConfigError(f"unexpected argument {rest[0]!r}: write --name=value")
    name = rest[0].lstrip("-").partition("=")[0]
    raise ConfigError(f"unknown flag --{name}: {_hint(name, known)}")


def _hint(name: str, known: Iterable[str]) -> str:
    """The cure for an unknown flag.

    The last word of a configuration key is enough to find it: `--learning_rate` is
    `--config.optimizer.learning_rate`.
    """
    if name.startswith("lp_"):
        return "Launchpad's flags need --runtime=launchpad"
    keys: dict[str, list[str]] = {}
    for key in overrides.values(Config()):
        keys.setdefault(key.rpartition(".")[2], []).append(f"--config.{key}")
    spellings = {**keys, **{flag: [f"--{flag}"] for flag in known}}
    words = [name] if name in spellings else nearest(name, spellings)[:2]
    near = [spelling for word in words for spelling in spellings[word]]
    return f"did you mean {' or '.join(near)}?" if near else "see --help"


def _common(values: flags.FlagValues) -> dict[str, Any]:
    """The values of the common flags that were set, by the field's name."""
    texts = {name: values[name].value for name in _FIELDS}
    return {
        _FIELDS[name]: overrides.read(f"--{name}={text}", _FIELDS[name], text)
        for name, text in texts.items()
        if text is not None
    }


def _with_task(config: Config, spelled: Callable[[str], str]) -> Config:
    task = spelled(config.environment.task)
    environment = dataclasses.replace(config.environment, task=task)
    return dataclasses.replace(config, environment=environment)


def _place(written: str | None, config: Config, words: Iterable[str]) -> pathlib.Path:
    if written == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the flag out")
    return workdir.place(written or workdir.default(config, *words))


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _program(argv: Sequence[str], domain: Domain) -> str:
    """The command as the user started it: "launch.atari" or "stac atari"."""
    return argv[0] if argv[0].startswith("stac ") else domain.program


def _help(values: flags.FlagValues, program: str, domain: Domain) -> str:
    start = program if program != domain.program else f"python -m {program}"
    text = [f"{start}: {domain.summary}", ""]
    defaults = _defaults(domain)
    for name in (name for name in values if name not in ("help", "h")):
        default = values[name].default
        default = defaults.get(_FIELDS.get(name, "")) if default is None else default
        note = "" if default is None else f" (default {default})"
        text.append(f"  --{name:<16} {values[name].help}{note}")
    about = [
        "any number below, winning over flags; of one given",
        "twice the last holds. stac/config/ explains them;",
        f"{program} has, without flags:",
    ]
    for flag, line in zip(("--config.a.b=c", "", ""), about, strict=True):
        text.append(f"  {flag:<18} {line}")
    text += [f"  {'':<18}   {name}={value}" for name, value in defaults.items()]
    return "\n".join(text)


def _defaults(domain: Domain) -> dict[str, Any]:
    """What every overridable name of the configuration is before any flag."""
    from stac.environments import make

    words = {name: default for name, (default, _) in domain.flags.items()}
    config = domain.config(agent="stacx", **words)
    refused = tuple(
        f"environment.{name}" for name in make.unused(config.environment.domain)
    )
    return {
        name: value
        for name, value in overrides.values(config).items()
        if not name.startswith(refused)
    }
