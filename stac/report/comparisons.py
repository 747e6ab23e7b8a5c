"""Sections that compare agents over tasks, on normalised scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from stac.report import charts, page, scores, statistics
from stac.report.charts import Chart
from stac.report.page import Cell
from stac.report.runs import Run, grouped
from stac.report.scores import Normalised

AGGREGATES = ("median", "mean", "IQM", "optimality gap")
MINIMUM = 3  # seeds of most tasks, below which an interval is far too narrow
_INTERVALS = "Intervals are of 95 %, by a bootstrap of the seeds within each task."


def aggregate(tasks: statistics.Scores) -> np.ndarray:
    """`AGGREGATES` of one agent's scores: [..., 4]."""
    return np.stack(
        [
            statistics.median(tasks),
            statistics.mean(tasks),
            statistics.iqm(tasks),
            statistics.optimality_gap(tasks),
        ],
        axis=-1,
    )


def intervals(part: Normalised) -> dict[str, statistics.Interval]:
    """`AGGREGATES` of each label's scores, with intervals."""
    return {
        label: statistics.interval(aggregate, tasks)
        for label, tasks in part.scores.items()
    }


def order(part: Normalised, known: Mapping[str, statistics.Interval]) -> str:
    where = f"over {page.count(part.tasks, 'task')} ({part.unit})"
    if len(known) < 2:
        alone = f"{next(iter(known))} is alone"
        return f"No order of agents is computed {where}: {alone}."
    index = AGGREGATES.index("IQM")
    ranked = sorted(known, key=lambda label: -known[label].estimate[index])
    words = [f"{x} {_number(part.scores[x], known[x], index)}" for x in ranked]
    enough = [*map(_spread, part.scores.values())]
    note = "with 95 % intervals"
    if not all(enough):
        note += " where there are seeds enough"
    if not any(enough):
        note = "without intervals, for there are fewer than three seeds"
    return f"By IQM {where}, {note}: {', '.join(words)}."


def _spread(tasks: statistics.Scores) -> bool:
    """Whether an interval says something: most tasks have seeds enough."""
    return bool(np.median([len(task) for task in tasks]) >= MINIMUM)


def _number(tasks: statistics.Scores, known: statistics.Interval, index: int) -> str:
    """An aggregate, with its interval where there are seeds enough."""
    if _spread(tasks):
        return _interval(known, index)
    return page.short(known.estimate[index])


def _interval(known: statistics.Interval, index: int) -> str:
    low, high = known.low[index], known.high[index]
    return (
        f"{page.short(known.estimate[index])} [{page.short(low)}, {page.short(high)}]"
    )


def aggregates(part: Normalised, known: Mapping[str, statistics.Interval]) -> str:
    colour = charts.colours(part.scores)
    ends = np.array([[x.low, x.high, x.estimate] for x in known.values()])
    rows: list[page.Row] = []
    for label, interval in known.items():
        row: list[Cell | str] = [Cell(label, colour=colour[label])]
        for index in range(len(AGGREGATES)):
            low, value, high = (
                x[index] for x in (interval.low, interval.estimate, interval.high)
            )
            axis = (min(0.0, ends[..., index].min()), max(0.0, ends[..., index].max()))
            text = _number(part.scores[label], interval, index)
            row.append(Cell(text, float(value), (low, value, high), axis))
        rows.append(row)
    note = f"{part.unit}, {page.count(part.tasks, 'task')}: {', '.join(part.tasks)}. "
    enough = any(map(_spread, part.scores.values()))
    note += _INTERVALS if enough else "Too few seeds for intervals."
    if part.left_out:
        words = [f"{label} ({count})" for label, count in part.left_out.items()]
        note += f" Left out, for they have fewer tasks: {', '.join(words)}."
    return page.paragraph(note) + page.table(["agent", *AGGREGATES], rows)


def profile(part: Normalised, chart: Chart) -> str:
    steps = np.unique(np.linspace(0, len(chart.x) - 1, 9).astype(int))
    header = ["agent", *(f"above {page.short(chart.x[i])}" for i in steps)]
    rows: list[page.Row] = [
        [Cell(series.label, colour=series.colour)]
        + [page.number(float(series.values[i]), 2) for i in steps]
        for series in chart.series
    ]
    return page.drawn([chart], wide=True) + page.table(header, rows)


def improvement(part: Normalised) -> str:
    """For each pair, the probability that a seed of the first beats the second's."""
    rows: list[page.Row] = []
    for first, second in itertools.combinations(part.scores, 2):
        pair = part.scores[first], part.scores[second]
        known = statistics.interval(
            statistics.improvement, *pair, resamples=statistics.RESAMPLES
        )
        low, value, high = float(known.low), float(known.estimate), float(known.high)
        text = f"{value:.2f}" + (
            f" [{low:.2f}, {high:.2f}]" if all(map(_spread, pair)) else ""
        )
        rows.append([first, second, Cell(text, value, (low, value, high))])
    if not rows:
        return ""
    note = page.paragraph(
        f"On {page.count(part.tasks, 'task')}; ½ is no difference. {_INTERVALS}"
    )
    return note + page.table(["agent", "is better than", "with probability"], rows)


def relative(part: Normalised) -> str:
    """Fig. 8 and 9: a task each, by how many percent an agent beats the baseline."""
    labels = [*part.scores]
    first = scores.baseline(labels)
    tables = []
    for label in labels:
        if label == first:
            continue
        percents = {}
        for index, task in enumerate(part.tasks):
            before = part.scores[first][index].mean()
            if before:
                gain = part.scores[label][index].mean() - before
                percents[task] = float(100 * gain / abs(before))
        axis = (min(0.0, *percents.values(), 0.0), max(0.0, *percents.values(), 0.0))
        rows: list[page.Row] = [
            [task, Cell(f"{value:+.1f} %", value, (value, value, value), axis)]
            for task, value in sorted(percents.items(), key=lambda x: -x[1])
        ]
        heading = f"<h3>{page.html.escape(f'{label} over {first}')}</h3>"
        tables.append(heading + page.table(["task", "relative improvement"], rows))
    note = "The difference of mean scores in percent of the baseline's size"
    return page.paragraph(f"{note} ({part.unit}).") + "".join(tables) if tables else ""


def self_tuned(curves: Sequence[Run], parts: Sequence[Normalised]) -> str:
    """Fig. 2(b): scores by what is self-tuned, where runs of an agent differ in it."""
    return page.section(
        "Self-tuned metaparameters",
        *(
            _by_value(part, curves, name, agent, "self-tuned")
            for part in parts
            for agent, name in _differing(curves, ("agent.self_tuned",))
        ),
    )


def robustness(curves: Sequence[Run], parts: Sequence[Normalised]) -> str:
    """Fig. 4: scores by the values of outer losses and initial metaparameters."""
    names = ("agent.outer.", "agent.initial_raw")
    return page.section(
        "Robustness",
        *(
            _by_value(part, curves, name, agent, name)
            for part in parts
            for agent, name in _differing(curves, names)
        ),
    )


def _differing(curves: Iterable[Run], names: tuple[str, ...]) -> list[tuple[str, str]]:
    """(agent, option): such options of which an agent's runs have several values."""
    agents = grouped(
        (x for x in curves if x.settings), lambda x: x.settings["agent.name"]
    )
    return [
        (agent, name)
        for agent, members in agents.items()
        for name in sorted({key for run in members for key in run.settings})
        if name.startswith(names)
        and len({str(run.settings.get(name)) for run in members}) > 1
    ]


def _by_value(
    part: Normalised, curves: Sequence[Run], name: str, agent: str, words: str
) -> str:
    """A row for each value of an option: the mean, and a shaded cell for each task."""
    members = [
        run
        for run in curves
        if run.settings.get("agent.name") == agent and run.task in part.scales
    ]
    values = grouped(members, lambda run: run.settings.get(name))
    tasks = [task for task in part.scales if any(run.task == task for run in members)]
    means: dict[Any, list[float]] = {}
    for value, group in values.items():
        by_task = grouped(group, lambda run: run.task)
        means[value] = [
            _mean_score(part, task, by_task.get(task, [])) for task in tasks
        ]
    known = [x for row in means.values() for x in row if np.isfinite(x)]
    if not known:
        return ""
    low, high = min(0.0, *known), max(known)
    over = {value: float(np.nanmean(row)) for value, row in means.items()}
    rows: list[page.Row] = []
    for value in sorted(means, key=_sorted_by):
        row: list[Cell | str] = [_value(value)]
        axis = (min(0.0, *over.values()), max(0.0, *over.values()))
        mean = over[value]
        row.append(Cell(page.short(mean), mean, (mean, mean, mean), axis))
        for x in means[value]:
            cell = page.number(x)
            shade = (x - low) / ((high - low) or 1.0)
            row.append(cell._replace(shade=shade) if cell.text else cell)
        rows.append(row)
    heading = f"<h3>{page.html.escape(f'{agent}: {words}')}</h3>"
    note = page.paragraph(f"Mean {part.unit} over seeds.")
    return heading + note + page.table([words, "mean", *tasks], rows)


def _mean_score(part: Normalised, task: str, seeds: Sequence[Run]) -> float:
    finals = np.array([*map(scores.final, seeds)])
    return float(part.normalise(task, finals).mean()) if len(finals) else float("nan")


def _sorted_by(value: object) -> tuple[bool, float, str]:
    number = float(value) if isinstance(value, int | float) else 0.0
    return isinstance(value, str), number, str(value)


def _value(value: object) -> Cell | str:
    if isinstance(value, int | float):
        return Cell(f"{value:g}", float(value))
    return "unknown" if value is None else str(value) or "none"
