"""The scripts that run on a host: they install stac, train, and show the log.

All lie beside the wheel in one folder, DIRECTORY in the user's home or /stac in a pod;
so do the virtual environment, the log, the exit status and the workdir.
"""

from __future__ import annotations

import shlex
import zlib
from collections.abc import Mapping

from stac.launch.cloud.plan import Argv, Launch, Step, flags_of, shell

DIRECTORY = "stac-launch"
PORT = 29500  # of the coordinator; the next one is used too
# A TPU VM knows its number and its slice. The list of the slice's hosts holds names, or
# triples that end with an address.
ABOUT = (
    "about() { curl -sf -H 'Metadata-Flavor: Google'"
    ' "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"; }'
)
TPU_VM = f"""\
{ABOUT}
host=$(about agent-worker-number)
first=$(about worker-network-endpoints | cut -d, -f1)
coordinator=${{first##*:}}"""
# Both lines are needed: a signal ends the first wait, and bash keeps the status.
WAIT = """\
wait "$run"
while kill -0 "$run" 2>/dev/null; do wait "$run"; done
wait "$run"
status=$?"""

INSTALL = """\
# Installs the wheel beside this file, with a Python of its own.
set -euo pipefail
cd "$(dirname "$0")"
export PATH="$HOME/.local/bin:$PATH"
command -v uv >/dev/null ||
  python3 -m pip install --quiet --user uv 2>/dev/null ||
  python3 -m pip install --quiet --user --break-system-packages uv
rm -rf venv
uv venv --quiet --python=3.12 venv
uv pip install --quiet --python=venv/bin/python {wheel} {extra}
"""
FOLLOW = """\
# Shows the log until the run ends, and ends with its status.
cd "$(dirname "$0")"
tail -n 100 -F log 2>/dev/null &
shown=$!
until [ -s status ] || ! kill -0 "$(cat pid)" 2>/dev/null; do sleep 1; done
sleep 1 # for the last lines
kill $shown
exit "$(bash status.sh)"
"""
STATUS = """\
# Prints the run's status once it has ended; 1 if it was killed before it could say.
cd "$(dirname "$0")"
kill -0 "$(cat pid)" 2>/dev/null && [ ! -s status ] || cat status 2>/dev/null || echo 1
"""


def files(launch: Launch, hosts: int, where: str, after: str = "") -> Mapping[str, str]:
    """The scripts by their paths.

    Args:
      launch: the run.
      hosts: their number.
      where: shell that sets `host`, this one's index, and `coordinator`, host 0.
      after: shell for when the run has ended.
    """
    script = _RUN.format(
        where=where,
        command=command(launch, run(launch), hosts, f"$coordinator:{PORT}", "$host"),
        wait=WAIT,
        after=after,
    )
    extras = ",".join(launch.extras)
    wheel = f'"$(echo ./*.whl)[{extras}]"' if extras else "./*.whl"
    extra = shlex.join(flags_of(launch, "extra"))
    install = INSTALL.format(wheel=wheel, extra=extra)
    return {
        "package/install.sh": install,
        "package/run.sh": script,
        "package/follow.sh": FOLLOW,
        "package/status.sh": STATUS,
    }


def run(launch: Launch) -> str:
    """The workdir's name on a host, where other launches may have left their own."""
    return f"run-{zlib.crc32(launch.workdir.encode()):08x}"


def command(
    launch: Launch,
    workdir: str,
    hosts: int,
    coordinator: str,
    host: str,
    python: str = "venv/bin/python",
) -> str:
    """The command of one host, in shell: coordinator and host are expanded there."""
    words = [python, "-m", "stac", launch.program, *launch.flags]
    line = shlex.join([*words, f"--workdir={workdir}"])
    if hosts == 1:
        return f"{line} --hosts=1"
    return f'{line} --coordinator="{coordinator}" --hosts={hosts} --host="{host}"'


def unpack(folder: str) -> str:
    """Shell that unpacks the tar that it reads into a folder."""
    return f"mkdir -p {folder} && tar -C {folder} -xf -"


def pack(folder: str) -> str:
    """Shell that writes a folder as tar, also while files in it change."""
    return f"tar -C {folder} -cf - . 2>/dev/null || [ $? = 1 ]"


def send(folder: str, receive: Argv) -> Argv:
    """Packs a folder of this machine for a command that unpacks it."""
    place = folder if folder.startswith("{folder}") else shlex.quote(folder)
    return shell(f"tar -C {place} -cf - . | {shlex.join(receive)}")


def fetch(sending: Argv, workdir: str) -> Step:
    """Fetches the workdir when all of it has come; older checkpoints go."""
    place = shlex.quote(workdir)
    script = (
        f"{shlex.join(sending)} >{{folder}}/run.tar"
        f" && rm -rf {place}/.fetched && mkdir -p {place}/.fetched"
        f" && tar -C {place}/.fetched -xf {{folder}}/run.tar"
        f" && rm -rf {place}/checkpoints {place}/best"
        f" && cp -alf {place}/.fetched/. {place} && rm -rf {place}/.fetched"
    )
    return Step(f"fetching the workdir to {workdir}", (shell(script),))


_RUN = """\
# Trains on this host. SIGTERM saves and ends the run.
cd "$(dirname "$0")"
exec > >(tee log) 2>&1
rm -f status
echo $$ >pid
trap 'exit 143' TERM
{where}
{command} &
run=$!
trap 'kill -TERM "$run"' TERM
{wait}
echo "$status" >status
{after}
exit "$status"
"""
