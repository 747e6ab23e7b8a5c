"""`python -m launch.sweep --study=agents --suite=minatar`: a study of the paper, run.

Every run is the suite's own command, a process with cores of its own. Finished runs
are skipped, and interrupted ones continue, so the same command goes on after anything.
At the end `launch.report` compares the runs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stac import children
from stac.agents import make as agents
from stac.config import FAILED, ConfigError, check, choose
from stac.environments import make
from stac.launch import cli, flags, watching
from stac.launch.domains import DOMAINS, Domain
from stac.launch.processes import END_SECONDS
from stac.launch.studies import STUDIES, Arm
from stac.runtime.faults import lines, shutdown
from stac.runtime.logs import command, loggers, summary, trackers
from stac.runtime.storage import workdir

_LOOK_SECONDS = 0.5  # between two looks at the runs
# "launch" as `python -m launch.sweep` in a checkout, else "stac.launch".
_PACKAGE = __spec__.parent if __spec__ else "stac.launch"


class Run(NamedTuple):
    """One run of a sweep."""

    arm: Arm
    task: str
    seed: int
    suite: str
    words: tuple[str, ...]  # its command line
    workdir: pathlib.Path
    log: pathlib.Path  # its output, in a folder of all logs: a workdir is the run's own
    total_frames: int

    @property
    def name(self) -> str:
        return f"{self.task} {self.arm.label} seed {self.seed}"

    @property
    def command(self) -> tuple[str, ...]:
        """Of Python: -m launch.minatar --agent=…"""
        return ("-m", f"{_PACKAGE}.{self.suite}", *self.words)


def _main(name: str, arguments: list[str]) -> int:
    """Runs a sweep; returns 0, or 1 where a run failed."""
    own, rest = _parser(name).parse_known_args(arguments)
    out = workdir.place(own.out or f"runs/{own.study}")
    check(own.parallel > 0, f"--parallel={own.parallel}: must be at least 1")
    cores = make.share_of_cores(own.parallel)
    runs = expand(own.study, own.suite, own.tasks, own.seeds, rest, out, cores)
    if own.dry_run:
        lines.to_stdout("\n".join(shlex.join(("python", *run.command)) for run in runs))
        return 0
    report = workdir.place(own.report or out / "report")
    sweep = Sweep(runs, own.parallel)
    return sweep.run(out, report, command.line(name, arguments))


def _parser(name: str) -> argparse.ArgumentParser:
    listed = "\n".join(
        f"  {study:<17} {row.about} ({row.source}): {len(row.arms)} arms"
        for study, row in STUDIES.items()
    )
    parser = cli.Parser(
        prog=name,
        description="Runs a study of the paper and compares its runs.",
        epilog=f"studies:\n{listed}\n\nAny other flag goes to every run, such as"
        " --total_frames=1e6 or --config.a.b=c.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    words = parser.add_argument
    words("--study", default="agents", help="see below (default agents)")
    words("--suite", required=True, help=", ".join(DOMAINS))
    words("--tasks", default="all", help="as in breakout,asterix; all: of the suite")
    words("--seeds", default="1..3", help="as in 1,2,5 or 1..5 (default 1..3)")
    cores, each = make.share_of_cores(1), "runs at a time (default: one a core)"
    words("--parallel", type=int, default=cores, help=each)
    words("--out", help="folder of all workdirs (default runs/STUDY)")
    words("--report", help="folder of the report (default OUT/report)")
    words("--dry_run", action="store_true", help="print the commands and run nothing")
    return parser


def expand(
    study: str,
    suite: str,
    tasks: str,
    seeds: str,
    rest: Sequence[str],
    out: pathlib.Path,
    cores: int,
) -> list[Run]:
    """All runs of a study: seed by seed, so that every arm is there early.

    Args:
      study: a row of `STUDIES`.
      suite: a row of `DOMAINS`.
      tasks: with commas; or `all`.
      seeds: `1,2,5` or `1..5`.
      rest: flags for every run; they win over an arm's.
      out: the folder of all workdirs.
      cores: of each run, which is the number of its actors.

    Raises:
      ConfigError: any of them is wrong, as the suite's own command would say it.
    """
    arms = STUDIES[choose("study", study, STUDIES)].arms
    domain = DOMAINS[choose("suite", suite, DOMAINS)]
    for given in rest:
        name = given.lstrip("-").partition("=")[0]
        check(
            name not in ("agent", "agents", "seed", "workdir", "config.seed")
            and name not in flags.TASK_FLAGS,
            f"--{name}: a sweep sets it: see --study, --seeds, --tasks and --out",
        )
    actors = f"--num_actors={cores}"
    numbers, names = _seeds(seeds), _tasks(tasks, domain)

    def words(arm: Arm, task: str, seed: int) -> tuple[str, ...]:
        flag = f"--{domain.task_flag}={task}"
        first = (f"--agent={arm.agent}", flag, f"--seed={seed}")
        shared = (
            () if agents.is_soft(arm.agent) else (actors,)
        )  # those have one, as published
        return (*first, "--runtime=threads", *shared, *arm.flags, *rest)

    @functools.cache
    def frames(arm: Arm, task: str) -> int:
        """Refuses what the suite's command would refuse, without the run."""
        given = words(arm, task, min(numbers))
        config = flags.parse([domain.program, *given], domain).config
        trackers.names(config.runtime.logger)
        if tasks != "all" or task == names[0]:  # a suite's own tasks are alike
            try:
                agents.check_fit(config, make.spec(config))
            except ConfigError as error:
                raise ConfigError(f"{arm.label} on {task}: {error}") from None
        return config.total_frames

    # Mujoco's tasks have other lengths, and are few enough to read all lines.
    differ = len({frames(arms[0], task) for task in names}) > 1
    runs = []
    for seed, task, arm in itertools.product(numbers, names, arms):
        name = f"{arm.label}_seed{seed}"
        place = out / suite / task / name
        log = out / "logs" / f"{task.replace('/', '_')}_{name}.log"
        line = (*words(arm, task, seed), f"--workdir={place}")
        length = frames(arm, task if differ else names[0])
        runs.append(Run(arm, task, seed, suite, line, place, log, length))
    return runs


def _seeds(text: str) -> list[int]:
    """`1,2,5`, `1..5` and both together."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("..")
            seeds += range(int(first), int(last or first) + 1)
    except ValueError:
        seeds = []
    check(seeds, f"--seeds={text}: write whole numbers, as in 1,2,5 or 1..5")
    return list(dict.fromkeys(seeds))


def _tasks(text: str, domain: Domain) -> list[str]:
    if text == "all":
        return list(domain.studied() if domain.studied else domain.all_tasks())
    names = [domain.spelled(task) for task in text.split(",") if task]
    check(names, f"--tasks={text}: name tasks, as in breakout,asterix, or all")
    return list(dict.fromkeys(names))


def refuse_another(run: Run) -> None:
    """Raises a ConfigError where a run of another configuration is in the workdir."""
    if (run.workdir / workdir.CONFIG).exists():  # to parse takes 30 ms
        domain = DOMAINS[run.suite]
        config = flags.parse([domain.program, *run.words], domain).config
        workdir.refuse_another(run.workdir, config, "out")


def is_finished(run: Run) -> bool:
    """Whether nothing is left to do."""
    return bool(summary.finished(run.workdir, run.total_frames))


class Child(NamedTuple):
    """A run that was started."""

    run: Run
    process: subprocess.Popen[bytes]
    slot: int


class Sweep:
    """Runs some at a time, each on its share of the cores."""

    def __init__(self, runs: Sequence[Run], parallel: int) -> None:
        for run in runs:
            refuse_another(run)
        self._runs = runs
        self._waiting = [run for run in runs if not is_finished(run)]
        self._skipped = len(runs) - len(self._waiting)
        cores = sorted(os.sched_getaffinity(0))
        share = make.share_of_cores(parallel)
        self._shares = [
            {cores[(slot * share + i) % len(cores)] for i in range(share)}
            for slot in range(parallel)
        ]
        # Of a GPU that runs share; JAX takes three quarters of it for each by default.
        self._memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": f"{0.9 / parallel:.2f}"}
        self._children: list[Child] = []
        self._ended: dict[Run, int] = {}  # exit statuses
        self._stop = shutdown.Stop()

    def run(self, out: pathlib.Path, report: pathlib.Path, again: str) -> int:
        """Runs to the end or until a signal; returns an exit status.

        Args:
          out: the folder of all workdirs.
          report: a folder for `launch.report`.
          again: the command that continues.
        """
        lines.to_stdout(
            f"{len(self._runs)} runs in {out}: {self._skipped} finished before,"
            f" {len(self._waiting)} to do, {len(self._shares)} at a time"
        )
        grace = END_SECONDS + 5.0
        with shutdown.on_signals(self._stop, grace):
            with contextlib.closing(watching.Screen()) as screen:
                try:
                    while (self._waiting or self._children) and not self._stop.is_set():
                        self._start()
                        self._stop.wait(_LOOK_SECONDS)
                        self._reap()
                        screen.show(self._progress())
                finally:
                    self._end()
            failed = [run for run, status in self._ended.items() if status]
            for run in failed:
                lines.to_stderr(f"{run.name} failed: {_last_line(run.log)}")
            if self._stop.is_set():
                done = self._skipped + len(self._ended) - len(failed)
                lines.to_stdout(
                    f"stopped: {done} of {len(self._runs)} runs are finished"
                )
            if failed or self._stop.is_set():
                lines.to_stdout(f"continue  {again}")
        if not self._stop.is_set() and len(failed) < len(self._runs):
            words = [
                sys.executable,
                "-m",
                f"{_PACKAGE}.report",
                str(out),
                f"--out={report}",
            ]
            if subprocess.run(words, check=False).returncode:
                lines.to_stderr(f"the report failed; again: {shlex.join(words)}")
                return FAILED
        return FAILED if failed else 0

    def _start(self) -> None:
        busy = {child.slot for child in self._children}
        for slot, cores in enumerate(self._shares):
            if slot in busy or not self._waiting:
                continue
            run = self._waiting.pop(0)
            run.log.parent.mkdir(parents=True, exist_ok=True)
            parent = os.getpid()

            def prepare(cores: set[int] = cores, parent: int = parent) -> None:
                os.sched_setaffinity(0, cores)
                # It saves and leaves, also where a SIGTERM has told it to before.
                signal.signal(signal.SIGUSR1, signal.SIG_DFL)
                children.die_with_parent(parent, signal.SIGUSR1)

            with run.log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, *run.command],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a Ctrl-C is passed on by this process
                    env={**self._memory, **os.environ},
                    preexec_fn=prepare,
                )
            self._children.append(Child(run, process, slot))

    def _reap(self) -> None:
        for child in list(self._children):
            status = child.process.poll()
            if status is None:
                continue
            self._children.remove(child)
            outcome = watching.outcome(
                loggers.last_row(child.run.workdir / workdir.METRICS)
            )
            if not status and not is_finished(child.run):  # somebody else stopped it
                status = FAILED
            self._ended[child.run] = status
            if status:
                outcome = f"FAILED, status {status}: {_last_line(child.run.log)}"
            lines.to_stdout(f"{child.run.name}: {outcome}")

    def _end(self) -> None:
        """Asks what still runs to save and to leave, and waits for it."""
        if self._children:
            lines.to_stdout(f"{len(self._children)} runs are saving and leaving")
        for child in self._children:
            child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + END_SECONDS
        for child in self._children:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.process.kill()
                child.process.wait()
        self._children.clear()

    def _progress(self) -> watching.Progress:
        done = self._skipped + len(self._ended)
        running = [
            watching.Line.of(child.run.name, child.run.total_frames, child.run.workdir)
            for child in self._children
        ]
        left = sum(line.total - line.frames for line in running)
        left += sum(run.total_frames for run in self._waiting)
        return watching.Progress(done, len(self._runs), running, left)


def _last_line(log: pathlib.Path) -> str:
    written: Iterable[str] = log.read_text(errors="replace").splitlines()
    full = [line for line in written if line.strip()]
    return f"{full[-1] if full else 'it printed nothing'} (see {log})"


main = cli.script("launch.sweep", _main)

if __name__ == "__main__":
    shutdown.as_program(main)
