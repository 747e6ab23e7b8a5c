"""Charts as data, drawn twice: by uPlot in the page and by matplotlib as PNG."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stac.report import scores, statistics
from stac.report.runs import Run, by_curve, grouped

AGENTS = {
    "impala": "#7f7f7f",
    "impala_aux": "#a5a614",
    "stac": "#ff7f0e",
    "stacx": "#1f77b4",
}
OTHERS = ("#2ca02c", "#d62728", "#9467bd", "#8c564b", "#17becf")  # for other labels
# Head 1, which acts, is blue as in Fig. 5(a); eight are the most that a variant has.
HEADS = (
    *("#1f77b4", "#ff7f0e", "#e377c2", "#2ca02c"),
    *("#d62728", "#9467bd", "#8c564b", "#a5a614"),
)
TABLE = re.compile(r" of .+\.csv$")  # of a label: the table the curve is from
ACROSS = {  # published scores that are drawn as a line, and their label
    "a3c_100M": "A3C, 10^8 steps",
    "trivial": "best of the trivial policies tried",
}
POINTS = 120  # of a line
FRAMES = "million frames"


Colours = Mapping[str, str]  # {label: colour}


class Series(NamedTuple):
    """One line of a chart."""

    label: str  # "" for a line without a row in the legend
    values: np.ndarray  # [points], NaN where unknown
    colour: str = ""  # "" for that of the text
    low: np.ndarray | None = None  # [points] the ends of a band
    high: np.ndarray | None = None
    dashed: bool = False
    thin: bool = False


class Chart(NamedTuple):
    """Lines over one axis."""

    title: str
    x_label: str
    y_label: str
    x: np.ndarray  # [points]
    series: Sequence[Series]


class Drawn(NamedTuple):
    """All charts of a report."""

    learning: list[Chart]
    medians: list[Chart]  # over the tasks of each scale
    evaluations: list[Chart]
    profiles: list[Chart]  # one a scale
    metaparameters: dict[tuple[str, str], list[Chart]]  # of each task and label


def every(curves: Sequence[Run], parts: Sequence[scores.Normalised]) -> Drawn:
    """The charts of these runs; lists are empty where there are no data."""
    colour = colours(curves)
    compared = [part for part in parts if len(part.tasks) > 1]
    medians = [overall(part, curves, colour) for part in compared]
    return Drawn(
        learning(curves, colour),
        [chart for chart in medians if _has_values(chart)],
        evaluations(curves, colour),
        [profiles(part, colour) for part in parts],
        metaparameters(curves),
    )


def colours(curves: Iterable[Run]) -> Colours:
    """The colour of each label, the same in all charts and tables of a report.

    An agent has its own for one label, its name if that is among them. Other labels
    get others in turn; a table's curve has the colour of the run's.
    """
    labels = [run.label for run in curves]
    others = itertools.cycle(OTHERS)
    chosen: dict[str, str] = {}
    names = dict.fromkeys(TABLE.sub("", label) for label in labels)
    for name in sorted(names, key=lambda name: name not in AGENTS):
        own = AGENTS.get(re.split(r", | \(", name)[0])
        free = own is not None and own not in chosen.values()
        chosen[name] = own if own is not None and free else next(others)
    return {label: chosen[TABLE.sub("", label)] for label in labels}


def learning(curves: Sequence[Run], colour: Colours) -> list[Chart]:
    """Returns over frames, a chart for each task, with reference lines across."""
    charts = []
    for task, members in grouped(curves, lambda run: run.task).items():
        x = _axis(run.known for run in members)
        series: list[Series] = []
        for (_, label), seeds in by_curve(members).items():
            lines = [_on(x, *run.known) for run in seeds]
            dashed = bool(TABLE.search(label))
            series += _of_seeds(label, colour[label], lines, dashed)
        known = scores.published(task)
        for name, words in ACROSS.items():
            if name in known:
                across = np.full(len(x), known[name])
                series.append(Series(words, across, dashed=True, thin=True))
        charts.append(Chart(task, FRAMES, "mean return", x, series))
    return charts


def overall(part: scores.Normalised, curves: Sequence[Run], colour: Colours) -> Chart:
    """Fig. 2(a): the median over tasks of normalised returns, means over seeds."""
    members = [run for run in curves if run.task in part.tasks]
    x = _axis(run.known for run in members)
    groups = by_curve(members)
    series = []
    for label in part.scores:
        by_task = []
        for task in part.tasks:
            lines = [_on(x, *run.known) for run in groups[task, label]]
            by_task.append(part.normalise(task, np.mean(lines, axis=0)))
        median = np.median(by_task, axis=0)
        series.append(Series(label, median, colour[label]))
    title = f"Median over {len(part.tasks)} tasks"
    return Chart(title, FRAMES, part.unit, x, series)


def _has_values(chart: Chart) -> bool:
    """Whether there is anything to draw: tasks may share no part of their frames."""
    return any(np.isfinite(series.values).any() for series in chart.series)


def evaluations(curves: Sequence[Run], colour: Colours) -> list[Chart]:
    """Returns of evaluations over frames; the way without noise is dashed."""
    evaluated = [run for run in curves if run.evaluations]
    charts = []
    for task, members in grouped(evaluated, lambda run: run.task).items():
        x = _axis(
            (run.evaluations["frames"], run.evaluations["frames"]) for run in members
        )
        series: list[Series] = []
        for (_, label), seeds in by_curve(members).items():
            for way in ways(seeds):
                series += _of_evaluations(label, colour[label], way, x, seeds)
        charts.append(Chart(task, FRAMES, "mean return", x, series))
    return charts


def ways(seeds: Iterable[Run]) -> list[str]:
    """Ways in which these runs were evaluated: sampled, and greedy or mean."""
    names = (name for run in seeds for name in run.evaluations)
    return list(dict.fromkeys(x.split("/")[0] for x in names if x.endswith("/return")))


def _of_evaluations(
    label: str, colour: str, way: str, x: np.ndarray, seeds: Sequence[Run]
) -> list[Series]:
    """A single seed has a band of 1.96 standard errors over its episodes."""
    known = [run.evaluations for run in seeds if f"{way}/return" in run.evaluations]
    lines = [_on(x, rows["frames"], rows[f"{way}/return"]) for rows in known]
    series = _of_seeds(f"{label}, {way}", colour, lines, way != "sampled")
    if len(known) == 1 and f"{way}/error" in known[0]:
        half = 1.96 * _on(x, known[0]["frames"], known[0][f"{way}/error"])
        return [series[0]._replace(low=lines[0] - half, high=lines[0] + half)]
    return series


def metaparameters(curves: Sequence[Run]) -> dict[tuple[str, str], list[Chart]]:
    """For each task and label a chart of each metaparameter, with a line a head."""
    tuned = by_curve(run for run in curves if run.metaparameters)
    return {key: _tuned(seeds) for key, seeds in tuned.items()}


def _tuned(seeds: Sequence[Run]) -> list[Chart]:
    names = dict.fromkeys(x.split("/")[0] for run in seeds for x in run.metaparameters)
    x = _axis((run.frames, run.frames) for run in seeds)
    charts = []
    for name in names:
        series: list[Series] = []
        for head, colour in enumerate(HEADS, start=1):
            key = f"{name}/head_{head}"
            lines = [
                _on(x, run.frames, run.metaparameters[key])
                for run in seeds
                if key in run.metaparameters
            ]
            series += _of_seeds(f"head {head}", colour, lines, False) if lines else []
        charts.append(Chart(name, FRAMES, name, x, series))
    return charts


def profiles(part: scores.Normalised, colour: Colours) -> Chart:
    """Performance profiles with pointwise 95 % bands."""
    everything = np.concatenate([x for tasks in part.scores.values() for x in tasks])
    x = np.linspace(min(0.0, everything.min()), everything.max(), POINTS)
    series = []
    for label, tasks in part.scores.items():
        band = statistics.interval(
            lambda drawn: statistics.profile(drawn, x),
            tasks,
            resamples=statistics.RESAMPLES,
        )
        ends = (band.low, band.high) if statistics.enough(tasks) else (None, None)
        series.append(Series(label, band.estimate, colour[label], *ends))
    return Chart(
        "Performance profiles",
        part.unit,
        "share of seeds above",
        x,
        series,
    )


def as_json(chart: Chart) -> dict[str, Any]:
    """Data for `assets/page.js`, with four digits and null where nothing is known."""
    return {
        "title": chart.title,
        "x_label": chart.x_label,
        "y_label": chart.y_label,
        "x": _numbers(chart.x),
        "series": [_as_json(series) for series in chart.series],
    }


def _as_json(series: Series) -> Mapping[str, Any]:
    fields = {**series._asdict(), "values": _numbers(series.values)}
    for end in ("low", "high"):
        fields[end] = None if fields[end] is None else _numbers(fields[end])
    return {name: value for name, value in fields.items() if value not in (None, False)}


def _numbers(values: np.ndarray) -> list[float | None]:
    return [float(f"{x:.4g}") if math.isfinite(x) else None for x in values.tolist()]


def _of_seeds(
    label: str, colour: str, lines: Sequence[np.ndarray], dashed: bool
) -> list[Series]:
    """The mean over seeds, where all are known; a band, or a thin line each."""
    if len(lines) == 1:
        return [Series(label, lines[0], colour, dashed=dashed)]
    together = np.array(lines)
    if len(lines) >= statistics.MINIMUM:  # fewer are drawn as thin lines
        mean, low, high = statistics.band(together)
        return [Series(label, mean, colour, low, high, dashed)]
    thin = [Series("", line, colour, dashed=dashed, thin=True) for line in lines]
    return [*thin, Series(label, together.mean(axis=0), colour, dashed=dashed)]


def _axis(lines: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    frames = [frames for frames, _ in lines]
    start, end = min(x[0] for x in frames), max(x[-1] for x in frames)
    return np.unique(np.linspace(start, end, POINTS))


def _on(x: np.ndarray, frames: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[points]: the line on the chart's axis; a line of one point is one point."""
    known = ~np.isnan(values)
    if not known.any():
        return np.full(len(x), np.nan)
    frames, values = frames[known], values[known]
    line = np.interp(x, frames, values, left=np.nan, right=np.nan)
    if np.isnan(line).all():
        line[np.abs(x - frames[0]).argmin()] = values[0]
    return line
