"""`python -m launch.cloud TARGET [--option=value …] -- launch.atari --game=pong`.

The trained command is read, as it would be on its hosts, before any machine is made, so
that a mistake in it costs nothing.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from stac.config import Config, check, choose
from stac.launch import cli, flags
from stac.launch.cloud import gcloud, jobset, plan, runner, slurm
from stac.launch.cloud.plan import Launch, Plan
from stac.launch.domains import DOMAINS
from stac.runtime.faults import lines, shutdown
from stac.runtime.logs import summary
from stac.runtime.storage import workdir

TARGETS = {
    "queued-resource": gcloud.QUEUED_RESOURCE,
    "instance-group": gcloud.INSTANCE_GROUP,
    "jobset": jobset.JOBSET,
    "slurm": slurm.SLURM,
}
# Flags of a run that the launch gives to each host.
_OURS = ("coordinator", "hosts", "host", "listen", "runtime", "config.runtime.name")
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str] | None = None) -> int:
    """Launches; returns the run's exit status, or 2 for a mistake."""
    own = list(sys.argv[1:] if arguments is None else arguments)
    return cli.run(lambda: _main(own), "launch.cloud")


def _main(arguments: list[str]) -> int:
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    own, command = arguments[:cut], arguments[cut + 1 :]
    options = vars(_parser().parse_args(own or ["--help"]))
    target = TARGETS[options["target"]]
    check(not options.get("use") or options["name"], "--use needs --name")
    given = options["hosts"]
    hosts = target.hosts(options) if given is None else given
    check(hosts > 0, f"--hosts={hosts}: must be at least 1")
    minutes = options["collect_minutes"]
    check(minutes >= 0, f"--collect_minutes={minutes}: must be at least 0")
    launch = _launch(command, hosts, options)
    made_plan = target.plan(launch, hosts)
    if options["dry_run"]:
        lines.to_stdout(plan.text(made_plan))
        return 0
    for tool in target.tools:
        check(shutil.which(tool), f"{tool} is not installed here; see docs/launches.md")
    return _run(made_plan, 60.0 * minutes)


def _run(launch_plan: Plan, collect_seconds: float) -> int:
    with tempfile.TemporaryDirectory(prefix="stac-launch-") as folder:
        return runner.Runner(launch_plan, pathlib.Path(folder), collect_seconds).run()


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser(
        prog="launch.cloud",
        usage="python -m launch.cloud TARGET [--option=value ...] -- launch.atari ...",
        description="Makes machines, trains on them, fetches the workdir, deletes the"
        " machines. TARGET --help lists its options.",
    )
    kinds = parser.add_subparsers(dest="target", required=True, metavar="TARGET")
    for name, target in TARGETS.items():
        own = kinds.add_parser(
            name,
            prog=f"launch.cloud {name}",
            help=target.summary,
            description=target.summary,
            epilog=f"For example:\n  python -m launch.cloud {name} {target.example}"
            " \\\n      -- launch.atari --agent=stacx --game=james_bond",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        for option, (meaning, default) in target.options.items():
            if default is False:
                own.add_argument(f"--{option}", action="store_true", help=meaning)
                continue
            note = f" (default {default})" if default else ""
            needed = default is None
            own.add_argument(
                f"--{option}", default=default, required=needed, help=meaning + note
            )
        words = own.add_argument
        words("--name", default="", help="name of all that is created; a new one")
        words("--hosts", type=int, help="number of hosts; by the machines' kind, or 1")
        minutes = "between two copies of the workdir here (default 10); 0: at the end"
        words("--collect_minutes", type=int, default=10, help=minutes)
        words("--dry_run", action="store_true", help="show the plan, and do nothing")
    return parser


def _launch(command: list[str], hosts: int, options: dict[str, Any]) -> Launch:
    """Reads the trained command, as its hosts will."""
    check(command, "no command to train with: end with -- launch.atari --game=pong")
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
    workdir.refuse_another(request.workdir, request.config)
    if row := summary.finished(request.workdir, request.config.total_frames):
        raise flags.Help("\n".join(summary.nothing_left(request.workdir, row)))
    own_wheel = "extra" in options
    if own_wheel:
        _check_travels(request.config, arguments)
    size = request.config.batch.batch_size
    check(size % hosts == 0, f"a batch of {size} does not divide over {hosts} hosts")
    loggers = request.config.runtime.logger.replace(",", " ").split()
    name = options["name"] or f"stac-{secrets.token_hex(3)}"
    fits = re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name)
    check(fits, f"--name={name}: up to 40 lower-case letters, digits and hyphens")
    return Launch(
        name=name,
        program=program,
        flags=arguments,
        workdir=str(request.workdir),
        resumes=request.workdir.exists(),
        build=_build(needed=own_wheel and not options["dry_run"]),
        python=sys.executable,
        extras=[x for x in ("minatar", "wandb") if x in (program, *loggers)],
        options=options,
    )


def _check_travels(config: Config, arguments: Sequence[str]) -> None:
    """Refuses a command that reads files of this machine, which a wheel lacks."""
    task = config.environment.task
    module, _, _ = task.rpartition(":")
    found = importlib.util.find_spec(module.partition(".")[0]) if module else None
    installed = found is None or "site-packages" in str(found.origin)
    check(installed, f"{task}: a module of yours is on no host: use slurm")
    for word in arguments:
        check(
            word.lstrip("-").partition("=")[0] != "flagfile",
            f"{word}: the file is on no host: write its flags here",
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


if __name__ == "__main__":
    shutdown.as_program(main)
