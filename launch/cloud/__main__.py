"""`python -m launch.cloud TARGET [--option=value …] -- launch.atari --game=pong`.

The trained command is read, as it would be on its hosts, before any machine is made, so
that a mistake in it costs nothing.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import NoReturn

from stac.config import ConfigError, check, choose
from stac.launch import asking, flags
from stac.launch.cloud import gcloud, jobset, plan, runner, slurm
from stac.launch.cloud.plan import Launch, Option, Plan, Target
from stac.launch.domains import DOMAINS
from stac.runtime.faults import lines, shutdown

TARGETS = {
    "queued-resource": gcloud.QUEUED_RESOURCE,
    "instance-group": gcloud.INSTANCE_GROUP,
    "jobset": jobset.JOBSET,
    "slurm": slurm.SLURM,
}
_COMMON = {
    "name": Option("of all that is created; a new one by default"),
    "hosts": Option("their number; by the machines' kind by default, 1 in slurm"),
    "collect_minutes": Option("between two copies of the workdir here", default="10"),
}
# Flags of a run that the launch gives to each host.
_OURS = ("coordinator", "hosts", "host", "listen", "runtime", "config.runtime.name")
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_USAGE = (
    "python -m launch.cloud TARGET [--option=value ...] -- launch.atari --game=pong"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Launches; returns the run's exit status, or 2 for a mistake."""
    own = list(sys.argv[1:] if arguments is None else arguments)
    return asking.run(lambda: _main(own), "launch.cloud")


def _main(arguments: list[str]) -> int:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, command = arguments[:cut], arguments[cut + 1 :]
    if not own or own[0] in ("--help", "-h", "help", "list"):
        raise flags.Help(_targets())
    choose("target", own[0], TARGETS)
    target = TARGETS[own[0]]
    options = _options(own, target)
    given = options["hosts"]
    hosts = _number(given, "hosts") if given else target.hosts(options)
    check(hosts, "--hosts=0: must be at least 1")
    launch = _launch(command, hosts, options)
    made_plan = target.plan(launch, hosts)
    if options["dry_run"]:
        lines.show(plan.text(made_plan))
        return 0
    for tool in target.tools:
        check(shutil.which(tool), f"{tool} is not installed here; see docs/launches.md")
    return _run(
        made_plan, 60.0 * _number(options["collect_minutes"], "collect_minutes")
    )


def _run(launch_plan: Plan, collect_seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="stac-launch-") as folder:
        return runner.Runner(launch_plan, pathlib.Path(folder), collect_seconds).run()


def _options(own: list[str], target: Target) -> dict[str, str]:
    """Reads a target's options; a mistake is a ConfigError."""
    parser = _Parser(own[0])
    for name, option in {**target.options, **_COMMON}.items():
        parser.add_argument(f"--{name}", default=option.default)
    parser.add_argument("--dry_run", action="store_true")
    parser.add_argument("--help", "-h", action="store_true")
    values = vars(parser.parse_args(own[1:]))
    if values["help"]:
        raise flags.Help(_help(own[0], target))
    missing = [f"--{name}" for name, value in values.items() if value is None]
    check(not missing, f"{own[0]} needs {', '.join(missing)}: see {own[0]} --help")
    for name in ("spot", "reserved", "use"):
        if name in values:
            word = values[name].lower()
            check(word in ("", "true", "false"), f"--{name}={word}: true or false")
            values[name] = word if word == "true" else ""
    check(not values.get("use") or values["name"], "--use=true needs --name")
    return values


def _launch(command: list[str], hosts: int, options: dict[str, str]) -> Launch:
    """Reads the trained command, as its hosts will."""
    check(command, f"no command to train with: {_USAGE}")
    program = command[0].removeprefix("launch.")
    domain = DOMAINS[choose("command", program, DOMAINS)]
    for flag in command[1:]:
        given = flag.lstrip("-").partition("=")[0]
        check(
            given not in _OURS,
            f"--{given} after -- is the launch's own: leave it out; --hosts goes"
            " before --",
        )
    arguments = ("--runtime=threads", *command[1:])
    request = flags.parse([f"launch.{program}", *arguments, "--hosts=1"], domain)
    size = request.config.batch.batch_size
    check(size % hosts == 0, f"a batch of {size} does not divide over {hosts} hosts")
    name = options["name"] or f"stac-{secrets.token_hex(3)}"
    fits = re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name)
    check(fits, f"--name={name}: up to 40 lower-case letters, digits and hyphens")
    return Launch(
        name=name,
        program=program,
        flags=arguments,
        workdir=str(request.workdir),
        resumes=request.workdir.exists(),
        build=_build(needed="extra" in options and not options["dry_run"]),
        python=sys.executable,
        options=options,
    )


def _build(needed: bool) -> plan.Argv:
    """The command that builds the wheel, as `make setup` would."""
    uv = _uv()
    checkout = (_ROOT / "pyproject.toml").exists()
    check(checkout or not needed, "a wheel can be built in a checkout alone")
    check(uv or not needed, "uv builds the wheel: install uv or run `make setup`")
    where = ("--out-dir={folder}/package", str(_ROOT))
    return (
        uv or "uv",
        "build",
        "--quiet",
        "--wheel",
        f"--python={sys.executable}",
        *where,
    )


def _uv() -> str | None:
    return shutil.which("uv") or shutil.which(str(_ROOT / ".venv-tools/bin/uv"))


def _number(text: str, name: str) -> int:
    check(text == "" or text.isdigit(), f"--{name}={text}: must be a whole number")
    return int(text or 0)


class _Parser(argparse.ArgumentParser):
    def __init__(self, target: str) -> None:
        super().__init__(target, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}; see {self.prog} --help")


def _targets() -> str:
    rows = [f"  {name:<16} {target.summary}" for name, target in TARGETS.items()]
    about = "Makes machines, trains on them, fetches the workdir, deletes the machines."
    more = "TARGET --help lists its options; --dry_run shows all that would be done."
    return "\n".join([_USAGE, "", about, more, "", *rows])


def _help(name: str, target: Target) -> str:
    rows = [f"launch.cloud {name}: {target.summary}", ""]
    for option, (meaning, default) in {**target.options, **_COMMON}.items():
        note = " (needed)" if default is None else f" (default {default})"
        rows.append(f"  --{option:<17} {meaning}{note if default != '' else ''}")
    rows.append(f"  --{'dry_run':<17} show all that would be done, and do nothing")
    example = f"  python -m launch.cloud {name} {target.example} \\"
    command = "      -- launch.atari --agent=stacx --game=james_bond"
    return "\n".join([*rows, "", "For example:", example, command])


if __name__ == "__main__":
    shutdown.as_program(main)
