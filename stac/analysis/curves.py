"""Draws learning curves and metaparameters of finished runs, side by side.

    python -m stac.analysis.curves runs/impala runs/stacx --output=docs/breakout.png

Each run is a workdir; its last folder name is its label.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import matplotlib.axes
import matplotlib.figure
import numpy as np

from stac.analysis import asking
from stac.config import check
from stac.runtime.logs import loggers

COUNTS = ("frames", "episodes", "seconds")  # in every row
NAMES = ("gamma", "lambda", "alpha", "g_v", "g_p", "g_e")
# Head 1 is blue, as in Fig. 5(a); eight are the most that a variant has.
HEADS = (
    *("tab:blue", "tab:orange", "tab:pink", "tab:green"),
    *("tab:red", "tab:purple", "tab:brown", "tab:olive"),
)
AGENTS = {
    "impala": "tab:gray",
    "impala_aux": "tab:olive",
    "stac": "tab:orange",
    "stacx": "tab:blue",
}
OTHERS = ("tab:green", "tab:red", "tab:purple", "tab:brown", "tab:cyan")  # runs

Curve = tuple[np.ndarray, np.ndarray]  # million frames, values


def read(workdir: pathlib.Path) -> list[dict]:
    """The rows of one run, in order, without those a continued run made again.

    Raises:
      ConfigError: there are none, or one without its counts.
    """
    kept: list[dict] = []
    there = (workdir / "metrics.jsonl").exists()
    check(there, f"{workdir}: is no run's workdir: it has no metrics.jsonl")
    for row in loggers.rows(workdir / "metrics.jsonl"):
        damaged = f"{workdir}/metrics.jsonl: has a row without {', '.join(COUNTS)}"
        check(set(COUNTS) <= row.keys(), damaged)
        while kept and kept[-1]["frames"] >= row["frames"]:
            kept.pop()
        kept.append(row)
    check(bool(kept), f"{workdir}: nothing is logged there yet")
    return kept


def column(rows: list[dict], name: str) -> Curve:
    """Frames in millions and values, NaN where there is none: a gap when drawn.

    Returns have one at the start, until an episode has ended.
    """
    frames = np.array([row["frames"] for row in rows]) / 1e6
    return frames, np.array([row.get(name) for row in rows], float)


def known(curve: Curve) -> Curve:
    """Without the gaps."""
    there = ~np.isnan(curve[1])
    return curve[0][there], curve[1][there]


def plot(panel: matplotlib.axes.Axes, curve: Curve, **look: Any) -> None:
    """A line, with gaps; a dot where only one value is known in all."""
    alone = len(known(curve)[0]) == 1
    panel.plot(*curve, marker="." if alone else "", **look)


def colours(labels: list[str]) -> dict[str, str]:
    """Of <agent> or <agent>_<what else>: the agent's own, once, else others in turn.

    <agent> itself comes first.
    """
    others = itertools.cycle(OTHERS)
    chosen: dict[str, str] = {}
    for label in sorted(labels, key=lambda label: label not in AGENTS):
        named = [agent for agent in AGENTS if f"{label}_".startswith(f"{agent}_")]
        own = AGENTS[max(named, key=len)] if named else None
        taken = own in chosen.values()
        chosen[label] = next(others) if taken or own is None else own
    return chosen


def draw(runs: dict[str, list[dict]], title: str) -> matplotlib.figure.Figure:
    """Returns above; below them, one panel a metaparameter of the last tuned run."""
    figure = matplotlib.figure.Figure(figsize=(10, 8), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=(2, 1, 1))
    returns = figure.add_subplot(grid[0, :])
    chosen = colours(list(runs))
    for label, rows in runs.items():
        curve = column(rows, "episode_return")
        plot(returns, curve, color=chosen[label], label=label)
    returns.set(xlabel="million frames", ylabel="mean return, 100 episodes")
    returns.set_title(title)
    returns.legend()
    tuned = [label for label, rows in runs.items() if _tuned(rows)]
    for number, name in enumerate(NAMES if tuned else ()):
        panel = figure.add_subplot(grid[1 + number // 3, number % 3])
        for head, colour in enumerate(HEADS, start=1):
            frames, values = column(
                runs[tuned[-1]], f"hyperparameters/{name}/head_{head}"
            )
            if not np.isnan(values).all():
                plot(panel, (frames, values), color=colour, label=f"head {head}")
        if number == 0:
            panel.legend(fontsize="small")
        panel.set_title(f"{name} ({tuned[-1]})", fontsize="medium")
    return figure


def _tuned(rows: list[dict]) -> bool:
    return any(name.startswith("metagradient/") for name in rows[-1])


def describe(label: str, rows: list[dict]) -> str:
    """Mean of the rows at the start and at the end, and the best one, in one line.

    There is none before an episode has ended.
    """
    frames, values = known(column(rows, "episode_return"))
    end = rows[-1]["frames"] / 1e6
    return (
        f"{label}: {_said(values[frames < 0.05 * end], np.mean)} over the first 5 %,"
        f" {_said(values[frames > 0.95 * end], np.mean)} over the last 5 %,"
        f" best {_said(values, np.max)}; {end:.2f}M frames,"
        f" {rows[-1]['episodes']:.0f} episodes, {rows[-1]['seconds']:.0f} s"
    )


def _said(returns: np.ndarray, of: Callable[[np.ndarray], float]) -> str:
    return f"{of(returns):.2f}" if len(returns) else "none"


def add_figure(parser: argparse.ArgumentParser) -> None:
    of_figure = "the figure: .png, .pdf, .svg or the like"
    parser.add_argument("--output", type=pathlib.Path, required=True, help=of_figure)
    parser.add_argument("--title", default="", help="above the curves")


def check_figure(path: pathlib.Path) -> None:
    """Raises a ConfigError unless a figure can be written under this name."""
    kinds = matplotlib.figure.Figure().canvas.get_supported_filetypes()
    said = f"--output={path}: is no figure: end it with .png, .pdf or .svg"
    check(path.suffix.removeprefix(".") in kinds, said)
    check(path.parent.is_dir(), f"--output={path}: there is no folder {path.parent}")


def save(figure: matplotlib.figure.Figure, path: pathlib.Path) -> None:
    """Whole, however long its legend is; says so."""
    figure.savefig(path, dpi=110, bbox_inches="tight")
    print(f"written: {path}", file=sys.stderr)


def main() -> None:
    parser = asking.Parser(description=__doc__.splitlines()[0])
    of_runs = "of the runs; the folders' own names are their labels"
    parser.add_argument("workdirs", type=pathlib.Path, nargs="+", help=of_runs)
    add_figure(parser)
    arguments = parser.parse_args()
    with asking.in_one_line(parser):
        check_figure(arguments.output)
        runs = {path.name: read(path) for path in arguments.workdirs}
        for label, rows in runs.items():
            print(describe(label, rows))
        save(draw(runs, arguments.title), arguments.output)


if __name__ == "__main__":
    sys.exit(asking.run(main))
