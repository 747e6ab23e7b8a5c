"""Curves as a table: written beside a figure, read for the next one."""

from __future__ import annotations

import csv
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from stac.config import ConfigError, check
from stac.report.runs import Run

POINTS = 100  # rows of one run
COLUMNS = ("task", "agent", "seed", "million_frames", "mean_return")


def read(path: pathlib.Path) -> list[Run]:
    """The curves of a table that `write` wrote.

    Raises:
      ConfigError: it is no such table.
    """
    columns = ",".join(COLUMNS)
    header, *lines = path.read_bytes().decode(errors="replace").splitlines() or [""]
    names = header.split(",")[len(COLUMNS) :]
    check(
        header == ",".join([*COLUMNS, *names]) and all(names),
        f"{path}: its first line is not {columns}, or those and metaparameters",
    )
    points: dict[tuple[str, str, int], list[list[float]]] = {}
    for number, line in enumerate(lines, start=2):
        try:
            ((task, label, seed, *cells),) = csv.reader([line])
            point = [float(cell) if cell else np.nan for cell in cells]
            whole = len(point) == 2 + len(names) and not np.isinf(point).any()
            if not whole or np.isnan(point[:2]).any():
                raise ValueError(line)
            points.setdefault((task, label, int(seed)), []).append(point)
        except (ValueError, csv.Error) as error:
            raise ConfigError(f"{path}:{number}: is no row of {header}") from error
    return [
        Run(*key, *_columns(names, sorted(curve)), source=str(path))
        for key, curve in points.items()
    ]


def _columns(
    names: list[str], points: list[list[float]]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Frames, returns, and the metaparameters that the run tunes."""
    frames, returns, *tuned = np.transpose(points)
    courses = zip(names, tuned, strict=True)
    return frames, returns, {x: y for x, y in courses if not np.isnan(y).all()}


def write(runs: Sequence[Run], path: pathlib.Path) -> None:
    """A table of the curves and of what is self-tuned, thinned to `POINTS` rows a run.

    A cell is empty where a run does not tune the metaparameter of its column.
    """
    names = sorted({name for run in runs for name in run.metaparameters})
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((*COLUMNS, *names))
        for run in runs:
            for row in _thinned(run):
                tuned = (run.metaparameters.get(name) for name in names)
                cells = ["" if x is None else f"{x[row]:.4g}" for x in tuned]
                numbers = (f"{run.frames[row]:.4f}", f"{run.returns[row]:.4g}")
                rows.writerow((run.task, run.label, run.seed, *numbers, *cells))
    print(f"written: {path}", file=sys.stderr)


def _thinned(run: Run) -> np.ndarray:
    """Rows with a return, next to `POINTS` that are equally many frames apart."""
    (there,) = np.nonzero(~np.isnan(run.returns))
    frames = run.frames[there]
    even = np.linspace(frames[0], frames[-1], POINTS)
    return there[np.unique(np.abs(frames - even[:, None]).argmin(axis=1))]
