"""Draws many runs of a suite, a panel a task, and prints a table of final returns.

    python -m benchmarks.suite_curves runs/control --output=docs/control.png

The runs are <folder>/<task>/<agent>_s<seed>, as `--workdir` named them. Thin lines are
seeds, thick ones their mean; the grey line is A3C after 10^8 steps, where it is known.
"""

from __future__ import annotations

import argparse
import pathlib
import re

import matplotlib.figure
import numpy as np

from benchmarks import curves

# Mean returns after 10^8 steps from features: Tassa et al. (2018), the table of A3C.
A3C = {
    "ball_in_cup.catch": 104.7,
    "cartpole.balance": 951.6,
    "cartpole.swingup": 558.4,
    "walker.stand": 378.4,
}
COLOURS = {"impala": "tab:gray", "stac": "tab:orange", "stacx": "tab:blue"}
LAST = 0.05  # of a run: what its final return is the mean over

Curve = tuple[np.ndarray, np.ndarray]  # million frames, mean return of 100 episodes
Task = dict[str, dict[int, Curve]]  # agent: seed: curve


def read(folder: pathlib.Path) -> dict[str, Task]:
    """Curves by task, agent and seed."""
    tasks: dict[str, Task] = {}
    for path in sorted(folder.glob("*/*_s*/metrics.jsonl")):
        agent, seed = re.fullmatch(r"(\w+)_s(\d+)", path.parent.name).groups()
        curve = curves.column(curves.read(path.parent), "episode_return")
        of_agent = tasks.setdefault(path.parts[-3], {}).setdefault(agent, {})
        of_agent[int(seed)] = curve
    return tasks


def final(curve: Curve) -> float:
    """The mean over the last of a run."""
    frames, returns = curve
    return float(returns[frames >= (1.0 - LAST) * frames[-1]].mean())


def mean(of_agent: dict[int, Curve]) -> Curve:
    """Over seeds, as far as the shortest goes."""
    end = min(frames[-1] for frames, _ in of_agent.values())
    at = np.linspace(0.0, end, 200)
    return at, np.mean([np.interp(at, *curve) for curve in of_agent.values()], axis=0)


def draw(tasks: dict[str, Task], title: str) -> matplotlib.figure.Figure:
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(5 * columns, 3.2 * rows), layout="constrained"
    )
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for panel, (task, agents) in zip(panels, tasks.items(), strict=False):
        for agent, seeds in agents.items():
            colour = COLOURS.get(agent, "black")
            for curve in seeds.values():
                panel.plot(*curve, color=colour, linewidth=0.6, alpha=0.6)
            panel.plot(*mean(seeds), color=colour, linewidth=2.0, label=agent)
        if task in A3C:
            panel.axhline(A3C[task], color="0.8", zorder=0, label="A3C, 10^8 steps")
        panel.set_title(task, fontsize="medium")
        panel.set(xlabel="million steps", ylabel="mean return, 100 episodes")
        panel.set_ylim(0, 1000)
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    panels[0].legend(fontsize="small")
    figure.suptitle(title)
    return figure


def table(tasks: dict[str, Task]) -> str:
    """Markdown: final returns, seed by seed, and how far each run went."""
    names = list(dict.fromkeys(agent for agents in tasks.values() for agent in agents))
    lines = [f"| task | {' | '.join(names)} | A3C |", "|---" * (len(names) + 2) + "|"]
    for task, agents in tasks.items():
        cells = [_cell(agents.get(name, {})) for name in names]
        lines.append(f"| {task} | {' | '.join(cells)} | {A3C.get(task, '')} |")
    return "\n".join(lines)


def _cell(of_agent: dict[int, Curve]) -> str:
    return ", ".join(
        f"{final(curve):.0f} (seed {seed}, {curve[0][-1]:.2f}M)"
        for seed, curve in sorted(of_agent.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--title", default="")
    arguments = parser.parse_args()
    tasks = read(arguments.folder)
    if not tasks:
        parser.error(f"no <task>/<agent>_s<seed>/metrics.jsonl in {arguments.folder}")
    print(table(tasks))
    draw(tasks, arguments.title).savefig(arguments.output, dpi=110)


if __name__ == "__main__":
    main()
