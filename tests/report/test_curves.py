"""Figures of runs: which runs are read, how they are labelled, drawn and printed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

from stac.config import Config
from stac.configs import realworld
from stac.report import curves, figures, runs, tables
from stac.report.runs import Run
from tests import refusals

TASK = "cartpole.balance"
# (frames, return): stopped at a million, killed and continued from half a million.
ROWS = [
    *((200_000, None), (500_000, 100.0), (1_000_000, 300.0)),
    *((600_000, None), (1_000_000, 500.0), (1_950_000, 800.0), (2_000_000, 1000.0)),
]
EASY = {
    f"environment.challenges.{name}": value
    for name, value in vars(realworld.challenges("cartpole", "easy")).items()
}


def run(
    place: pathlib.Path,
    agent: str = "stac",
    seed: int = 1,
    rows: Any = tuple(ROWS),
    **changes: Any,
) -> None:
    """Writes a run's config.json and metrics.jsonl."""
    config = dataclasses.asdict(Config())
    named = {"agent.name": agent, "seed": seed, "environment.domain": "control"}
    for name, value in (named | {"environment.task": TASK} | changes).items():
        *parents, leaf = name.split(".")
        node = config
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    place.mkdir(parents=True)
    (place / "config.json").write_text(json.dumps(config))
    lines = [json.dumps({"frames": at, "episode_return": r}) for at, r in rows]
    (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def command(*arguments: object) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["x", *map(str, arguments)])
        curves.main()


def names(found: list[Run]) -> list[tuple[str, str, int]]:
    return sorted((run.task, run.label, run.seed) for run in found)


def test_of_a_run_that_was_killed_and_continued_the_last_course_counts(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "x")
    (curve,) = runs.read([tmp_path])
    np.testing.assert_allclose(curve.frames, [0.2, 0.5, 0.6, 1.0, 1.95, 2.0])
    np.testing.assert_array_equal(curve.returns, [np.nan, 100, np.nan, 500, 800, 1000])
    # from 1.90 to 1.95M on average 792.1, from there to the end 900
    assert curves.final(curve) == pytest.approx(846.05, abs=1)
    # 100 for 0.5M, on average 300 for 0.5M, 650 for 0.95M, 900 for 0.05M
    assert curves.whole(curve) == pytest.approx(431.25, abs=1)


def test_agent_and_seed_are_the_configurations_whatever_a_folder_is_called(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "deep" / "er" / "stacx_kl0.1_s1", "impala_aux", 12)
    run(tmp_path / "notes", "impala", 3)
    run(tmp_path / "begun", rows=ROWS[:1])
    run(tmp_path / "torn")
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"fram')
    run(tmp_path / "bare")
    (tmp_path / "bare" / "config.json").unlink()
    run(tmp_path / "damaged")
    (tmp_path / "damaged" / "config.json").write_text("{")
    found = names(runs.read([tmp_path]))
    assert found == [(TASK, "impala", 3), (TASK, "impala_aux", 12)]
    damaged = "its config.json is missing, damaged, or of another version"
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {tmp_path}/bare: {damaged}",
        f"left out: {tmp_path}/begun: it has ended no episode yet",
        f"left out: {tmp_path}/damaged: {damaged}",
        f"left out: {tmp_path}/torn: nothing is logged there yet",
    ]


def test_runs_are_labelled_by_how_their_configurations_differ(
    tmp_path: pathlib.Path,
) -> None:
    for seed in (1, 2):
        run(tmp_path / f"a{seed}", "stacx", seed)
        run(tmp_path / f"b{seed}", "stacx", seed, **{"agent.outer.g_kl": 0.1})
    run(tmp_path / "c", "impala", **{"batch.batch_size": 7, "runtime.num_actors": 5})
    run(tmp_path / "d", "impala", 2, **{"batch.batch_size": 7})
    run(tmp_path / "e", "stac", **{"agent.outer.lambda_": 0.9})
    run(tmp_path / "f", "stac")
    labels = {
        "stacx, agent.outer.g_kl=1.0": [1, 2],
        "stacx, agent.outer.g_kl=0.1": [1, 2],
        "impala": [1, 2],
        "stac, agent.outer.lambda=0.9": [1],
        "stac, agent.outer.lambda=1.0": [1],
    }
    expected = [
        (TASK, label, seed) for label, seeds in labels.items() for seed in seeds
    ]
    assert names(runs.read([tmp_path])) == sorted(expected)


def test_runs_of_one_seed_are_labelled_by_enough_of_their_path_and_all_drawn(
    tmp_path: pathlib.Path,
) -> None:
    for place in ("a/stacx_seed1", "b/stacx_seed1"):
        run(tmp_path / place, "stacx")
    run(tmp_path / "b/stacx_seed2", "stacx", 2)
    run(tmp_path / "c/x/first", "stac")
    run(tmp_path / "c/x/again", "stac")
    places = [
        tmp_path / "a/stacx_seed1",
        tmp_path / "b",
        tmp_path / "b",
        tmp_path / "c",
    ]
    found = runs.read(places)
    assert names(found) == [
        (TASK, "stac (again)", 1),
        (TASK, "stac (first)", 1),
        (TASK, "stacx (a)", 1),
        (TASK, "stacx (b)", 1),
        (TASK, "stacx (b)", 2),
    ]
    panel = figures.draw(found, "").subfigs[0].axes[0]
    labels = {line.get_label() for line in panel.lines}
    assert {"stac (again)", "stac (first)", "stacx (a)", "stacx (b)"} <= labels


def test_a_damaged_row_is_skipped_and_the_others_are_drawn(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "x", rows=[(1e6, 1.0), (2e6, 2.0)])
    metrics = tmp_path / "x" / "metrics.jsonl"
    rows = [
        *("{}", '{"frames": "many"}', '{"frames": -1}', '{"frames": NaN}', "[1]", "{"),
        f'{{"frames": 1{"0" * 400}}}',
        '{"frames": 3e6, "episode_return": "high"}',
        '{"frames": 4e6, "episode_return": 4.0}',
    ]
    metrics.write_text(metrics.read_text() + "\n".join(rows) + "\n")
    (curve,) = runs.read([tmp_path])
    np.testing.assert_array_equal(curve.frames, [1, 2, 3, 4])
    np.testing.assert_array_equal(curve.returns, [1, 2, np.nan, 4])
    line = f"{metrics}: skipped 5 rows without frames\n"
    assert capsys.readouterr().err == line


def test_a_tasks_name_tells_settings_apart_and_references_are_for_features_alone(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "a")
    run(tmp_path / "b", **{"environment.observations": "pixels"})
    domain = {"environment.domain": "realworld"}
    run(tmp_path / "c", **domain, **EASY)
    run(
        tmp_path / "easy",
        **domain,
        **{**EASY, "environment.challenges.action_delay": 9},
    )
    run(tmp_path / "d", **{"environment.domain": "atari", "environment.task": "pong"})
    run(tmp_path / "e", **{"environment.domain": "catch", "environment.task": "pixels"})
    found = sorted(runs.read([tmp_path]))
    tasks = [run.task for run in found]
    assert tasks == [
        *(TASK, f"{TASK}, pixels", f"{TASK}, realworld changed"),
        *(f"{TASK}, realworld easy", "catch, pixels", "pong"),
    ]
    lines = curves.table(found).splitlines()[2:]
    assert [line.endswith("|  |  |") for line in lines] == [False, *[True] * 5]
    assert set(figures.A3C) < set(figures.TRIVIAL)
    panels = figures.draw(found, "").subfigs[0].axes
    assert [len(panel.lines) for panel in panels] == [3, 1, 1, 1, 1, 1]
    assert "trivial" not in curves.table(found[1:])


def test_the_axis_follows_the_data(tmp_path: pathlib.Path) -> None:
    atari = {"environment.domain": "atari", "environment.task": "pong"}
    run(tmp_path / "x", rows=[(1, -21.0), (2, 3000.0)], **atari)
    low, high = figures.draw(runs.read([tmp_path]), "").subfigs[0].axes[0].get_ylim()
    assert low < -21
    assert high > 3000


def test_an_agent_has_its_colour_however_its_runs_differ() -> None:
    labels = ["impala_aux, seed=1", "impala", "stac, a=1", "stac", "stacx (b)", "x"]
    colours = figures.colours([*labels, "x of y.csv", "stacx of y.csv"])
    own = figures.AGENTS
    assert colours["impala_aux, seed=1"] == own["impala_aux"]
    assert colours["stac"] == own["stac"]
    assert colours["stacx of y.csv"] == own["stacx"]
    assert colours["x of y.csv"] == colours["x"]
    assert len({colours[label] for label in labels}) == len(labels)


def test_the_command_prints_a_table_and_writes_a_figure_and_numbers(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "impala_s1", "impala", rows=ROWS[:3])
    run(tmp_path / "impala_s2", "impala", 2)
    figure = tmp_path / "x.png"
    command(tmp_path, f"--output={figure}")
    header, _, row = capsys.readouterr().out.splitlines()
    assert header == "| task | impala | trivial | A3C |"
    cells = "290, 150 (seed 1, 1.00M); 846, 431 (seed 2, 2.00M)"
    assert row == f"| {TASK} | {cells} | 745.8 | 951.6 |"
    assert figure.stat().st_size > 1000
    written = figure.with_suffix(".csv").read_text().splitlines()
    assert written[1:3] == [
        f"{TASK},impala,1,0.5000,100",
        f"{TASK},impala,1,1.0000,300",
    ]
    assert len(written) == 1 + 2 + 4


def test_the_table_of_a_curve_is_thinned_by_frames_not_by_rows(
    tmp_path: pathlib.Path,
) -> None:
    slow = [(10_000 + step, 1.0) for step in range(1000)]  # many rows, few frames
    run(tmp_path / "x", rows=[*slow, *((at * 10_000, 2.0) for at in range(2, 301))])
    tables.write(runs.read([tmp_path]), tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()[1:]
    assert len(lines) == tables.POINTS
    assert sum(line.endswith(",1") for line in lines) == 1


def test_an_earlier_figure_is_extended_by_runs_which_win(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for agent, seed in (("stac", 1), ("stac", 2), ("impala", 1)):
        run(tmp_path / "earlier" / f"{agent}{seed}", agent, seed)
    run(tmp_path / "earlier" / "easy", **{"environment.domain": "realworld"}, **EASY)
    figure = f"--output={tmp_path / 'x.png'}"
    command(tmp_path / "earlier", figure)
    capsys.readouterr()
    run(tmp_path / "now" / "stac", seed=2, rows=[(at, 7.0) for at, _ in ROWS[:3]])
    run(tmp_path / "now" / "stacx", "stacx")
    command(tmp_path / "now", tmp_path / "x.csv", figure)  # and replaces the table
    line, *written = capsys.readouterr().err.splitlines()
    assert line.endswith(", stac, seed 2: 1.00 million frames take the place of 2.00")
    assert written == [f"written: {tmp_path}/x.png", f"written: {tmp_path}/x.csv"]
    ends = {run[:3]: run.returns[-1] for run in tables.read(tmp_path / "x.csv")}
    assert ends == {
        (TASK, "impala", 1): 1000,
        (TASK, "stac", 1): 1000,
        (TASK, "stac", 2): 7,
        (TASK, "stacx", 1): 1000,
        (f"{TASK}, realworld easy", "stac", 1): 1000,
    }


def test_a_table_alone_is_drawn_some_tasks_and_agents_of_it_where_named(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = pathlib.Path(__file__).parents[2] / "docs"
    chosen = ("--task=cartpole.swingup", f"--task={TASK}", "--agent=stac")
    command(docs / "control.csv", *chosen, f"--output={tmp_path / 'x.png'}")
    header, _, *rows = capsys.readouterr().out.splitlines()
    assert header == "| task | stac | trivial | A3C |"
    assert [row.split(" | ")[0] for row in rows] == [f"| {TASK}", "| cartpole.swingup"]
    assert (tmp_path / "x.png").exists()
    assert not (tmp_path / "x.csv").exists()  # nothing that control.csv has not


def test_an_earlier_figures_curves_go_beside_the_runs_and_replace_none(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "earlier" / "x")
    run(tmp_path / "earlier" / "easy", **{"environment.domain": "realworld"}, **EASY)
    tables.write(runs.read([tmp_path / "earlier"]), tmp_path / "y.csv")
    run(tmp_path / "now", rows=ROWS[:3])
    beside = f"--beside={tmp_path / 'y.csv'}"
    command(tmp_path / "now", beside, f"--output={tmp_path / 'x.png'}")
    drawn = tables.read(tmp_path / "x.csv")  # and no task without a run
    ends = {run.label: run.frames[-1] for run in drawn}
    assert ends == {"stac": 1.0, "stac of y.csv": 2.0}
    lines = figures.draw(drawn, "").subfigs[0].axes[0].lines
    looks = {line.get_label(): line.get_linestyle() for line in lines}
    assert looks["stac"] == "-"
    assert looks["stac of y.csv"] == "--"
    assert lines[0].get_color() == lines[1].get_color() == figures.AGENTS["stac"]


def test_the_mean_over_seeds_begins_and_ends_where_all_have_returns() -> None:
    longer = (np.array([0.1, 1.0, 2.0]), np.array([np.nan, 10.0, 20.0]))
    shorter = (np.array([0.5, 1.5]), np.array([0.0, 10.0]))
    seeds = [
        Run("x", "stac", seed, *curve) for seed, curve in enumerate((longer, shorter))
    ]
    at, returns = figures.mean(seeds)
    assert (at[0], at[-1]) == (1.0, 1.5)
    np.testing.assert_allclose(returns[[0, -1]], [7.5, 12.5])


def test_tuned_metaparameters_have_a_panel_each_with_every_head_and_a_legend(
    tmp_path: pathlib.Path,
) -> None:
    heads = range(1, 9)
    row = {f"hyperparameters/gamma/head_{head}": 0.9 for head in heads}
    row |= {"hyperparameters/alpha/head_1": 1.0}  # fixed
    row |= {"metagradient/gamma/head_1": 0.0, "episode_return": 1.0}
    run(tmp_path / "x", "stacx")
    lines = [json.dumps(row | {"frames": at}) for at in (1, 2)]
    (tmp_path / "x" / "metrics.jsonl").write_text("\n".join(lines))
    run(tmp_path / "y", "impala")
    part = figures.draw(runs.read([tmp_path]), "", metaparameters=True).subfigs[1]
    panels = [panel for panel in part.axes if panel.get_visible()]
    assert [panel.get_title() for panel in panels] == ["gamma"]
    names = [f"head {head}" for head in heads]
    assert [line.get_label() for line in panels[0].lines] == names
    assert len({line.get_color() for line in panels[0].lines}) == 8
    assert [text.get_text() for text in part.legends[0].get_texts()] == names


def test_a_curve_of_one_point_is_seen() -> None:
    short = Run("x", "impala", 1, np.arange(3.0), np.array([np.nan, 3, np.nan]))
    long = Run("x", "stac", 1, np.arange(3.0), np.array([np.nan, 3, 3]))
    panel = figures.draw([short, long], "").subfigs[0].axes[0]
    assert [line.get_marker() for line in panel.lines] == [".", ""]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: there is no such folder: name a run's workdir"),
        (["runs/stac", "nowhere"], "nowhere: there is no such folder"),
        (["empty"], "stac_s1: its config.json is missing, damaged, or of another"),
        (["none"], "none: no run has logged anything there: name a run"),
        (["no.csv"], "no.csv: No such file"),
        (["runs", "--output=no/x.png"], "there is no folder no"),
        (["runs", "--output=x.txt"], "x.txt: is no figure: end it with"),
        (["runs", "--output=x"], "--output=x: is no figure"),
        (["runs", "--beside=no.csv"], "no.csv: No such file"),
        (["runs", "--beside=a.csv"], "a.csv: its first line is not"),
        (["runs", "--beside=b.csv"], "b.csv:2: is no row of task,"),
        (["runs", "--beside=d.csv"], "d.csv:2: is no row of task,"),
        (["runs", "--beside=c.png"], "c.png: its first line is not"),
        (["runs", "--beside=x.csv"], "would write another table over x.csv"),
        (["y.csv", "--agent=x", "--output=y.pdf"], "another table over y.csv"),
        (["runs", "--beside=y.csv"], "y.csv: has no curve of cartpole.balance"),
        (["runs", "--besides=x.csv"], "unrecognized arguments: --besides"),
        (["runs", "--task=cartpole.balanc"], "did you mean cartpole.balance?"),
        (["runs", "--agent=stax"], "unknown agent 'stax'"),
        (["runs", "--metaparameters"], "--metaparameters: no run here tunes any"),
        ([], "are required: runs: see --help"),
    ],
)
def test_a_mistake_is_answered_in_one_line(
    arguments: list[str],
    said: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "runs" / "stac")
    (tmp_path / "a.csv").write_text("task\n")
    (tmp_path / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\n")
    header = ",".join(tables.COLUMNS) + "\n"
    (tmp_path / "b.csv").write_text(f"{header}{TASK},stac,one,0.1,1.0\n")
    (tmp_path / "d.csv").write_text(f"{header}{TASK},stac,1\0,0.1,1.0\n")
    for name in ("x.csv", "y.csv"):
        (tmp_path / name).write_text(f"{header}x.y,stac,1,0.1,1.0\n")
    (tmp_path / "empty" / "stac_s1").mkdir(parents=True)
    (tmp_path / "empty" / "stac_s1" / "metrics.jsonl").touch()
    (tmp_path / "none").mkdir()
    arguments = ["--output=x.png", *arguments]
    assert said in refusals.of(curves.main, arguments, monkeypatch, capsys)
