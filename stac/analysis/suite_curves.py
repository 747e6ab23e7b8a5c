"""Draws many runs of a suite, a panel a task, and prints a table of final returns.

    python -m stac.analysis.suite_curves runs/control --output=docs/control.png

The runs are <folder>/<task>/<agent>_s<seed>, as `--workdir` named them, or where they
are by default, <folder>/<task>/<agent>_<variant>_seed<seed>; what observations and
which challenge they had is read from their config.json. Thin lines are seeds,
thick ones their mean; a gap is where no return was known. For control from features,
where known, two lines across: A3C after 10^8 steps, and the best policy of
`stac.analysis.trivial_policies`. Beside the figure goes a table of the curves, .csv.

`--beside=docs/control.csv` draws an earlier figure's curves of the same tasks beside
them, dashed, as agents of their own: "stac of control.csv". `--extend=docs/control.csv`
draws that figure again with the runs in <folder> among its own; they take the place of
those of the same task, agent and seed. A table's curves are thinned, so their means are
a little off (a noisy final return by 4).

A return, here as in metrics.jsonl, is the mean of the 100 episodes that ended last: on
the suite, of policies that are up to 124,000 steps old (with 24 environments).
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys

import matplotlib.figure
import matplotlib.lines
import numpy as np

from stac.analysis import asking, curve_tables, curves
from stac.analysis.curve_tables import Task
from stac.analysis.curves import Curve
from stac.config import ConfigError, check
from stac.configs import control, realworld
from stac.runtime.storage import workdir

# Mean returns after 10^8 steps from features: Tassa et al. (2018), the table of A3C.
A3C = {
    "ball_in_cup.catch": 104.7,
    "cartpole.balance": 951.6,
    "cartpole.swingup": 558.4,
    "walker.stand": 378.4,
}
# `python -m stac.analysis.trivial_policies` on these: the best policy of each. Standard
# errors: 32 for the cup, 11 for the walker, less than 3 for the cartpole.
TRIVIAL = {
    "ball_in_cup.catch": 123.8,
    "cartpole.balance": 745.8,
    "cartpole.swingup": 74.8,
    "cartpole.swingup, realworld easy": 71.2,
    "walker.stand": 167.3,
}
LAST = 0.05  # of a run: what its final return is the mean over

FEATURES = {"domain": "control", "observations": "features"}  # what A3C learned from
KEYS = {"domain", "task", "observations", "challenges"}  # read of a config.json

_VARIANTS = "|".join((*control.NETWORKS, *realworld.CHALLENGES))
_RUN = re.compile(rf"(?P<agent>\w+?)(_({_VARIANTS}))?_s(eed)?(?P<seed>\d+)")


def read(folder: pathlib.Path) -> dict[str, Task]:
    """Curves by task, agent and seed, of the runs that have ended an episode.

    A task is the name of its folder, and what it is of, if not control from features.
    What is left out is told.

    Raises:
      ConfigError: two runs are one agent's and have one seed.
    """
    tasks: dict[str, Task] = {}
    without: list[str] = []
    for path in sorted(folder.glob("*/*/metrics.jsonl")):
        named = _RUN.fullmatch(path.parent.name)
        if named is None:
            said = f"left out: {path.parent}: its name is not <agent>_s<seed>"
            print(said, file=sys.stderr)
            continue
        try:
            setting = _setting(path.parent)
            curve = curves.column(curves.read(path.parent), "episode_return")
            ended = bool(len(curves.known(curve)[0]))
            check(ended, f"{path.parent}: it has ended no episode yet")
        except ConfigError as error:
            without.append(f"left out: {error}")
            continue
        task = tasks.setdefault(path.parts[-3] + setting, {})
        agent, seed = named["agent"], int(named["seed"])
        seeds = task.setdefault(agent, {})
        said = f"{path.parent}: another run of {agent} there has its seed; rename one"
        check(seed not in seeds, said)
        seeds[seed] = curve
    for line in without if tasks else ():
        print(line, file=sys.stderr)
    return tasks


def _setting(folder: pathlib.Path) -> str:
    """`, realworld easy`, `, pixels`, or nothing for control from features.

    A combined challenge of which anything was changed is `, realworld changed`.

    Raises:
      ConfigError: no config.json of this version is there.
    """
    there = (folder / workdir.CONFIG).exists()
    environment = workdir.written(folder).get("environment") if there else None
    said = f"{folder}: its config.json is missing, damaged, or of another version"
    if not isinstance(environment, dict) or not environment.keys() >= KEYS:
        raise ConfigError(said)
    if environment["domain"] == "realworld":
        of_domain = environment["task"].split(".")[0]
        for name in realworld.CHALLENGES:
            combined = dataclasses.asdict(realworld.challenges(of_domain, name))
            if combined == environment["challenges"]:
                return f", realworld {name}"
        return ", realworld changed"
    words = (environment["domain"], environment["observations"])
    others = [word for word in words if word not in FEATURES.values()]
    return f", {' '.join(others)}" if others else ""


def final(curve: Curve) -> float:
    """The mean over the last of a run."""
    return _mean_after(curve, 1.0 - LAST)


def whole(curve: Curve) -> float:
    """The mean over a run: whoever learns sooner has more."""
    return _mean_after(curve, 0.0)


def _mean_after(curve: Curve, share: float) -> float:
    """All steps alike, for rows are as far apart as the machine was slow."""
    frames, returns = curves.known(curve)
    at = np.linspace(share * frames[-1], frames[-1], 1000)
    return float(np.interp(at, frames, returns).mean())  # before the first: as it


def mean(of_agent: dict[int, Curve]) -> Curve:
    """Over seeds, from where all have returns as far as the shortest goes."""
    known = [curves.known(curve) for curve in of_agent.values()]
    start = max(frames[0] for frames, _ in known)
    end = min(frames[-1] for frames, _ in known)
    at = np.linspace(start, end, 200)
    return at, np.mean([np.interp(at, *curve) for curve in known], axis=0)


def draw(tasks: dict[str, Task], title: str) -> matplotlib.figure.Figure:
    columns = min(2, len(tasks))
    rows = -(-len(tasks) // columns)
    figure = matplotlib.figure.Figure(
        figsize=(5 * columns, 3.2 * rows), layout="constrained"
    )
    names = [label.split(curve_tables.OF)[0] for label in _agents(tasks)]
    colours = curves.colours(list(dict.fromkeys(names)))
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
    for panel, (task, agents) in zip(panels, tasks.items(), strict=False):
        for agent, seeds in agents.items():
            name, *others = agent.split(curve_tables.OF)
            look = {"color": colours[name], "linestyle": "--" if others else "-"}
            for curve in seeds.values():
                curves.plot(panel, curve, **look, linewidth=0.6, alpha=0.6)
            thick = mean(seeds) if len(seeds) > 1 else next(iter(seeds.values()))
            curves.plot(panel, thick, **look, linewidth=2.0, label=agent)
        across = {"color": "black", "linewidth": 1.0, "zorder": 0}
        if task in A3C:
            panel.axhline(A3C[task], linestyle="--", label="A3C, 10^8 steps", **across)
        if task in TRIVIAL:
            label = "best of the trivial policies tried"
            panel.axhline(TRIVIAL[task], linestyle=":", label=label, **across)
        panel.set_title(task, fontsize="medium")
        panel.set(xlabel="million steps", ylabel="mean return, 100 episodes")
        panel.set_ylim(0, 1000)
    for panel in panels[len(tasks) :]:
        panel.set_visible(False)
    named: dict[str, matplotlib.lines.Line2D] = {}
    for panel in panels:
        lines, labels = panel.get_legend_handles_labels()
        named |= dict(zip(labels, lines, strict=True))
    below = {"loc": "outside lower center", "ncols": 3, "fontsize": "small"}
    figure.legend(named.values(), named.keys(), **below)
    figure.suptitle(title)
    return figure


def table(tasks: dict[str, Task]) -> str:
    """Markdown, seed by seed: final return, mean over the run, and how far it went."""
    names = _agents(tasks)
    header = f"| task | {' | '.join(names)} | trivial | A3C |"
    lines = [header, "|---" * (len(names) + 3) + "|"]
    for task, agents in tasks.items():
        cells = [_cell(agents.get(name, {})) for name in names]
        cells += [str(known.get(task, "")) for known in (TRIVIAL, A3C)]
        lines.append(f"| {task} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _agents(tasks: dict[str, Task]) -> list[str]:
    """All agents there are, in the order of their first task."""
    return list(dict.fromkeys(agent for agents in tasks.values() for agent in agents))


def _cell(of_agent: dict[int, Curve]) -> str:
    return "; ".join(
        f"{final(curve):.0f}, {whole(curve):.0f} (seed {seed}, {curve[0][-1]:.2f}M)"
        for seed, curve in sorted(of_agent.items())
    )


def main() -> None:
    parser = asking.Parser(description=__doc__.splitlines()[0])
    of_runs = "of runs: <task>/<agent>_s<seed>, or <task>/<agent>_<variant>_seed<seed>"
    parser.add_argument("folder", type=pathlib.Path, help=of_runs)
    curves.add_figure(parser)
    earlier = parser.add_mutually_exclusive_group()
    of_others = "the .csv of an earlier figure, whose curves are drawn, too, dashed"
    earlier.add_argument("--beside", type=pathlib.Path, help=of_others)
    of_same = "the .csv of an earlier figure, to draw it again with these runs"
    earlier.add_argument("--extend", type=pathlib.Path, help=of_same)
    arguments = parser.parse_args()
    with asking.in_one_line(parser):
        curves.check_figure(arguments.output)
        numbers = arguments.output.with_suffix(".csv")
        table_of = arguments.beside or arguments.extend
        others = curve_tables.written(table_of) if table_of else {}
        folder = arguments.folder
        check(folder.is_dir(), f"{folder}: is no folder")
        there = bool(list(folder.glob("*/*/metrics.jsonl")))
        check(there, f"{folder}: no <task>/<agent>_s<seed>/metrics.jsonl is in it")
        tasks = read(folder)
        check(bool(tasks), f"{folder}: no run in it has ended an episode yet")
        if arguments.beside:
            name = arguments.beside.name
            same = arguments.beside.resolve() == numbers.resolve()
            said = f"--output={arguments.output}: would write over --beside's {name}"
            check(not same, said)
            curve_tables.beside(tasks, others, name)
        if arguments.extend:
            for line in curve_tables.replaced(tasks, others):
                print(line, file=sys.stderr)
            tasks = curve_tables.merged(tasks, others)
        print(table(tasks))
        curves.save(draw(tasks, arguments.title), arguments.output)
        curve_tables.write(tasks, numbers)


if __name__ == "__main__":
    sys.exit(asking.run(main))
