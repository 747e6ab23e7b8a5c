"""A launch as data: files, commands, and what deletes the things that they create.

Arguments may hold {folder}, the launch's own folder on this machine, and words that an
earlier step printed: {vm0}, {vm1} after a step with `keep="vm"`.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from stac.config import ConfigError

Argv = tuple[str, ...]


class Made(NamedTuple):
    """A thing that a step creates and the launch deletes."""

    name: str  # "queued resource stac-1"
    exists: Argv  # prints something if it exists, and nothing if not
    delete: Argv


class Step(NamedTuple):
    """Commands that run side by side, and must all succeed."""

    about: str  # what happens, in words
    commands: tuple[Argv, ...]
    makes: Made | None = None
    until: str = ""  # the one command is repeated until it prints this …
    never: tuple[str, ...] = ()  # … or one of these: then the launch has failed
    keep: str = ""  # the name of the words that it prints
    explain: tuple[Argv, ...] = ()  # shown if it fails


class Plan(NamedTuple):
    """A launch from the first command to the last."""

    files: Mapping[str, str]  # by their paths below {folder}
    steps: tuple[Step, ...]  # up to the start of the run on all hosts
    follow: Step  # shows the log of host 0 and ends with the run's status
    # Prints the run's status after its end, and nothing before. Without it, follow's
    # end is the run's; with it, follow starts again where only the connection ended.
    status: Argv = ()
    stop: tuple[Argv, ...] = ()  # ask the run to save and to end
    collect: tuple[Step, ...] = ()  # fetch the workdir; also while the run goes on


class Launch(NamedTuple):
    """The facts that a target's plan is made from."""

    name: str  # of all that is created
    program: str  # "atari"
    flags: tuple[str, ...]  # of the run
    workdir: str  # on this machine
    resumes: bool  # something in the workdir is to be continued
    build: Argv  # puts the wheel of this checkout into {folder}/package
    python: str  # of this machine; only Slurm's hosts share it
    extras: Sequence[str]  # of the wheel
    options: Mapping[str, Any]  # the target's own


class Option(NamedTuple):
    """One of a target's options."""

    meaning: str
    default: str | bool | None = ""  # None: it must be given; False: a switch


class Target(NamedTuple):
    """A kind of place where a run can be started."""

    summary: str
    options: Mapping[str, Option]
    example: str  # of the options
    tools: tuple[str, ...]  # programs that must be on this machine
    hosts: Callable[[Mapping[str, Any]], int]
    plan: Callable[[Launch, int], Plan]


def argv(text: str, **words: str) -> Argv:
    """The words of a command line, {filled} from `words`; empty ones are left out."""
    return tuple(filter(None, (part.format(**words) for part in shlex.split(text))))


def flags_of(launch: Launch, option: str) -> Argv:
    """The words of an option that holds flags of another program.

    Raises:
      ConfigError: its quotes do not match.
    """
    try:
        return tuple(shlex.split(launch.options[option]))
    except ValueError as error:
        raise ConfigError(f"--{option}={launch.options[option]}: {error}") from error


def shell(script: str) -> Argv:
    """A command line for bash; a pipe fails if a part of it does."""
    return ("bash", "-o", "pipefail", "-c", script)


def text(plan: Plan) -> str:
    """The whole plan, for a person to read."""
    lines = []
    for name, content in plan.files.items():
        lines += [f"# the file {{folder}}/{name}", content]
    for step in (*plan.steps, plan.follow):
        lines += _text(step)
    lines += _listed("after Ctrl-C, and then waits for the run's end", plan.stop)
    for step in plan.collect:
        lines += _text(step)
    things = [step.makes for step in (*plan.steps, plan.follow) if step.makes]
    deletes = tuple(thing.delete for thing in reversed(things))
    lines += _listed("in the end, whatever happens", deletes)
    return "\n".join(lines)


def _text(step: Step) -> list[str]:
    until = f" until it prints {step.until}" if step.until else ""
    kept = f"; its words are {{{step.keep}0}}, …" if step.keep else ""
    lines = _listed(f"{step.about}{until}{kept}", step.commands)
    return (
        lines[:-1] + _listed("if that fails", step.explain) if step.explain else lines
    )


def _listed(about: str, commands: tuple[Argv, ...]) -> list[str]:
    shown = [shlex.join(command) for command in commands]
    return [f"# {about}", *shown, ""] if shown else []
