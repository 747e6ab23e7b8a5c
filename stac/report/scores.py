"""Final scores of runs: returns, and returns on a scale that tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from stac import references
from stac.report.runs import Run, by_curve, grouped

LAST = 0.05  # of a run: the final return is the mean over it
# `python -m stac.evaluation.trivial_policies` on these: the best policy of each.
# Standard errors: 32 for the cup, 11 for the walker, less than 3 for the cartpole.
TRIVIAL = {
    "ball_in_cup.catch": 123.8,
    "cartpole.balance": 745.8,
    "cartpole.swingup": 74.8,
    "cartpole.swingup, realworld easy": 71.2,
    "walker.stand": 167.3,
}
HUMAN = "human-normalised score"
OUT_OF_1000 = "return / 1000"
OVER = "return / mean return of "  # and the baseline


class Normalised(NamedTuple):
    """Scores of agents on the same tasks, on one scale."""

    unit: str
    tasks: Sequence[str]
    scores: Mapping[str, list[np.ndarray]]  # {label: a task each: [seeds]}
    scales: Mapping[str, tuple[float, float]]  # {task: (zero, one)} in returns
    left_out: Mapping[str, int]  # {label: tasks}: labels that lack some of the tasks

    @property
    def baseline(self) -> str:
        """The label over whose mean returns the scores are; "" on another scale."""
        return self.unit.partition(OVER)[2]

    def normalise(self, task: str, returns: np.ndarray) -> np.ndarray:
        low, high = self.scales[task]
        return (returns - low) / (high - low)


def final(run: Run) -> float:
    """The mean return over the last 5 % of a run."""
    return _mean_after(run, 1.0 - LAST)


def whole(run: Run) -> float:
    """The mean return over a run: sooner learned is more."""
    return _mean_after(run, 0.0)


def _mean_after(run: Run, share: float) -> float:
    """Weighted by frames, because rows are as far apart as the machine was slow."""
    frames, returns = run.known
    at = np.linspace(share * frames[-1], frames[-1], 1000)
    return float(np.interp(at, frames, returns).mean())


def finished(curves: Sequence[Run]) -> list[Run]:
    """The runs that came to their last frame; all of them where none did.

    A run that is cut at a tenth of its frames would count as a bad one.
    """
    done = [run for run in curves if not run.unfinished]
    return done or list(curves)


def baseline(labels: Sequence[str]) -> str:
    """The label that others are compared with: impala, or else the first."""
    return "impala" if "impala" in labels else labels[0]


def normalised(curves: Sequence[Run]) -> list[Normalised]:
    """The scores on each scale that these tasks have.

    Atari's are human-normalised, returns of the control suites are out of 1,000, and
    other tasks' are divided by the mean return of the baseline.
    """
    labels = list(dict.fromkeys(run.label for run in curves))
    first = baseline(labels)
    tasks = grouped(dict.fromkeys(run.task for run in curves), lambda x: unit(x, first))
    parts = (_on_scale(name, members, curves) for name, members in tasks.items())
    return [part for part in parts if part is not None]


def unit(task: str, first: str) -> str:
    """The scale of a task, by its name."""
    name, *setting = task.split(", ")
    if not setting and references.game_name(name) in references.atari():
        return HUMAN
    suites = ("pixels", "realworld")
    of_gymnasium = ":" in name or "-v" in name
    if (
        "." in name
        and not of_gymnasium
        and (not setting or setting[-1].startswith(suites))
    ):
        return OUT_OF_1000
    return OVER + first


def _on_scale(
    unit: str, tasks: Sequence[str], curves: Sequence[Run]
) -> Normalised | None:
    """None where no task has a scale."""
    groups = by_curve(run for run in curves if run.task in tasks)
    returns = {key: np.array([*map(final, seeds)]) for key, seeds in groups.items()}
    scales = {task: _scale(unit, task, returns) for task in tasks}
    known = {task: scale for task, scale in scales.items() if scale[0] < scale[1]}
    several = {
        task: scale
        for task, scale in known.items()
        if sum(other == task for other, _ in returns) > 1
    }
    known = several or known  # a task of one agent alone compares nothing
    count = {
        label: sum(task in known for task, other in returns if other == label)
        for _, label in returns
    }
    if not known:
        return None
    complete = [label for label in count if count[label] == max(count.values())]
    shared = [
        task for task in known if all((task, label) in returns for label in complete)
    ]
    part = Normalised(unit, shared, {}, known, {})
    scores = {
        label: [part.normalise(task, returns[task, label]) for task in shared]
        for label in complete
    }
    left_out = {x: tasks for x, tasks in count.items() if x not in complete and tasks}
    return part._replace(scores=scores, left_out=left_out) if shared else None


def _scale(
    unit: str, task: str, returns: Mapping[tuple[str, str], np.ndarray]
) -> tuple[float, float]:
    """The returns that count 0 and 1; equal where there are none."""
    if unit == HUMAN:
        row = references.atari()[references.game_name(task)]
        return row["random"], row["human"]
    if unit == OUT_OF_1000:
        return 0.0, 1000.0
    mean = returns.get((task, unit.removeprefix(OVER)), np.zeros(1)).mean()
    return 0.0, float(mean)


def published(task: str) -> dict[str, float]:
    """Reference columns of a task: {"random": -20.7, …}."""
    name, *setting = task.split(", ")
    columns: dict[str, float] = {}
    if task in TRIVIAL:
        columns["trivial"] = TRIVIAL[task]
    if setting:
        return columns
    atari = references.atari().get(references.game_name(name), {})
    names = ("random", "human", "impala_shallow", "impala_deep", "stacx_discorl")
    columns |= {column: atari[column] for column in names if column in atari}
    control = references.control().get(name, {})
    names = ("a3c_100M", "d4pg_pixels_100M", "ppo_8M", "sac", "tdmpc2")
    columns |= {column: control[column] for column in names if column in control}
    return columns
