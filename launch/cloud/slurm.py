"""A Slurm job: a task on every host, in the environment that starts the launch.

The hosts share a file system with this machine, as on most clusters: the checkout, its
environment and the workdir are used where they are.
"""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from stac.launch.cloud import host
from stac.launch.cloud.plan import (
    Launch,
    Made,
    Option,
    Plan,
    Step,
    Target,
    flags_of,
    shell,
)

_WARNING_SECONDS = 120  # from the warning to the end of a job's time


def script(launch: Launch, hosts: int) -> str:
    """The batch script.

    USR1 announces the end of the job's time. It reaches the tasks, which save and end;
    then the job is queued again and goes on where it was.
    """
    command = host.command(
        launch,
        launch.workdir,
        hosts,
        coordinator="$coordinator",
        host="$SLURM_PROCID",
        python=launch.python,
    )
    return _SCRIPT.format(
        name=launch.name,
        hosts=hosts,
        log=shlex.quote(_log(launch).replace("%", "%%")),  # % is a pattern there
        warning=_WARNING_SECONDS,
        command=shlex.quote(f"exec {command}"),
        wait=host.WAIT,
    )


_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={hosts}
#SBATCH --ntasks-per-node=1
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@{warning}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export coordinator="$first:$((20000 + SLURM_JOB_ID % 10000 * 2))"
# srun takes no number of CPUs from the job by itself.
[ -z "${{SLURM_CPUS_PER_TASK-}}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
warned=
srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c {command} &
run=$!
trap 'warned=yes; kill -USR1 "$run"' USR1
trap 'kill -TERM "$run"' TERM
{wait}
[ "$warned$status" != yes0 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$status"
"""


def _plan(launch: Launch, hosts: int) -> Plan:
    name, log = launch.name, _log(launch)
    submit = ("sbatch", "--wait", *flags_of(launch, "sbatch_flags"))
    mine = ("--me", f"--name={name}")
    # `--wait` ends with the job, also if it was queued again in between.
    follow = (
        f"tail -n 0 -F {shlex.quote(log)} & shown=$!\n"
        f"{shlex.join(submit)} {{folder}}/job.sh; status=$?\n"
        "sleep 1; kill $shown; exit $status"
    )
    prepare = f"mkdir -p {shlex.quote(str(pathlib.Path(log).parent))}"
    return Plan(
        files={"job.sh": script(launch, hosts)},
        steps=(
            Step(
                f"preparing {log}",
                (shell(f"{prepare} && touch {shlex.quote(log)}"),),
            ),
        ),
        follow=Step(
            f"submitting the job {name} and showing {log}",
            (shell(follow),),
            makes=Made(
                f"job {name}",
                exists=("squeue", *mine, "--noheader", "--format=%i"),
                delete=("scancel", *mine),
            ),
        ),
        stop=(
            ("scancel", *mine, "--state=PENDING"),
            ("scancel", *mine, "--state=RUNNING", "--signal=TERM"),
        ),
    )


def _log(launch: Launch) -> str:
    """Beside the workdir: that holds a run's own files alone."""
    return f"{launch.workdir}.log"


def _hosts(_: Mapping[str, Any]) -> int:
    return 1


SLURM = Target(
    summary="a job on a Slurm cluster whose hosts share a file system with this one",
    options={
        "sbatch_flags": Option(
            "such as '--partition=gpu --gpus-per-node=8 --time=24:00:00'"
        )
    },
    example="--hosts=2 --sbatch_flags='--partition=gpu --gpus-per-node=8'",
    tools=("sbatch", "squeue", "scancel"),
    hosts=_hosts,
    plan=_plan,
)
