"""The sections of a report, each from the runs; one without data is ""."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from stac.report import charts, comparisons, page, scores
from stac.report.charts import Drawn
from stac.report.page import Cell
from stac.report.runs import Run, by_curve
from stac.report.scores import Normalised

FRAMES = charts.FRAMES


def everything(
    curves: Sequence[Run],
    parts: Sequence[Normalised],
    drawn: Drawn,
    left_out: Sequence[str],
) -> list[str]:
    """All sections in their order."""
    known = [comparisons.intervals(part) for part in parts]
    pairs = list(zip(parts, known, strict=True))
    profiled = zip(parts, drawn.profiles, strict=True)
    section, colour = page.section, charts.colours(curves)
    aggregates = [comparisons.aggregates(*pair, colour) for pair in pairs]
    return [
        summary(curves, [comparisons.order(*pair) for pair in pairs]),
        learning(drawn),
        evaluations(curves, drawn),
        final_scores(scores.finished(curves)),
        section("Aggregates", *aggregates),
        section("Performance profiles", *(comparisons.profile(*x) for x in profiled)),
        section("Probability of improvement", *map(comparisons.improvement, parts)),
        section("Relative improvement", *map(comparisons.relative, parts)),
        metaparameters(drawn),
        comparisons.self_tuned(scores.finished(curves), parts),
        comparisons.robustness(scores.finished(curves), parts),
        run_times(scores.finished(curves)),
        read_runs(curves, left_out),
    ]


def summary(curves: Sequence[Run], orders: Sequence[str]) -> str:
    """Two sentences: what was read, and the order of the agents."""
    labels = _labels(curves)
    seeds = [len(group) for group in by_curve(curves).values()]
    most = max(run.frames[-1] for run in curves)
    names = ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")
    read = (
        f"{page.count(labels, 'agent')} ({names}) on"
        f" {page.count(_tasks(curves), 'task')}, with {_range(seeds)} each and up to"
        f" {page.short(most)} million frames a run."
    )
    cut = [run for run in curves if run.unfinished]
    if cut and len(cut) == len(curves):
        read += " No run is finished yet: scores are of what there is."
    elif cut:
        read += f" {page.count(cut, 'run')} not finished: in curves, but in no score."
    orders = orders or ["No order of agents is computed: no task has a common scale."]
    return page.section("Summary", *map(page.paragraph, [read, *orders]))


def learning(drawn: Drawn) -> str:
    note = page.paragraph(
        "Thick lines are means over seeds, as far as all seeds go; bands are 95 %"
        " intervals over three seeds or more, thin lines are seeds where there are"
        " fewer. Drag over a chart to zoom, double-click to zoom out."
    )
    return page.section(
        "Learning curves", note, page.drawn([*drawn.medians, *drawn.learning])
    )


def evaluations(curves: Sequence[Run], drawn: Drawn) -> str:
    if not drawn.evaluations:
        return ""
    rows: list[page.Row] = []
    ended = (run for run in scores.finished(curves) if run.evaluations)
    for (task, label), seeds in by_curve(ended).items():
        for way in charts.ways(seeds):
            ends = np.array([_last(run, f"{way}/return") for run in seeds])
            errors = np.array([_last(run, f"{way}/error") for run in seeds])
            human = np.array([_last(run, f"{way}/human_normalised") for run in seeds])
            error = (
                errors[0] if len(seeds) == 1 else ends.std(ddof=1) / len(seeds) ** 0.5
            )
            numbers = [page.number(x) for x in (ends.mean(), error, human.mean())]
            rows.append([task, label, way, str(len(seeds)), *numbers])
    header = ("task", "agent", "way", "seeds", "last return", "standard error")
    note = "Whole episodes with the newest parameters, under the suite's own protocol."
    table = page.table([*header, "human-normalised"], rows)
    return page.section(
        "Evaluations", page.paragraph(note), page.drawn(drawn.evaluations), table
    )


def _last(run: Run, name: str) -> float:
    values = run.evaluations.get(name, np.array([np.nan]))
    known = values[~np.isnan(values)]
    return float(known[-1]) if len(known) else float("nan")


def final_scores(curves: Sequence[Run]) -> str:
    """A row for each task: mean final returns, and published scores beside them."""
    groups, labels = by_curve(curves), _labels(curves)
    columns = dict.fromkeys(
        x for task in _tasks(curves) for x in scores.published(task)
    )
    rows: list[page.Row] = []
    for task in _tasks(curves):
        row: list[Cell | str] = [task]
        for label in labels:
            row.append(_final(groups.get((task, label), [])))
        known = scores.published(task)
        row += [page.number(known.get(name, float("nan"))) for name in columns]
        rows.append(row)
    note = page.paragraph(
        "Mean return over the last 5 % of a run, ± the standard deviation over seeds"
        " where there are several. "
        + (
            "Columns after the agents are published: see"
            " stac/references; others' frames and protocols differ."
            if columns
            else ""
        )
    )
    return page.section(
        "Final scores", note, page.table(["task", *labels, *columns], rows)
    )


def _final(seeds: Sequence[Run]) -> Cell:
    if not seeds:
        return Cell("")
    finals = np.array([*map(scores.final, seeds)])
    spread = f" ± {page.short(finals.std(ddof=1))}" if len(seeds) > 1 else ""
    return Cell(page.short(finals.mean()) + spread, float(finals.mean()))


def metaparameters(drawn: Drawn) -> str:
    """Fig. 5, 10 to 19: head 1, which acts, is blue."""
    groups = drawn.metaparameters
    folds = [
        page.fold(", ".join(key), page.drawn(group), opened=index == 0)
        for index, (key, group) in enumerate(groups.items())
    ]
    note = page.paragraph("Head 1, which acts, is blue; means over seeds.")
    return page.section("Metaparameters", note, *folds) if folds else ""


def run_times(curves: Sequence[Run]) -> str:
    """Table 4, with speeds: hours and frames per second of a run, means over seeds."""
    timed = by_curve(run for run in curves if run.seconds > 0)
    rows: list[page.Row] = []
    for (task, label), seeds in timed.items():
        hours = float(np.mean([run.seconds / 3600 for run in seeds]))
        frames = float(np.mean([run.frames[-1] for run in seeds]))
        speed = float(np.mean([1e6 * run.frames[-1] / run.seconds for run in seeds]))
        numbers = [page.number(x) for x in (frames, hours, speed)]
        rows.append([task, label, str(len(seeds)), *numbers])
    header = ("task", "agent", "seeds", FRAMES, "hours", "frames/s")
    return page.section("Run times", page.table(header, rows)) if rows else ""


def read_runs(curves: Sequence[Run], left_out: Sequence[str]) -> str:
    rows: list[page.Row] = [
        [
            run.task,
            run.label,
            Cell(str(run.seed), float(run.seed)),
            page.number(run.frames[-1]),
            run.source,
        ]
        for run in curves
    ]
    table = page.table(("task", "agent", "seed", FRAMES, "read from"), rows)
    reasons = "".join(f"<li>{page.html.escape(reason)}</li>" for reason in left_out)
    reasons = reasons and f"<h3>Left out</h3><ul>{reasons}</ul>"
    folded = page.fold(f"{page.count(curves, 'run')} read", table)
    return page.section("Runs", folded, reasons)


def _labels(curves: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.label for run in curves))


def _tasks(curves: Iterable[Run]) -> list[str]:
    return list(dict.fromkeys(run.task for run in curves))


def _range(seeds: Sequence[int]) -> str:
    low, high = min(seeds), max(seeds)
    return (
        f"{low} seed{'' if low == 1 else 's'}"
        if low == high
        else f"{low} to {high} seeds"
    )


def markdown(curves: Sequence[Run]) -> str:
    """Markdown, seed by seed: final return, mean over the run, and how far it went."""
    groups, labels = by_curve(curves), _labels(curves)
    tasks = _tasks(curves)
    known = dict.fromkeys(x for task in tasks for x in scores.published(task))
    lines = [f"| task | {' | '.join([*labels, *known])} |"]
    lines.append("|---" * (1 + len(labels) + len(known)) + "|")
    for task in tasks:
        cells = ["; ".join(map(_words, groups.get((task, x), ()))) for x in labels]
        cells += [str(scores.published(task).get(x, "")) for x in known]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _words(run: Run) -> str:
    far = f"(seed {run.seed}, {run.frames[-1]:.2f}M)"
    return f"{page.short(scores.final(run))}, {page.short(scores.whole(run))} {far}"
