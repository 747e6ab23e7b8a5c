"""Real launches on fake machines."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Sequence

from tests.conftest import ROOT
from tests.waiting import until

TOOLS = (
    *("gcloud", "kubectl", "uv", "curl"),
    *("sbatch", "srun", "squeue", "scancel", "scontrol"),
)
QUEUED = ("queued-resource", "--zone=z-1-a", "--accelerator_type=v4-16")
GROUP = (
    *("instance-group", "--zone=z-1-a", "--project=p"),
    *("--machine_type=ct6e-standard-4t", "--topology=2x4"),
)
JOBSET = (
    *("jobset", "--image=python:3.12", "--topology=2x4"),
    "--accelerator=tpu-v5-lite-podslice",
)
SLURM = ("slurm", "--hosts=2", "--sbatch_flags=--partition=gpu")
SECONDS = 120.0
# It shows its flags, trains for a moment, and saves when it is told to end.
TRAINER = """#!/bin/bash
for word in "$@"; do case $word in --workdir=*) run=${word#*=} ;; esac; done
mkdir -p "$run"
echo "trains: $*"
save() {
  echo "saves"; sleep "${TRAINER_SAVES:-0}"; echo "$*" >"$run/checkpoint"; exit 0
}
trap save TERM USR1
for _ in $(seq "${TRAINER_TICKS:-3}"); do sleep 0.1; done
echo "$*" >"$run/done"
exit "${TRAINER_STATUS:-0}"
"""
REAL_TRAINER = f"""#!/bin/bash
export PYTHONPATH={ROOT} JAX_PLATFORMS=cpu
exec {sys.executable} "$@"
"""
# Pauses are short, and Slurm's hosts start the trainer in the place of Python.
_PROGRAM = """
import os, sys
from stac.launch.cloud import __main__ as command, runner
from stac.runtime.faults import shutdown

runner.PAUSE_SECONDS, runner.PATIENCE, runner.LOOK_SECONDS = 0.05, 4, 0.02
sys.executable = os.environ["FAKE_TRAINER"]
shutdown.as_program(command.main)
"""


class Launch:
    """`python -m launch.cloud`, with tools before all others on the PATH."""

    def __init__(
        self,
        folder: pathlib.Path,
        target: Sequence[str],
        command: Sequence[str] = ("launch.catch", "--agent=impala"),
        trainer: str = TRAINER,
        **environment: str,
    ) -> None:
        self.folder, self.workdir = folder, folder / "run"
        for name in ("bin", "things"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for tool in TOOLS:
            path = folder / "bin" / tool
            script = pathlib.Path(__file__).with_name("fake_tool.py").read_text()
            path.write_text(f"#!{sys.executable} -ES\n{script}")
            path.chmod(0o755)
        (folder / "trainer").write_text(trainer)
        (folder / "trainer").chmod(0o755)
        self._output = (folder / "output").open("ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _PROGRAM, *target, "--name=mine", "--"),
                *(*command, f"--workdir={self.workdir}"),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
                "FAKE_ROOT": str(folder),
                "FAKE_TRAINER": str(folder / "trainer"),
                "PYTHONUNBUFFERED": "1",
                **environment,
            },
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def status(self) -> int:
        return self._process.wait(SECONDS)

    @property
    def text(self) -> str:
        return (self.folder / "output").read_text()

    @property
    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def called(self, words: str) -> int:
        return sum(words in call for call in self.calls)

    @property
    def things(self) -> list[str]:
        """All that was created and still exists."""
        return sorted(path.name for path in (self.folder / "things").iterdir())

    def wait_for(self, words: str = "", path: str = "") -> None:
        until(
            lambda: words in self.text if words else (self.folder / path).exists(),
            SECONDS,
            lambda: self.text,
            every=0.05,
            over=lambda: self._process.poll() is not None,
        )

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def cut(self, words: str) -> None:
        """Kills the processes of this launch whose command line has these words."""
        mark = f"FAKE_ROOT={self.folder}".encode()
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = mark in (folder / "environ").read_bytes().split(b"\0")
                if ours and words.encode() in (folder / "cmdline").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)

    def kill(self) -> None:
        """Leaves no process of a failed test behind."""
        self._process.kill()
        self._process.wait()
        self._output.close()
        self.cut("")
