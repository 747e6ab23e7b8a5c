"""Figures of runs: returns, a panel a task, and self-tuned metaparameters."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stac.config import check
from stac.report.runs import Run, by_curve

if TYPE_CHECKING:  # a wrong command line is refused without the seconds of an import
    import matplotlib.axes
    import matplotlib.figure

# Mean returns after 10^8 steps from features: Tassa et al. (2018), the table of A3C.
A3C = {
    "ball_in_cup.catch": 104.7,
    "cartpole.balance": 951.6,
    "cartpole.swingup": 558.4,
    "walker.stand": 378.4,
}
# `python -m stac.evaluation.trivial_policies` on these: the best policy of each.
# Standard errors: 32 for the cup, 11 for the walker, less than 3 for the cartpole.
TRIVIAL = {
    "ball_in_cup.catch": 123.8,
    "cartpole.balance": 745.8,
    "cartpole.swingup": 74.8,
    "cartpole.swingup, realworld easy": 71.2,
    "walker.stand": 167.3,
}
AGENTS = {
    "impala": "tab:gray",
    "impala_aux": "tab:olive",
    "stac": "tab:orange",
    "stacx": "tab:blue",
}
OTHERS = ("tab:green", "tab:red", "tab:purple", "tab:brown", "tab:cyan")  # labels
# Head 1 is blue, as in Fig. 5(a); eight are the most that a variant has.
HEADS = (
    *("tab:blue", "tab:orange", "tab:pink", "tab:green"),
    *("tab:red", "tab:purple", "tab:brown", "tab:olive"),
)
TABLE = re.compile(r" of \S+\.csv$")  # of a label: the table the curve is from


def mean(seeds: Sequence[Run]) -> tuple[np.ndarray, np.ndarray]:
    """Frames and returns, from where all have returns as far as the shortest goes."""
    known = [run.known for run in seeds]
    start = max(frames[0] for frames, _ in known)
    end = min(frames[-1] for frames, _ in known)
    at = np.linspace(start, end, 200)
    return at, np.mean([np.interp(at, *curve) for curve in known], axis=0)


def colours(labels: Iterable[str]) -> dict[str, str]:
    """An agent's own colour for one label, its name if that is among them.

    Other labels get others in turn; a table's curve has the colour of the run's.
    """
    others = itertools.cycle(OTHERS)
    chosen: dict[str, str] = {}
    names = dict.fromkeys(TABLE.sub("", label) for label in labels)
    for name in sorted(names, key=lambda name: name not in AGENTS):
        own = AGENTS.get(re.split(r", | \(", name)[0])
        free = own is not None and own not in chosen.values()
        chosen[name] = own if own is not None and free else next(others)
    return {label: chosen[TABLE.sub("", label)] for label in labels}


def draw(
    curves: Sequence[Run], title: str, metaparameters: bool = False
) -> matplotlib.figure.Figure:
    """A panel a task; below, where asked for, panels for each self-tuned agent."""
    import matplotlib.figure

    tasks = list(dict.fromkeys(run.task for run in curves))
    columns = len(tasks) if len(tasks) < 4 else 2
    tall = [3.2 * -(-len(tasks) // columns)]
    groups = by_curve(run for run in curves if metaparameters and run.metaparameters)
    check(bool(groups) or not metaparameters, "--metaparameters: no run here tunes any")
    names = {key: _names(seeds) for key, seeds in groups.items()}
    tall += [2.2 * -(-len(tuned) // 3) + 0.4 for tuned in names.values()]
    wide = 9.0 if groups or columns > 1 else 6.0
    figure = matplotlib.figure.Figure(figsize=(wide, sum(tall)), layout="constrained")
    figure.suptitle(title)
    parts = figure.subfigures(len(tall), 1, height_ratios=tall, squeeze=False).flat
    _draw_returns(next(parts), curves, tasks, columns)
    for (key, seeds), part in zip(groups.items(), parts, strict=True):
        _draw_metaparameters(part, ", ".join(key), seeds, names[key])
    return figure


def _names(seeds: Iterable[Run]) -> list[str]:
    """Of the metaparameters, without their heads."""
    return list(
        dict.fromkeys(x.split("/")[0] for run in seeds for x in run.metaparameters)
    )


def _draw_returns(
    part: matplotlib.figure.SubFigure,
    curves: Sequence[Run],
    tasks: Sequence[str],
    columns: int,
) -> None:
    rows = -(-len(tasks) // columns)
    axes = part.subplots(rows, columns, squeeze=False).flat
    panels = dict(zip(tasks, axes, strict=False))
    colour = colours([run.label for run in curves])
    for (task, label), seeds in by_curve(curves).items():
        dashes = "--" if TABLE.search(label) else "-"
        look: dict[str, Any] = {"color": colour[label], "linestyle": dashes}
        for run in seeds if len(seeds) > 1 else ():
            _plot(
                panels[task], run.frames, run.returns, **look, linewidth=0.6, alpha=0.6
            )
        thick = mean(seeds) if len(seeds) > 1 else (seeds[0].frames, seeds[0].returns)
        _plot(panels[task], *thick, **look, linewidth=2.0, label=label)
    across: dict[str, Any] = {"color": "black", "linewidth": 1.0, "zorder": 0}
    for task, panel in panels.items():
        if task in A3C:
            panel.axhline(A3C[task], linestyle="--", label="A3C, 10^8 steps", **across)
        if task in TRIVIAL:
            trivial = "best of the trivial policies tried"
            panel.axhline(TRIVIAL[task], linestyle=":", label=trivial, **across)
        panel.set_title(task, fontsize="medium")
        panel.set_xlabel("million frames")
    for panel in list(panels.values())[::columns]:
        panel.set_ylabel("mean return, 100 episodes")
    for panel in part.axes[len(tasks) :]:
        panel.set_visible(False)
    _legend(part)


def _draw_metaparameters(
    part: matplotlib.figure.SubFigure,
    title: str,
    seeds: Sequence[Run],
    names: Sequence[str],
) -> None:
    part.suptitle(title, fontsize="medium")
    panels = part.subplots(-(-len(names) // 3), 3, squeeze=False).flat
    for panel, name in itertools.zip_longest(panels, names):
        panel.set_visible(name is not None)
        panel.set_title(name, fontsize="medium")
        for run, (head, colour) in itertools.product(seeds, enumerate(HEADS, start=1)):
            values = run.metaparameters.get(f"{name}/head_{head}")
            if values is not None:
                _plot(panel, run.frames, values, color=colour, label=f"head {head}")
    _legend(part)


def _plot(
    panel: matplotlib.axes.Axes, frames: np.ndarray, values: np.ndarray, **look: Any
) -> None:
    """A line, with gaps; a dot where only one value is known in all."""
    single = np.count_nonzero(~np.isnan(values)) == 1
    panel.plot(frames, values, marker="." if single else "", **look)


def _legend(part: matplotlib.figure.SubFigure) -> None:
    """One for all panels, below them."""
    lines = {
        label: line
        for panel in part.axes
        for line, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    below: dict[str, Any] = {"loc": "outside lower center", "fontsize": "small"}
    part.legend(lines.values(), lines.keys(), **below, ncols=3 if len(lines) < 7 else 4)
