"""Draws learning curves, a panel a task, and prints a table of returns.

    python -m stac.report.curves runs/control --output=control.png
    python -m stac.report.curves runs/control --beside=docs/control.csv --output=x.png
    python -m stac.report.curves docs/control.csv runs/new --output=docs/control.png

Each argument is a workdir, a folder with workdirs anywhere in it, or the table (.csv)
that was written beside an earlier figure. A run takes the place of a table's curve of
the same task, agent and seed. `--beside` draws a table's curves of the same tasks,
dashed, as agents of their own: "stac of control.csv". `--metaparameters` adds a panel
for each self-tuned metaparameter.

Thin lines are seeds, thick ones their mean; a gap is where no return was known. Runs of
one agent and task that differ in their configuration have curves of their own, and the
label says how they differ. For control from features, where known, two lines across:
A3C after 10^8 steps, and the best policy of `stac.evaluation.trivial_policies`. The
curves of runs are written beside the figure as a table, thinned, so that means over a
table are a little off (a noisy final return by 4).

A return, here as in metrics.jsonl, is the mean of the 100 episodes that ended last: on
the suite, of policies that are up to 124,000 steps old (with 24 environments).
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Iterable, Sequence

import numpy as np

from stac.config import check, choose
from stac.launch import asking
from stac.report import figures, runs, tables
from stac.report.figures import A3C, TRIVIAL
from stac.report.runs import Run

LAST = 0.05  # of a run: the final return is the mean over it
TABLE = ".csv"


def final(run: Run) -> float:
    """The mean return over the last of a run."""
    return _mean_after(run, 1.0 - LAST)


def whole(run: Run) -> float:
    """The mean return over a run: sooner learned is more."""
    return _mean_after(run, 0.0)


def _mean_after(run: Run, share: float) -> float:
    """All frames alike, for rows are as far apart as the machine was slow."""
    frames, returns = run.known
    at = np.linspace(share * frames[-1], frames[-1], 1000)
    return float(np.interp(at, frames, returns).mean())  # before the first: as it


def table(curves: Sequence[Run]) -> str:
    """Markdown, seed by seed: final return, mean over the run, and how far it went."""
    groups = runs.by_curve(curves)
    labels = list(dict.fromkeys(label for _, label in groups))
    tasks = list(dict.fromkeys(task for task, _ in groups))
    known = {"trivial": TRIVIAL, "A3C": A3C} if {*tasks} & TRIVIAL.keys() else {}
    lines = [f"| task | {' | '.join([*labels, *known])} |"]
    lines.append("|---" * (1 + len(labels) + len(known)) + "|")
    for task in tasks:
        cells = ["; ".join(map(_cell, groups.get((task, x), ()))) for x in labels]
        cells += [str(returns.get(task, "")) for returns in known.values()]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(run: Run) -> str:
    far = f"(seed {run.seed}, {run.frames[-1]:.2f}M)"
    return f"{_short(final(run))}, {_short(whole(run))} {far}"


def _short(mean_return: float) -> str:
    return f"{mean_return:.0f}" if abs(mean_return) >= 100 else f"{mean_return:.3g}"


def merged(earlier: Iterable[Run], later: Iterable[Run]) -> list[Run]:
    """All curves, but of the same task, label and seed the later; says which."""
    curves = {(run.task, run.label, run.seed): run for run in earlier}
    for run in later:
        name = (run.task, run.label, run.seed)
        if name in curves:
            old, new = (f"{known.frames[-1]:.2f}" for known in (curves[name], run))
            place = f"{new} million frames take the place of {old}"
            print(f"{run.task}, {run.label}, seed {run.seed}: {place}", file=sys.stderr)
        curves[name] = run
    return list(curves.values())


def _parser() -> argparse.ArgumentParser:
    parser = asking.Parser(description=__doc__.splitlines()[0])
    places = "workdirs, folders with workdirs in them, or tables (.csv)"
    parser.add_argument("runs", type=pathlib.Path, nargs="+", help=places)
    figure = "the figure: .png, .pdf or .svg"
    parser.add_argument("--output", type=pathlib.Path, required=True, help=figure)
    parser.add_argument("--title", default="", help="above the curves")
    beside = "a table whose curves of the same tasks are drawn, too, dashed"
    parser.add_argument("--beside", type=pathlib.Path, help=beside)
    again = "these alone; may be given again"
    parser.add_argument("--task", action="append", default=[], help=again)
    parser.add_argument("--agent", action="append", default=[], help=again)
    panels = "panels for self-tuned metaparameters"
    parser.add_argument("--metaparameters", action="store_true", help=panels)
    return parser


def _beside(path: pathlib.Path, tasks: Iterable[str]) -> list[Run]:
    """A table's curves of these tasks, labelled as the table's."""
    curves = [run for run in tables.read(path) if run.task in tasks]
    check(curves, f"{path}: has no curve of {', '.join(tasks)}")
    return [run._replace(label=f"{run.label} of {path.name}") for run in curves]


def _select(curves: Sequence[Run], tasks: list[str], agents: list[str]) -> list[Run]:
    """The curves of these tasks and agents, of all where none is named; sorted."""
    for task in tasks:
        choose("task", task, dict.fromkeys(run.task for run in curves))
    for agent in agents:
        choose("agent", agent, dict.fromkeys(run.label for run in curves))
    chosen = [
        run
        for run in curves
        if run.task in (tasks or [run.task]) and run.label in (agents or [run.label])
    ]
    check(chosen, f"there is no run of {', '.join(agents)} there")
    return sorted(chosen, key=lambda run: (run.task, run.label, run.seed))


def _check_output(arguments: argparse.Namespace) -> None:
    """Raises a ConfigError unless a figure, and a table beside it, may be written."""
    path = arguments.output
    cure = "is no figure: end it with .png, .pdf or .svg"
    check(path.suffix in (".png", ".pdf", ".svg"), f"--output={path}: {cure}")
    check(path.parent.is_dir(), f"--output={path}: there is no folder {path.parent}")
    partly = arguments.runs if arguments.task or arguments.agent else []
    for source in (*partly, *([arguments.beside] if arguments.beside else [])):
        same = source.resolve() == path.with_suffix(TABLE).resolve()
        check(not same, f"--output={path}: would write another table over {source}")


def _main(arguments: argparse.Namespace) -> None:
    _check_output(arguments)
    curves: list[Run] = []
    for path in arguments.runs:
        curves = merged(curves, tables.read(path)) if path.suffix == TABLE else curves
    workdirs = [path for path in arguments.runs if path.suffix != TABLE]
    curves = merged(curves, runs.read(workdirs))
    curves = _select(curves, arguments.task, arguments.agent)
    if arguments.beside:
        curves += _beside(arguments.beside, dict.fromkeys(run.task for run in curves))
        curves.sort(key=lambda run: (run.task, run.label, run.seed))
    figure = figures.draw(curves, arguments.title, arguments.metaparameters)
    print(table(curves))
    # Whole, however long its legend is.
    figure.savefig(arguments.output, dpi=110, bbox_inches="tight")
    print(f"written: {arguments.output}", file=sys.stderr)
    if workdirs:  # else the tables that were drawn have it all
        tables.write(curves, arguments.output.with_suffix(TABLE))


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    with asking.in_one_line(parser):
        _main(arguments)


if __name__ == "__main__":
    sys.exit(asking.run(main))
