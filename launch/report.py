"""`python -m launch.report RUN [RUN…] --out=DIR`: one page that compares runs.

    python -m launch.report runs/control --out=report
    python -m launch.report runs/control docs/control.csv --out=report
    python -m launch.report runs/new --beside=docs/control.csv --out=report

Each RUN is a workdir, a folder with workdirs anywhere in it, or a table (.csv) that an
earlier report wrote. DIR/index.html needs no other file and no network; beside it are
its figures as PNG and the curves as a table, thinned, so that means over a table are a
little off. A run takes the place of a table's curve of the same task, agent and seed.
`--beside` draws a table's curves of the same tasks, dashed, as agents of their own:
"stac of control.csv". Runs of one agent and task that differ in their configuration
have curves of their own, and the label says how they differ.

A return, here as in metrics.jsonl, is the mean of the 100 episodes that ended last: on
the control suite, of policies that are up to 124,000 steps old (with 24 environments).
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import re
import sys
from collections.abc import Iterable, Sequence

from stac.config import check, choose
from stac.launch import cli
from stac.report import charts, figures, page, runs, scores, sections, tables
from stac.report.runs import Run
from stac.runtime.faults import lines

TABLE = ".csv"


def _parser(name: str) -> argparse.ArgumentParser:
    about = __doc__.splitlines()[0].split(": ", 1)[1]
    parser = cli.Parser(prog=name, description=about)
    places = "workdirs, folders with workdirs in them, or tables (.csv)"
    parser.add_argument("runs", type=cli.path, nargs="+", metavar="RUN", help=places)
    here = pathlib.Path("report")
    folder = "a folder (default %(default)s)"
    parser.add_argument("--out", type=cli.path, default=here, help=folder)
    parser.add_argument("--title", default="Report of runs", help="above the page")
    beside = "a table whose curves of the same tasks are drawn, too, dashed"
    parser.add_argument("--beside", type=cli.path, help=beside)
    for flag, few in (("--task", "breakout,asterix"), ("--agent", "impala,stacx")):
        about = f"these alone, as in {few}"
        parser.add_argument(flag, action="append", default=[], help=about)
    return parser


def _main(name: str, arguments: list[str]) -> None:
    """Writes the report."""
    options = _parser(name).parse_args(arguments)
    found = _read(options.runs)
    for reason in found.left_out:
        lines.to_stderr(f"left out: {reason}")
    curves = _select(found.runs, options.task, options.agent)
    if options.beside:
        curves += _beside(options.beside, dict.fromkeys(run.task for run in curves))
        curves.sort(key=_key)
    out = options.out
    check(not out.exists() or out.is_dir(), f"--out={out}: is no folder")
    partly = options.runs if options.task or options.agent else []
    sources = [*partly, *([options.beside] if options.beside else [])]
    for source in sources:
        same = source.resolve() == (out / "curves.csv").resolve()
        check(not same, f"--out={out}: would write another table over {source}")
    out.mkdir(parents=True, exist_ok=True)
    parts = scores.normalised(scores.finished(curves))
    drawn = charts.every(curves, parts)
    inside = sections.everything(curves, parts, drawn, found.left_out)
    (out / "index.html").write_text(page.whole(options.title, inside), encoding="utf-8")
    tables.write(curves, out / "curves.csv")
    if importlib.util.find_spec("matplotlib"):
        for file, group in _named(drawn).items():
            (out / f"{file}.png").write_bytes(figures.png(figures.draw(group)))
    else:
        lines.to_stderr("no PNG files, which need: pip install 'stac-rl[figures]'")
    lines.to_stdout(sections.markdown(curves))
    lines.to_stderr(f"written: {out / 'index.html'}")


def _read(places: Iterable[pathlib.Path]) -> runs.Found:
    """All curves; of the same task, label and seed a run's rather than a table's.

    Raises:
      ConfigError: there is nothing that can be drawn.
    """
    places = list(places)
    found = runs.read(place for place in places if place.suffix != TABLE)
    curves: dict[tuple[str, str, int], Run] = {}
    left_out = list(found.left_out)
    for place in places:
        if place.suffix == TABLE:
            with runs.noting(place, left_out):
                curves = _merged(curves, tables.read(place))
    curves = _merged(curves, found.runs)
    check(curves, left_out[0] if left_out else "the tables have no rows")
    return runs.Found([*curves.values()], left_out)


def _merged(
    earlier: dict[tuple[str, str, int], Run], later: Iterable[Run]
) -> dict[tuple[str, str, int], Run]:
    """All curves, but of the same task, label and seed the later; says which."""
    curves = dict(earlier)
    for run in later:
        name = _key(run)
        if name in earlier:
            old, new = (f"{known.frames[-1]:.2f}" for known in (earlier[name], run))
            place = f"{new} million frames take the place of {old}"
            lines.to_stderr(f"{run.task}, {run.label}, seed {run.seed}: {place}")
        curves[name] = run
    return curves


def _key(run: Run) -> tuple[str, str, int]:
    return run.task, run.label, run.seed


def _beside(path: pathlib.Path, tasks: Iterable[str]) -> list[Run]:
    """A table's curves of these tasks, labelled as the table's."""
    curves = [run for run in tables.read(path) if run.task in tasks]
    check(curves, f"{path}: has no curve of {', '.join(tasks)}")
    return [run._replace(label=f"{run.label} of {path.name}") for run in curves]


def _select(
    curves: Sequence[Run], tasks: Sequence[str], agents: Sequence[str]
) -> list[Run]:
    """The curves of these tasks and agents, of all where none is named; sorted."""
    of_tasks = _meant("task", tasks, [run.task for run in curves])
    of_agents = _meant("agent", agents, [run.label for run in curves])
    chosen = [x for x in curves if x.task in of_tasks and x.label in of_agents]
    check(chosen, f"there is no run of {', '.join(agents)} there")
    return sorted(chosen, key=_key)


def _meant(what: str, given: Sequence[str], known: Sequence[str]) -> set[str]:
    """Names from `breakout,asterix`: each whole, or else every "breakout, …"."""
    if not given:
        return set(known)
    meant: set[str] = set()
    for word in re.split(",(?! )", ",".join(given)):
        parts = {name for name in known if name.partition(", ")[0] == word}
        if word in known or not parts:
            parts = {choose(what, word, dict.fromkeys(known))}
        meant |= parts
    return meant


def _named(drawn: charts.Drawn) -> dict[str, Sequence[charts.Chart]]:
    """The figures by the names of their files: one for a section, as in papers."""
    figure: dict[str, Sequence[charts.Chart]] = {
        "learning_curves": drawn.learning,
        "medians": drawn.medians,
        "evaluations": drawn.evaluations,
        "profiles": drawn.profiles,
    }
    for key, group in drawn.metaparameters.items():
        name = re.sub(r"[^\w.=-]+", "_", f"metaparameters_{'_'.join(key)}")[:150]
        figure[f"{name}_{len(figure)}" if name in figure else name] = group
    return {name: group for name, group in figure.items() if group}


main = cli.script("launch.report", _main)

if __name__ == "__main__":
    sys.exit(main())
