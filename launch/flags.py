"""The command line that all commands share: flags in, one checked `Config` out.

Later wins: the domain's numbers, the agent's row, the common flags, `--config.a.b=c`.
Whatever a user gets wrong ends with exit status 2 and one line on stderr.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from absl import flags

from stac.config import RUNTIMES, Config, ConfigError, RunError, challenges, choose
from stac.config.checks import nearest
from stac.environments import make
from stac.launch import overrides
from stac.runtime.faults import lines
from stac.runtime.storage import workdir

FAILED, USER_ERROR = 1, 2  # exit statuses

LAUNCH_TYPES = ("local_mp", "local_mt")  # Launchpad's that are here for a run

# Whose those flags are that are not every command's, to say it elsewhere.
OWNERS = {
    **dict.fromkeys(("game", "network"), "launch.atari"),
    **dict.fromkeys(("task", "observations"), "launch.control"),
    "challenge": "launch.realworld",
}

_PLAYED = ("env", "game", "task")  # words that name a folder of their own

# The fields behind the common flags.
_FIELDS = {
    "total_frames": "total_frames",
    "seed": "seed",
    "runtime": "runtime.name",
    "num_actors": "runtime.num_actors",
    "envs_per_actor": "runtime.envs_per_actor",
}


class Domain(NamedTuple):
    """What one command adds: `python -m <program>`."""

    program: str  # "launch.atari"
    summary: str  # one line for --help
    flags: Mapping[str, tuple[str, str]]  # name: (default, help); all are words
    config: Callable[..., Config]  # called with agent=… and the flags above by name
    played: Callable[[], Iterable[str]]  # what the first flag may be, for `list`


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
    try:
        request = parse(sys.argv if argv is None else argv, domain)
        make.spec(request.config)  # an unknown task leaves no workdir behind
        with workdir.prepare(request.workdir, request.config) as place:
            verb = "continuing" if place.resumed else "writing to"
            print(f"{verb} {place.path}", flush=True)
            try:
                status = run(request.config, str(place.path)) or 0
            except ConfigError:  # what only the runtime can know, such as its devices
                place.abandon()
                raise
            if status == USER_ERROR:
                place.abandon()
            return status
    except Help as text:
        with contextlib.suppress(OSError, ValueError):  # such as `| head`
            print(text, flush=True)
        return 0
    except ConfigError as error:
        lines.say(f"{domain.program}: {' '.join(str(error).split())}")
        return USER_ERROR
    except RunError as error:
        lines.say(f"{domain.program}: {error}")
        return FAILED


def parse(argv: Sequence[str], domain: Domain) -> Request:
    """Reads a command line.

    Raises:
      ConfigError: anything in it cannot be.
      Help: `--help` is in it, or `list` where a game or task should be.
    """
    argv = [argv[0], *overrides.spell(_with_files(argv[1:]))]
    peek = _define(argv, domain)
    _read(peek, argv, strict=False)
    if peek["help"].value:
        raise Help(_help(peek, domain))
    if peek[next(iter(domain.flags))].value == "list":
        raise Help("\n".join(domain.played()))
    values = _define(argv, domain)  # anew: a tuple that is parsed twice adds up
    if _common(peek)["runtime.name"] == "launchpad":
        _add_launchpads_flags(values)
    _read(values, argv, strict=True)
    if "lp_launch_type" in values:
        launch_type(values)
    words = {name: str(values[name].value) for name in domain.flags}
    plain = domain.config(agent=values["agent"].value, **words)
    changes = _common(values)
    config = overrides.apply(plain, changes)
    challenges.check_changes(
        plain.environment.challenges,
        config.environment.challenges,
        [name.removeprefix("environment.challenges.") for name in changes],
    )
    place = values["workdir"].value
    if place == "":
        raise ConfigError("--workdir is empty: name a directory, or leave the flag out")
    told = [word for name, word in words.items() if name not in _PLAYED]
    place = place or workdir.default(config, *told)
    return Request(config, workdir.place(place))


def launch_type(values: flags.FlagValues) -> str:
    """What was asked of Launchpad; processes where nothing was.

    Raises:
      ConfigError: it is none of `LAUNCH_TYPES`.
    """
    flag = values["lp_launch_type"]
    asked = flag.value if flag.present else LAUNCH_TYPES[0]
    return choose("launch type", str(asked), LAUNCH_TYPES)


def default_runtime() -> str:
    """Launchpad where it is installed. Looks without importing, which takes seconds."""
    return "launchpad" if _installed("launchpad") else "threads"


def _with_files(arguments: Sequence[str]) -> list[str]:
    """Replaces `--flagfile=x` by the flags in x, one a line."""
    try:
        return flags.FlagValues().read_flags_from_files(arguments, force_gnu=False)
    except (flags.Error, OSError, ValueError) as error:
        raise ConfigError(_plain(str(error))) from None


def _define(argv: Sequence[str], domain: Domain) -> flags.FlagValues:
    """Flags of this parse alone: absl's global ones would outlive it."""
    values = flags.FlagValues()
    _define_common(values)
    for name, (default, help_) in domain.flags.items():
        flags.DEFINE_string(name, default, help_, flag_values=values)
    overrides.define(argv, values)
    return values


class _Whole(flags.ArgumentParser[int]):
    def parse(self, argument: str | int) -> int:
        return overrides.whole(argument)


def _define_common(values: flags.FlagValues) -> None:
    def word(name: str, default: str | None, help_: str) -> None:
        flags.DEFINE_string(name, default, help_, flag_values=values)

    def number(name: str, help_: str) -> None:
        serializer: flags.ArgumentSerializer[int] = flags.ArgumentSerializer()
        flags.DEFINE(_Whole(), name, None, help_, values, serializer)

    flags.DEFINE_boolean("help", False, "this text", flag_values=values, short_name="h")
    word("agent", "stacx", "impala, impala_aux, stac or stacx")
    word("workdir", None, "all that the run writes; an existing one is continued")
    word("runtime", default_runtime(), f"{', '.join(RUNTIMES[:-1])} or {RUNTIMES[-1]}")
    number("total_frames", "length in environment frames, action repeats included")
    number("seed", "of parameters, actions and environments")
    number("num_actors", "actors, each with environments of its own")
    number("envs_per_actor", "environments that one actor steps together")


def _read(values: flags.FlagValues, argv: Sequence[str], strict: bool) -> None:
    """Parses; where not strict, flags that are not defined (yet) are passed over."""
    try:
        rest = values(list(argv), known_only=not strict)[1:]
    except flags.UnrecognizedFlagError as error:
        raise ConfigError(_unknown_flag(error.flagname, list(values))) from None
    except (flags.Error, ValueError, TypeError) as error:
        raise ConfigError(_plain(str(error))) from None
    if strict and rest:
        raise ConfigError(f"unexpected argument {rest[0]!r}: write --name=value")


def _unknown_flag(name: str, known: Sequence[str]) -> str:
    if name.startswith("lp_") and "lp_launch_type" not in known:
        return f"--{name} is Launchpad's: it needs --runtime=launchpad"
    if name in OWNERS:
        return f"unknown flag --{name}: it is {OWNERS[name]}'s"
    near = nearest(name, known)
    hint = f"did you mean --{' or --'.join(near)}?" if near else "see --help"
    return f"unknown flag --{name}: {hint}"


def _common(values: flags.FlagValues) -> dict[str, Any]:
    """What was set by common flags and overrides, by the field's name."""
    flagged = {field: values[name].value for name, field in _FIELDS.items()}
    changes = {field: value for field, value in flagged.items() if value is not None}
    changes.update(overrides.given(values))
    choose("runtime", changes["runtime.name"], RUNTIMES)
    return changes


def _add_launchpads_flags(values: flags.FlagValues) -> None:
    """Shares Launchpad's own flags (`--lp_launch_type`), so that it sees the values."""
    if not _installed("launchpad"):
        raise ConfigError(
            "the launchpad runtime is not installed (it needs Linux and Python 3.10):"
            " use --runtime=threads"
        )
    module = importlib.import_module("launchpad.flags")
    for flag in flags.FLAGS.flags_by_module_dict()[module.__name__]:
        values[flag.name] = flag
    flags.FLAGS.mark_as_parsed()


def _installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


def _plain(message: str) -> str:
    """absl's message without its and Python's own words."""
    message = message.removeprefix("ERROR:: ").removeprefix("flag ")
    message = re.sub(r"\('Non-boolean.*", "must be true or false", message)
    message = message.replace("Missing value for flag ", "missing value: write ")
    message = re.sub(r"(missing value: write \S+)$", r"\1=<value>", message)
    message = re.sub(
        r"invalid literal for int\(\).*", "must be a whole number", message
    )
    return re.sub(r"could not convert string to float.*", "must be a number", message)


def _help(values: flags.FlagValues, domain: Domain) -> str:
    shown = ["agent", *domain.flags, "total_frames", "workdir", "runtime", "seed"]
    shown += ["num_actors", "envs_per_actor"]
    lines = [f"python -m {domain.program}: {domain.summary}", ""]
    defaults = _defaults(domain)
    for name in shown:
        default = values[name].default
        default = defaults.get(_FIELDS.get(name, "")) if default is None else default
        note = "" if default is None else f" (default {default})"
        lines.append(f"  --{name:<16} {values[name].help}{note}")
    about = [
        "any number below, winning over flags; of one given",
        "twice the last holds. stac/config.py explains them,",
        "spreading.py runtime's, challenges.py challenges';",
        f"{domain.program} has, without flags:",
    ]
    for flag, text in zip(("--config.a.b=c", "", "", ""), about, strict=True):
        lines.append(f"  {flag:<18} {text}")
    lines += [f"  {'':<18}   {name}={value}" for name, value in defaults.items()]
    return "\n".join(lines)


def _defaults(domain: Domain) -> dict[str, Any]:
    """What every overridable name of the configuration is before any flag."""
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
