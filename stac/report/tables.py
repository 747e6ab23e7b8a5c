"""Curves as a table: written beside a figure, read for the next one."""

from __future__ import annotations

import csv
import pathlib
import sys
from collections.abc import Iterable

import numpy as np

from stac.config import ConfigError, check
from stac.report.runs import Run

POINTS = 200  # rows of one run
COLUMNS = ("task", "agent", "seed", "million_frames", "mean_return")


def read(path: pathlib.Path) -> list[Run]:
    """The curves of a table that `write` wrote.

    Raises:
      ConfigError: it is no such table.
    """
    columns = ",".join(COLUMNS)
    header, *lines = path.read_bytes().decode(errors="replace").splitlines() or [""]
    check(header == columns, f"{path}: its first line is not {columns}")
    points: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for number, line in enumerate(lines, start=2):
        try:
            ((task, label, seed, frames, mean_return),) = csv.reader([line])
            point = (float(frames), float(mean_return))
            if not np.isfinite(point).all():
                raise ValueError(line)
            points.setdefault((task, label, int(seed)), []).append(point)
        except (ValueError, csv.Error) as error:
            raise ConfigError(f"{path}:{number}: is no row of {columns}") from error
    return [
        Run(task, label, seed, *np.transpose(sorted(curve)))._replace(source=str(path))
        for (task, label, seed), curve in points.items()
    ]


def write(runs: Iterable[Run], path: pathlib.Path) -> None:
    """A table of the curves, thinned to `POINTS` rows a run."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for run in runs:
            for frames, mean_return in _thinned(*run.known):
                numbers = (f"{frames:.4f}", f"{mean_return:.4g}")
                rows.writerow((run.task, run.label, run.seed, *numbers))
    print(f"written: {path}", file=sys.stderr)


def _thinned(frames: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Those next to `POINTS` that are equally many frames apart: [<= POINTS, 2]."""
    even = np.linspace(frames[0], frames[-1], POINTS)
    picked = np.unique(np.abs(frames - even[:, None]).argmin(axis=1))
    return np.transpose([frames[picked], returns[picked]])
