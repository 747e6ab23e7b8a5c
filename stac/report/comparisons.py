"""Sections that compare agents over tasks, on normalised scores."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from stac.report import charts, page, scores, statistics
from stac.report.charts import Chart
from stac.report.page import Cell
from stac.report.runs import Run, grouped
from stac.report.scores import Normalised

AGGREGATES = ("median", "mean", "IQM", "optimality gap")
_LEAST = 1e-3  # a resampled mean, which may not be positive
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
    """`AGGREGATES` of each label's scores, with intervals.

    Where scores are over the mean of a baseline, those of other labels have the spread
    of both.
    """
    base = part.scores.get(part.baseline)
    return {
        label: statistics.interval(aggregate, tasks)
        if base is None or label == part.baseline
        else statistics.interval(_over, tasks, base)
        for label, tasks in part.scores.items()
    }


def _over(tasks: statistics.Scores, base: statistics.Scores) -> np.ndarray:
    """`aggregate` of scores over a baseline's means: 1, but not in a resample."""
    means = [np.maximum(task.mean(axis=-1, keepdims=True), _LEAST) for task in base]
    return aggregate([x / mean for x, mean in zip(tasks, means, strict=True)])


def order(part: Normalised, known: Mapping[str, statistics.Interval]) -> str:
    where = f"over {page.count(part.tasks, 'task')} ({part.unit})"
    if len(known) < 2:
        alone = f"{next(iter(known))} is alone"
        return f"No order of agents is computed {where}: {alone}."
    index = AGGREGATES.index("IQM")
    ranked = sorted(known, key=lambda label: -known[label].estimate[index])
    words = [f"{x} {_number(part.scores[x], known[x], index)}" for x in ranked]
    enough = [*map(statistics.enough, part.scores.values())]
    note = "with 95 % intervals"
    if not all(enough):
        note += " where there are seeds enough"
    if not any(enough):
        note = "without intervals, as there are fewer than three seeds"
    return f"By IQM {where}, {note}: {', '.join(words)}."


def _number(tasks: statistics.Scores, known: statistics.Interval, index: int) -> str:
    """An aggregate, with its interval where there are seeds enough."""
    estimate, low, high = (
        page.short(x[index]) for x in (known.estimate, known.low, known.high)
    )
    return f"{estimate} [{low}, {high}]" if statistics.enough(tasks) else estimate


def aggregates(
    part: Normalised,
    known: Mapping[str, statistics.Interval],
    colour: charts.Colours,
) -> str:
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
            if not statistics.enough(part.scores[label]):
                low = high = value
            row.append(Cell(text, float(value), (low, value, high), axis))
        rows.append(row)
    note = f"{part.unit}, {page.count(part.tasks, 'task')}: {', '.join(part.tasks)}. "
    enough = any(map(statistics.enough, part.scores.values()))
    note += _INTERVALS if enough else "Too few seeds for intervals."
    if enough and part.baseline in known:
        note += f" Those of {part.baseline} are around the mean that it has."
    if part.left_out:
        words = [f"{label} ({count})" for label, count in part.left_out.items()]
        note += f" Left out, because they have fewer tasks: {', '.join(words)}."
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
        text = f"{value:.2f}"
        if all(map(statistics.enough, pair)):
            text += f" [{low:.2f}, {high:.2f}]"
        else:
            low = high = value
        chance = Cell(text, value, (low, value, high))
        rows.append([first, second, chance, _p(statistics.no_difference(*pair))])
    if not rows:
        return ""
    note = page.paragraph(
        f"On {page.count(part.tasks, 'task')}; ½ is no difference. {_INTERVALS} There"
        " are none where an agent has fewer than three seeds. p is of no difference,"
        " two-sided, by a permutation of both agents' seeds within each task."
    )
    header = ["agent", "is better than", "with probability", "p"]
    return note + page.table(header, rows)


def _p(value: float) -> Cell:
    return Cell(f"{value:.3f}" if value >= 0.001 else "< 0.001", value)


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
        axis = (min([0.0, *percents.values()]), max([0.0, *percents.values()]))
        rows: list[page.Row] = [
            [task, Cell(f"{value:+.1f} %", value, (value, value, value), axis)]
            for task, value in sorted(percents.items(), key=lambda x: -x[1])
        ]
        heading = f"<h3>{page.html.escape(f'{label} over {first}')}</h3>"
        tables.append(heading + page.table(["task", "relative improvement"], rows))
    note = "The difference of mean scores in percent of the baseline's size"
    return page.paragraph(f"{note} ({part.unit}).") + "".join(tables) if tables else ""


def self_tuned(curves: Sequence[Run], parts: Sequence[Normalised]) -> str:
    """Fig. 2(b): medians by what is self-tuned, where runs of an agent differ in it.

    The bar of nothing is IMPALA, without or with auxiliary heads.
    """
    tables = []
    for part in parts:
        for agent, group in _by_agent(curves).items():
            for names, members in _apart(group):
                if names == ("agent.self_tuned",):
                    fixed = {"stac": "impala", "stacx": "impala_aux"}.get(agent)
                    members += [run for run in curves if run.label == fixed]
                    tables.append(_by_value(part, agent, names, members, "median"))
    return page.section("Self-tuned metaparameters", *tables)


def robustness(curves: Sequence[Run], parts: Sequence[Normalised]) -> str:
    """Fig. 4: means by the values of outer losses and initial metaparameters."""
    prefixes = ("agent.outer.", "agent.initial_raw")
    tables = [
        _by_value(part, agent, names, members, "mean")
        for part in parts
        for agent, group in _by_agent(curves).items()
        for names, members in _apart(group)
        if all(name.startswith(prefixes) for name in names)
    ]
    return page.section("Robustness", *tables)


def _by_agent(curves: Iterable[Run]) -> dict[str, list[Run]]:
    known = (run for run in curves if run.settings)
    return grouped(known, lambda run: str(run.settings["agent.name"]))


def _apart(group: Sequence[Run]) -> list[tuple[tuple[str, ...], list[Run]]]:
    """An agent's runs by the options in which they differ from most of its runs.

    [(options, runs), …]: each with the runs that differ in nothing. So a table of one
    option never mixes runs that differ in another one as well.
    """
    names = sorted({name for run in group for name in run.settings})
    values = {
        name: [str(run.settings[name]) for run in group if name in run.settings]
        for name in names
    }
    usual = {name: max(found, key=found.count) for name, found in values.items()}
    of_agent = [name for name in names if name.startswith("agent.")]

    def differing(run: Run) -> tuple[str, ...]:
        settings = run.settings
        return tuple(x for x in of_agent if str(settings.get(x, usual[x])) != usual[x])

    sets = grouped(group, differing)
    plain = sets.pop((), [])
    return [(names, plain + members) for names, members in sets.items()]


def _by_value(
    part: Normalised,
    agent: str,
    names: tuple[str, ...],
    members: Sequence[Run],
    over_tasks: str,
) -> str:
    """A row for each value of the options, and a shaded cell for each task."""
    members = [run for run in members if run.task in part.scales]
    values = grouped(members, lambda run: tuple(_text(run, name) for name in names))
    tasks = [task for task in part.scales if any(run.task == task for run in members)]
    means: dict[tuple[str, ...], list[float]] = {}
    for value, group in values.items():
        by_task = grouped(group, lambda run: run.task)
        means[value] = [
            _mean_score(part, task, by_task.get(task, [])) for task in tasks
        ]
    known = [x for row in means.values() for x in row if np.isfinite(x)]
    if len(means) < 2 or not known:
        return ""
    low, high = min(0.0, *known), max(known)
    together = np.nanmedian if over_tasks == "median" else np.nanmean
    over = {value: float(together(row)) for value, row in means.items()}
    rows: list[page.Row] = []
    for value in sorted(means, key=_sorted_by):
        row: list[Cell | str] = [", ".join(value)]
        axis = (min(0.0, *over.values()), max(0.0, *over.values()))
        mean = over[value]
        row.append(Cell(page.short(mean), mean, (mean, mean, mean), axis))
        for x in means[value]:
            cell = page.number(x)
            shade = (x - low) / ((high - low) or 1.0)
            row.append(cell._replace(shade=shade) if cell.text else cell)
        rows.append(row)
    words = " and ".join(names)
    heading = f"<h3>{page.html.escape(f'{agent}: {words}')}</h3>"
    note = page.paragraph(f"Mean {part.unit} over seeds; all other options alike.")
    return heading + note + page.table([words, over_tasks, *tasks], rows)


def _mean_score(part: Normalised, task: str, seeds: Sequence[Run]) -> float:
    finals = np.array([*map(scores.final, seeds)])
    return float(part.normalise(task, finals).mean()) if len(finals) else float("nan")


def _sorted_by(value: tuple[str, ...]) -> tuple[tuple[bool, float, str], ...]:
    return tuple(
        (not _is_number(x), float(x) if _is_number(x) else 0.0, x) for x in value
    )


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False


def _text(run: Run, name: str) -> str:
    value = run.settings.get(name)
    if isinstance(value, float):
        return f"{value:g}"
    return "unknown" if value is None else str(value) or "nothing"
