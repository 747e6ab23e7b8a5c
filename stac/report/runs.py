"""Reads runs for figures: their returns, their metaparameters, and labels that differ.

Task, agent and seed are read from each run's config.json; folders may have any names.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from stac.config import ConfigError, check, flat
from stac.configs import realworld
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir

NEEDED = ("agent.name", "environment.domain", "environment.task")  # words, and a seed
T = TypeVar("T")
K = TypeVar("K")
_OF_A_RUN = (workdir.METRICS, workdir.CONFIG)
LIMIT = 1e18  # no number of a run is as large


class Run(NamedTuple):
    """One curve."""

    task: str  # with its setting: "cartpole.swingup, realworld easy"
    label: str  # the agent, and how the run differs from others of this agent and task
    seed: int
    frames: np.ndarray  # [n] in millions
    returns: np.ndarray  # [n] means of 100 episodes, NaN before the first has ended
    metaparameters: Mapping[str, np.ndarray] = {}  # self-tuned: {"gamma/head_1": [n]}
    # {"frames": [m] in millions, "sampled/return": [m], "sampled/error": [m], …}
    evaluations: Mapping[str, np.ndarray] = {}
    settings: Mapping[str, Any] = {}  # {"agent.outer.gamma": 0.99, …}; a table's: none
    source: str = ""  # its workdir or table
    seconds: float = math.nan  # that it ran

    @property
    def unfinished(self) -> bool:
        """Whether it has not come to its last frame; a table does not say."""
        total = self.settings.get("total_frames")
        return _is_number(total) and round(1e6 * self.frames[-1]) < total

    @property
    def known(self) -> tuple[np.ndarray, np.ndarray]:
        """Frames and returns without the gaps."""
        there = ~np.isnan(self.returns)
        return self.frames[there], self.returns[there]


class Found(NamedTuple):
    """Runs, and the reasons why others are left out."""

    runs: list[Run]
    left_out: list[str]


def read(places: Iterable[pathlib.Path]) -> Found:
    """The runs in these workdirs, and in all workdirs below these folders.

    A run or folder that cannot be read is left out, with a line that says why.
    """
    loaded: list[Run] = []
    reasons: list[str] = []
    paths: dict[pathlib.Path, pathlib.Path] = {}
    for place in places:
        with noting(place, reasons):
            paths |= {path.resolve(): path for path in _workdirs(place)}
    for path in paths.values():
        with noting(path, reasons):
            loaded.append(_load(path))
    groups = grouped(loaded, lambda x: (x.settings["environment.domain"], x.label))
    labelled = [run for group in groups.values() for run in _labelled(group)]
    curves = by_curve(labelled).values()
    return Found([run for group in curves for run in _apart(group)], reasons)


@contextlib.contextmanager
def noting(path: pathlib.Path, reasons: list[str]) -> Iterator[None]:
    """Notes in `reasons` why something cannot be read, instead of raising it."""
    try:
        yield
    except ConfigError as error:
        reasons.append(str(error))
    except OSError as error:
        reasons.append(f"{error.filename or path}: {error.strerror}")


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The items by their keys, as {key: [item, …]}, in their order."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_curve(curves: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """The seeds of each task and label."""
    return grouped(curves, lambda run: (run.task, run.label))


def _workdirs(place: pathlib.Path) -> list[pathlib.Path]:
    if any((place / name).exists() for name in _OF_A_RUN):
        return [place]
    cure = "name a run's workdir, a folder of workdirs, or a table (.csv)"
    check(place.is_dir(), f"{place}: there is no such folder: {cure}")
    below = sorted({path.parent for name in _OF_A_RUN for path in place.rglob(name)})
    check(below, f"{place}: no run has logged anything there: {cure}")
    return below


def _load(path: pathlib.Path) -> Run:
    """The run of a workdir; its label is the agent's name."""
    there = (path / workdir.CONFIG).exists()
    settings = flat(workdir.written(path)) if there else {}
    readable = all(isinstance(settings.get(name), str) for name in NEEDED)
    check(
        readable and isinstance(settings.get("seed"), int),
        f"{path}: its config.json is missing, damaged, or of another version",
    )
    settings = workdir.with_defaults(settings)
    there = (path / workdir.METRICS).exists()
    check(there, f"{path}: nothing is logged there yet")
    rows = _rows(path / workdir.METRICS)
    check(rows, f"{path}: nothing is logged there yet")
    frames, returns = _column(rows, "frames") / 1e6, _column(rows, "episode_return")
    check(not np.isnan(returns).all(), f"{path}: it has ended no episode yet")
    names = sorted({name for row in rows for name in row})
    tuned = {name.split("/")[1] for name in names if name.startswith("metagradient/")}
    metaparameters = {
        name.removeprefix("hyperparameters/"): _column(rows, name)
        for name in names
        if name.startswith("hyperparameters/") and name.split("/")[1] in tuned
    }
    agent, seed = settings["agent.name"], settings["seed"]
    run = Run(_task(settings), agent, seed, frames, returns, metaparameters)
    return run._replace(
        evaluations=_evaluations(path / workdir.EVALUATIONS),
        settings=settings,
        source=str(path),
        seconds=float(_column(rows, "seconds")[-1]),
    )


def _evaluations(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The columns of the evaluations beside a run; {} where it has none."""
    rows = _rows(path) if path.exists() else []
    names = {name for row in rows for name in row if name.startswith("evaluation/")}
    columns = {x.removeprefix("evaluation/"): _column(rows, x) for x in sorted(names)}
    return columns and {"frames": _column(rows, "frames") / 1e6, **columns}


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
    """The rows in order, without those that a continued run wrote again."""
    kept: list[dict[str, Any]] = []
    for row in loggers.rows(path):
        if not _is_number(row.get("frames")) or row["frames"] < 0:
            continue
        while kept and kept[-1]["frames"] >= row["frames"]:
            kept.pop()
        kept.append(row)
    return kept


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """[n], NaN where a row has no such number."""
    values = [row.get(name) for row in rows]
    return np.array([value if _is_number(value) else np.nan for value in values], float)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < LIMIT  # NaN is not less


def _task(settings: Mapping[str, Any]) -> str:
    """The task, and its setting unless that is the domain's usual one."""
    domain, task = settings["environment.domain"], settings["environment.task"]
    if domain == "catch":
        return f"catch, {task}"
    if domain == "minatar":  # whose games have the names of Atari's
        return f"{task}, minatar"
    if domain == "realworld":
        return f"{task}, realworld {_challenge(task, settings)}"
    pixels = settings.get("environment.observations") == "pixels"
    return f"{task}, pixels" if pixels else task


def _challenge(task: str, settings: Mapping[str, Any]) -> str:
    """A combined challenge's name; "changed" where any number of it was changed."""
    prefix = "environment.challenges."
    numbers = {
        name.removeprefix(prefix): value
        for name, value in settings.items()
        if name.startswith(prefix)
    }
    domain = task.split(".")[0]
    for name in realworld.CHALLENGES if domain in realworld.PERTURBATIONS else ():
        if vars(realworld.challenges(domain, name)) == numbers:
            return name
    return "changed"


# The tasks of Meta-SAC have their own lengths, and Humanoid its temperature of SAC-v1.
_OF_TASKS = ("environment.", "total_frames", "agent.soft.alpha")


def _kind(run: Run) -> tuple[Any, ...]:
    """Runs that should have the same torso: pixels have another than features."""
    alike = run.settings.get("environment.domain") not in ("catch", "gymnasium")
    return run.settings.get("environment.observations"), alike or run.task


def _labelled(group: Sequence[Run]) -> list[Run]:
    """Labels the runs of one agent in one domain by all that differs between them.

    Options of the agent differ if they do anywhere, so that a label means the same on
    all tasks. Options that tasks have values of their own for differ if they do within
    a task. An option that this version does not have any more differs among the runs
    that have it.
    """
    tasks = [*grouped(group, lambda run: run.task).values()]
    kinds = grouped(group, _kind)
    names = sorted({name for run in group for name in run.settings})
    same = ("seed", *workdir.FREE)

    def values(members: Sequence[Run], name: str) -> set[str]:
        return {str(run.settings[name]) for run in members if name in run.settings}

    def compared(name: str) -> Iterable[Sequence[Run]]:
        """The runs that are to have one value."""
        if name == "network.torso":
            return kinds.values()
        return tasks if name.startswith(_OF_TASKS) else [group]

    differing = [
        name
        for name in names
        if not name.startswith(same)
        and any(len(values(members, name)) > 1 for members in compared(name))
    ]

    def label_of(run: Run) -> str:
        words = [
            f"{name.replace('lambda_', 'lambda')}={run.settings[name]}"
            for name in differing
            if name in run.settings
        ]
        return ", ".join([run.label, *words])

    return [run._replace(label=label_of(run)) for run in group]


def _apart(group: Sequence[Run]) -> list[Run]:
    """Tells runs of one task, label and seed apart by their folders."""
    if len({run.seed for run in group}) == len(group):
        return list(group)
    return [
        run._replace(label=f"{run.label} ({end})")
        for run, end in zip(group, _ends(group), strict=True)
    ]


def _ends(group: Sequence[Run]) -> list[str]:
    """Of each run's path as much, from the end, as tells it from the others.

    Where the parent folders tell runs of one seed apart, theirs, for all their seeds.
    """
    paths = [pathlib.Path(run.source).resolve() for run in group]
    parents = {(path.parent, run.seed) for path, run in zip(paths, group, strict=True)}
    if len(parents) == len(group):
        paths = [path.parent for path in paths]
    for length in itertools.count(1):
        ends = {path: "/".join(path.parts[-length:]) for path in paths}
        if len(set(ends.values())) == len(ends):
            break
    return [ends[path] for path in paths]
