"""Runs a real command for minutes and reports memory of each of its processes.

    python -m benchmarks.soak --minutes=10 -- --agent=stacx --game=james_bond

Everything after `--` goes to launch.atari. What the command prints is shown; then it is
interrupted as a user would, and what is left of it is looked for.
"""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import psutil

from stac.launch import child, cli
from stac.runtime.logs import loggers

COMMAND = (sys.executable, "-m", "launch.atari")
LOOKS = 6  # in equal steps, after one when all has begun
END_SECONDS = 60.0  # that it may take after Ctrl-C


def memory(root: psutil.Process) -> dict[str, float]:
    """Unique memory of the process and all below it, in MiB, by what they are."""
    sizes = {}
    for process in [root, *root.children(recursive=True)]:
        try:
            name = f"{process.pid} {_role(process)}"
            sizes[name] = process.memory_full_info().uss / 2**20
        except psutil.NoSuchProcess:
            continue
    return sizes


def _role(process: psutil.Process) -> str:
    """What the process calls itself; a worker is of the role that its variables say."""
    if (name := process.name()).startswith("stac "):
        return name.removeprefix("stac ")
    role = process.environ().get(child.ROLE)
    return f"{role} worker" if role else "parent"


def watch(process: subprocess.Popen, minutes: list[float]) -> list[dict[str, float]]:
    """Memory at each of `minutes` since now; ends early with the process."""
    start, seen = time.monotonic(), []
    for minute in minutes:
        while time.monotonic() < start + 60 * minute and process.poll() is None:
            time.sleep(0.2)
        if process.poll() is None:
            seen.append(memory(psutil.Process(process.pid)))
    return seen


def interrupt(process: subprocess.Popen) -> str:
    """Ends its session as a terminal does, if it has not ended; how that went."""
    if process.poll() is not None:
        return f"ended by itself, exit status {process.returncode}"
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    try:
        status = process.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return f"did not end within {END_SECONDS:.0f} s of Ctrl-C, and was killed"
    return f"exit status {status}, {time.monotonic() - began:.1f} s after Ctrl-C"


def main() -> None:
    parser = cli.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("command", nargs="*")
    arguments = parser.parse_args()
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        workdir = pathlib.Path(folder) / "run"
        with subprocess.Popen(
            [*COMMAND, f"--workdir={workdir}", *arguments.command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            copy = threading.Thread(target=_copy, args=(process.stdout, lines))
            copy.start()
            every = [arguments.minutes * part / LOOKS for part in range(1, LOOKS + 1)]
            try:
                seen = watch(process, [min(2.0, every[0] / 2), *every])
            finally:
                ended = interrupt(process)
            copy.join(timeout=10)
        metrics = workdir / "metrics.jsonl"
        rows = loggers.rows(metrics) if metrics.exists() else []
        files = [path for path in workdir.rglob("*") if path.is_file()]
        written = sum(path.stat().st_size for path in files) / 2**20
    if not rows:
        sys.exit(f"no update was made; more --minutes? The command {ended}")
    report(lines, seen, rows[-1])
    print(f"files {len(files)}, {written:.1f} MiB")
    print(ended)
    print(f"processes left: {_left(process.pid)}")


def _copy(stream, lines: list[str]) -> None:
    for line in stream:
        print(line, end="", flush=True)
        lines.append(line)


def _left(session: int) -> list[str]:
    """Processes of the command's session that are still there."""
    left = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session:
                left.append(_role(process))
        except (psutil.Error, ProcessLookupError, PermissionError):
            continue
    return left


def report(lines: list[str], seen: list[dict[str, float]], last: dict) -> None:
    """The table, the updates, and every printed line that warns."""
    print("\nmemory, MiB (unique to the process)")
    if not seen:
        print("  it ended before the first look")
    for name in seen[-1] if seen else ():
        values = "  ".join(f"{at.get(name, float('nan')):8.0f}" for at in seen)
        print(f"  {values}  {name}")
    print(
        f"updates {last['updates']:.0f}, frames {last['frames']:.0f},"
        f" seconds {last['seconds']:.0f}"
    )
    loud = [line for line in lines if "warn" in line.lower() or "error" in line.lower()]
    print(f"lines printed {len(lines)}, of them warnings or errors {len(loud)}")
    print("".join(loud), end="")


if __name__ == "__main__":
    sys.exit(cli.run(main))
