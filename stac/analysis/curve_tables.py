"""Curves of a suite as a table: written beside a figure, read for the next one."""

from __future__ import annotations

import csv
import pathlib
import sys

import numpy as np

from stac.analysis import curves
from stac.analysis.curves import Curve
from stac.config import ConfigError, check

POINTS = 200  # of a curve, as a table
OF = " of "  # between an agent and the table its curve is from

_COLUMNS = ("task", "agent", "seed", "million_steps", "mean_return")

Task = dict[str, dict[int, Curve]]  # agent: seed: mean returns of 100 episodes


def written(path: pathlib.Path) -> dict[str, Task]:
    """The curves of a .csv that `write` made.

    Raises:
      ConfigError: it is no such table.
    """
    columns = ",".join(_COLUMNS)
    header, *lines = path.read_bytes().decode(errors="replace").splitlines() or [""]
    check(header == columns, f"{path}: its first line is not {columns}")
    points: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for at_line, line in enumerate(lines, start=2):
        try:
            ((task, agent, seed, at, mean_return),) = csv.reader([line])
            point = (float(at), float(mean_return))
            points.setdefault((task, agent, int(seed)), []).append(point)
        except (ValueError, csv.Error) as error:
            said = f"{path}:{at_line}: is no row of {columns}"
            raise ConfigError(said) from error
    tasks: dict[str, Task] = {}
    for (task, agent, number), curve in points.items():
        frames, returns = np.transpose(curve)
        tasks.setdefault(task, {}).setdefault(agent, {})[number] = (frames, returns)
    return tasks


def replaced(tasks: dict[str, Task], others: dict[str, Task]) -> list[str]:
    """A line for each of the others' curves that `merged` leaves out."""
    return [
        f"{task}, {agent}, seed {seed}: {seeds[seed][0][-1]:.2f} million steps take the"
        f" place of {curve[0][-1]:.2f}"
        for task, agents in others.items()
        for agent, of_others in agents.items()
        for seed, curve in of_others.items()
        if seed in (seeds := tasks.get(task, {}).get(agent, {}))
    ]


def merged(tasks: dict[str, Task], others: dict[str, Task]) -> dict[str, Task]:
    """All curves, by tasks and agents in order; of one that both have, `tasks`'."""
    both = {task: dict(agents) for task, agents in others.items()}
    for task, agents in tasks.items():
        known = both.setdefault(task, {})
        for agent, seeds in agents.items():
            known[agent] = known.get(agent, {}) | seeds
    return {task: dict(sorted(both[task].items())) for task in sorted(both)}


def beside(tasks: dict[str, Task], others: dict[str, Task], name: str) -> None:
    """Adds the others' curves of these tasks, as those of agents of another name.

    Raises:
      ConfigError: they have none of these tasks.
    """
    check(bool(tasks.keys() & others), f"{name}: has no curve of {', '.join(tasks)}")
    for task, agents in tasks.items():
        for agent, seeds in others.get(task, {}).items():
            agents[f"{agent}{OF}{name}"] = seeds


def write(tasks: dict[str, Task], path: pathlib.Path) -> None:
    """The curves as a table beside the figure, thinned to `POINTS` rows a run."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(_COLUMNS)
        for task, agents in tasks.items():
            for agent, seeds in agents.items():
                for seed, curve in sorted(seeds.items()):
                    for frames, returns in _thinned(*curves.known(curve)):
                        at = (f"{frames:.4f}", f"{returns:.1f}")
                        rows.writerow((task, agent, seed, *at))
    print(f"written: {path}", file=sys.stderr)


def _thinned(frames: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """The rows next to `POINTS` that are equally many steps apart: [<= POINTS, 2]."""
    even = np.linspace(frames[0], frames[-1], POINTS)
    picked = np.unique(np.abs(frames - even[:, None]).argmin(axis=1))
    return np.transpose([frames[picked], returns[picked]])
