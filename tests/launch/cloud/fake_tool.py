"""Stands in for gcloud, kubectl, Slurm, uv and curl: hosts are folders, runs are real.

One program under several names on the PATH. It logs its calls, keeps what it has
created as files, and runs the commands of a host as processes in the host's folder.
FAKE_FAIL, FAKE_HANG: a pattern of the calls that fail, or hang, once they have worked.
FAKE_STAYS: of the things that cannot be deleted.
FAKE_TRIES: so often calls fail before they work again; for ever by default.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(os.environ["FAKE_ROOT"])
THINGS = ROOT / "things"
TRAINER = os.environ["FAKE_TRAINER"]


def main() -> int:
    tool, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
    call = " ".join([tool, *arguments])
    with (ROOT / "calls").open("a") as log:
        log.write(f"{call}\n")
    if re.search(r"\{[a-z]+\d*\}", call):
        sys.exit(f"ERROR: a word is missing in {call}")
    status = globals()[tool](arguments)
    if matches("FAKE_HANG", call):
        (ROOT / "hangs").touch()
        time.sleep(60)
    if matches("FAKE_FAIL", call) and fails():
        print(f"ERROR: {tool} fails", file=sys.stderr)
        return 1
    return status


def fails() -> bool:
    """Whether it is to fail once more."""
    with (ROOT / "failures").open("a+") as failures:
        failures.write("x")
        return failures.tell() <= int(os.environ.get("FAKE_TRIES", "99"))


def matches(variable: str, call: str) -> bool:
    pattern = os.environ.get(variable)
    return bool(pattern and re.search(pattern, call))


def gcloud(arguments: list[str]) -> int:
    flags = dict(word.partition("=")[::2] for word in arguments if word[:2] == "--")
    words = [word for word in arguments if not word.startswith("--")]
    if "ssh" in words:
        index = flags.get("--worker", words[2].rpartition("-")[2])
        return shell(flags["--command"], index)
    verb = next(
        word
        for word in words
        if word in ("create", "delete", "list", "describe", "wait-until")
        or word == "list-instances"
    )
    name = words[-1]
    thing = THINGS / ("-".join(words[1 : words.index(verb)]))
    if verb == "create":
        thing.write_text(name)
    elif verb == "delete":
        if matches("FAKE_STAYS", thing.name) and fails():
            return 1
        thing.unlink()
    elif verb == "list" and thing.exists():
        wanted = re.findall(r"[a-z0-9-]+", flags["--filter"])[-1]
        print(thing.read_text() if thing.read_text() == wanted else "", end="")
    elif verb == "describe":
        print(os.environ.get("FAKE_STATE", "ACTIVE"))
    elif verb == "list-instances":
        print("vm-1\nvm-0")  # in no order
    return 0


def shell(command: str, index: str) -> int:
    home = ROOT / f"host{index}"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "FAKE_INDEX": index}
    return subprocess.run(["bash", "-c", command], cwd=home, env=environment).returncode


def curl(arguments: list[str]) -> int:
    """The metadata of a TPU VM."""
    number = os.environ["FAKE_INDEX"]
    hosts = "vm-0.z.c.p.internal,vm-1.z.c.p.internal"
    print(number if arguments[-1].endswith("agent-worker-number") else hosts)
    return 0


def uv(arguments: list[str]) -> int:
    if arguments[0] == "build":
        (folder,) = (word for word in arguments if word.startswith("--out-dir="))
        pathlib.Path(folder.partition("=")[2], "stac_rl-0-any.whl").write_bytes(b"\0")
    elif arguments[0] == "venv":
        pathlib.Path("venv/bin").mkdir(parents=True, exist_ok=True)
        shutil.copy(TRAINER, "venv/bin/python")
    return 0


def kubectl(arguments: list[str]) -> int:
    words = [word for word in arguments if not word.startswith("--")]
    flags = dict(word.partition("=")[::2] for word in arguments if word[:2] == "--")
    if words[:2] == ["create", "configmap"]:
        shutil.copytree(flags["--from-file"], ROOT / "package")
        (THINGS / "configmap").touch()
    elif words[0] == "create":
        (THINGS / "jobset").touch()
        start_pods(json.loads(pathlib.Path(flags["--filename"]).read_text()))
    elif words[0] == "delete":
        (THINGS / words[1]).unlink()
        for name in ROOT.glob("pod*.pid") if words[1] == "jobset" else ():
            end_group(name)
    elif words[:2] == ["get", "pods"]:
        print("Running" if "phase" in flags["--output"] else "pod-0")
    elif words[0] == "get" and (THINGS / words[1]).exists():
        print(words[1])
    elif words[0] == "exec":
        return shell(on_pod(words[-1], "0"), "0")
    return 0


def on_pod(command: str, index: str) -> str:
    command = re.sub(r"/stac\b(?!-)", str(ROOT / f"host{index}"), command)
    return command.replace("/package", str(ROOT / "package"))


def start_pods(manifest: dict) -> None:
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    for index in map(str, range(job["completions"])):
        home = ROOT / f"host{index}"
        home.mkdir()
        pod = subprocess.Popen(
            [
                *container["command"],
                *(on_pod(word, index) for word in container["args"]),
            ],
            env={**os.environ, "JOB_COMPLETION_INDEX": index, "HOME": str(home)},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        (ROOT / f"pod{index}.pid").write_text(str(pod.pid))


def end_group(file: pathlib.Path) -> None:
    """Kills the processes of a group, if its number is not somebody else's by now."""
    pid = int(file.read_text())
    with contextlib.suppress(OSError):
        mark = f"FAKE_ROOT={ROOT}".encode()
        if mark in pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            os.killpg(pid, signal.SIGKILL)


def sbatch(arguments: list[str]) -> int:
    """Runs the script until it does not ask to be queued again."""
    script = pathlib.Path(arguments[-1]).read_text()
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=(.*)$", script, re.MULTILINE))
    (ROOT / "job").write_text(script)
    environment = {
        **os.environ,
        "SLURM_JOB_ID": os.environ.get("FAKE_JOB", "7"),
        "SLURM_JOB_NODELIST": "node[0-1]",
        "SLURM_NNODES": options["nodes"],
    }
    (THINGS / "job").touch()
    again = ROOT / "again"
    while True:
        with open(options["output"], "a") as log:
            job = subprocess.Popen(
                ["bash", ROOT / "job"],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            (ROOT / "job.pid").write_text(str(job.pid))
            status = job.wait()
        if not again.exists():
            break
        again.unlink()
    (THINGS / "job").unlink(missing_ok=True)
    return status


def srun(arguments: list[str]) -> int:
    """Starts a task for every node, and hands signals on to all."""
    command = arguments[arguments.index("bash") :]
    tasks = [
        subprocess.Popen(
            command,
            env={**os.environ, "SLURM_PROCID": str(index), "SLURM_LOCALID": "0"},
        )
        for index in range(int(os.environ["SLURM_NNODES"]))
    ]
    (ROOT / "srun.pid").write_text(str(os.getpid()))
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, lambda n, _: [task.send_signal(n) for task in tasks])
    return max([task.wait() for task in tasks])


def scontrol(arguments: list[str]) -> int:
    if arguments[0] == "requeue":
        (ROOT / "again").touch()
    else:
        print(os.environ.get("FAKE_NODES", "node0\nnode1"))
    return 0


def squeue(_: list[str]) -> int:
    if (THINGS / "job").exists():
        print("7")
    return 0


def scancel(arguments: list[str]) -> int:
    """Signals reach the tasks; without one the whole job ends."""
    if "--signal=TERM" in arguments:
        os.kill(int((ROOT / "srun.pid").read_text()), signal.SIGTERM)
    elif "--state=PENDING" not in arguments and (THINGS / "job").exists():
        (THINGS / "job").unlink()
        end_group(ROOT / "job.pid")
    return 0


if __name__ == "__main__":
    sys.exit(main())
