"""The figures of a suite: which runs are read, what is drawn and what is printed."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import sys
import types
from typing import Any

import numpy as np
import pytest

from stac.analysis import curve_tables, curves, suite_curves
from stac.config import ConfigError
from stac.configs import realworld
from tests import refusals

TASK = "cartpole.balance"
# (frames, return): stopped at a million, killed and continued from half a million.
ROWS = [
    *((200_000, None), (500_000, 100.0), (1_000_000, 300.0)),
    *((600_000, None), (1_000_000, 500.0), (1_950_000, 800.0), (2_000_000, 1000.0)),
]


FEATURES = {"domain": "control", "observations": "features"}
EASY = dataclasses.asdict(realworld.challenges("cartpole", "easy"))


def run(
    folder: pathlib.Path,
    name: str,
    rows: list[tuple[int, float | None]],
    **environment: Any,
) -> None:
    place = folder / TASK / name
    place.mkdir(parents=True)
    plain = FEATURES | {"task": TASK, "challenges": {}}
    config = {"environment": plain | environment}
    (place / "config.json").write_text(json.dumps(config))
    counts = {"episodes": 1, "seconds": 1.0}
    lines = [json.dumps(counts | {"frames": at, "episode_return": r}) for at, r in rows]
    (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_of_a_run_that_was_killed_and_continued_the_last_course_counts(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path, "stac_s1", ROWS)
    frames, returns = curve = suite_curves.read(tmp_path)[TASK]["stac"][1]
    np.testing.assert_allclose(frames, [0.2, 0.5, 0.6, 1.0, 1.95, 2.0])
    np.testing.assert_array_equal(returns, [np.nan, 100, np.nan, 500, 800, 1000])
    # from 1.90 to 1.95M on average 792.1, from there to the end 900
    assert suite_curves.final(curve) == pytest.approx(846.05, abs=1)
    # 100 for 0.5M, on average 300 for 0.5M, 650 for 0.95M, 900 for 0.05M
    assert suite_curves.whole(curve) == pytest.approx(431.25, abs=1)


def test_runs_are_read_under_their_default_names_and_others_left_out(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(tmp_path, "stacx_features_seed12", ROWS)
    run(tmp_path, "impala_s1", ROWS[:1])  # no episode yet
    run(tmp_path, "notes", ROWS)
    for seed in (1, 2, 3):
        run(tmp_path, f"stac_s{seed}", ROWS)
    (tmp_path / TASK / "stac_s1" / "metrics.jsonl").write_text('{"fram')
    (tmp_path / TASK / "stac_s2" / "config.json").unlink()
    (tmp_path / TASK / "stac_s3" / "config.json").write_text("{")
    (found,) = suite_curves.read(tmp_path).values()
    assert {agent: list(seeds) for agent, seeds in found.items()} == {"stacx": [12]}
    place = tmp_path / TASK / "notes"
    assert capsys.readouterr().err.splitlines() == [
        f"left out: {place}: its name is not <agent>_s<seed>",
        f"left out: {place.parent}/impala_s1: it has ended no episode yet",
        f"left out: {place.parent}/stac_s1: nothing is logged there yet",
        f"left out: {place.parent}/stac_s2: its config.json is missing, damaged, or of"
        " another version",
        f"left out: {place.parent}/stac_s3: its config.json is missing, damaged, or of"
        " another version",
    ]


def test_references_are_for_control_from_features_alone(tmp_path: pathlib.Path) -> None:
    run(tmp_path, "stac_s1", ROWS)
    run(tmp_path, "stac_pixels_seed1", ROWS, observations="pixels")
    run(tmp_path, "stac_s2", ROWS, domain="realworld", challenges=EASY)
    tasks = suite_curves.read(tmp_path)
    assert list(tasks) == [f"{TASK}, pixels", TASK, f"{TASK}, realworld easy"]
    lines = suite_curves.table(tasks).splitlines()[2:]
    assert [line.endswith("|  |  |") for line in lines] == [True, False, True]
    assert set(suite_curves.A3C) < set(suite_curves.TRIVIAL)
    lines_across = [
        [line.get_label() for line in panel.lines if len(set(line.get_ydata())) == 1]
        for panel in suite_curves.draw(tasks, "").axes[:3]
    ]
    assert [len(labels) for labels in lines_across] == [0, 2, 0]


def test_a_challenge_is_what_the_run_had_whatever_its_name(
    tmp_path: pathlib.Path,
) -> None:
    own = {**EASY, "action_delay": 9}
    run(tmp_path, "stac_easy_seed1", ROWS, domain="realworld", challenges=own)
    run(tmp_path, "stac_hard_seed2", ROWS, domain="realworld", challenges=EASY)
    run(tmp_path, "stac_easy_seed3", ROWS)
    found = suite_curves.read(tmp_path)
    assert {task: list(agents["stac"]) for task, agents in found.items()} == {
        f"{TASK}, realworld changed": [1],
        TASK: [3],
        f"{TASK}, realworld easy": [2],
    }


def test_two_runs_of_one_seed_are_refused(tmp_path: pathlib.Path) -> None:
    run(tmp_path, "stac_s1", ROWS)
    run(tmp_path, "stac_seed1", ROWS)
    with pytest.raises(
        ConfigError, match=r"stac_seed1: another run of stac there has its seed"
    ):
        suite_curves.read(tmp_path)


def test_an_agent_has_its_colour_whatever_its_runs_are_called() -> None:
    labels = ["impala_aux_s1", "impala", "stac_easy_s1", "stac_hard", "stacx_pixels"]
    labels.append("x")
    colours = curves.colours(labels)
    own = curves.AGENTS
    assert colours["impala_aux_s1"] == own["impala_aux"]
    assert colours["impala"] == own["impala"]
    assert (colours["stac_easy_s1"], colours["stacx_pixels"]) == (
        *(own["stac"], own["stacx"]),
    )
    assert len(set(colours.values())) == len(labels)
    assert curves.colours(["stac_slow", "stac"])["stac"] == own["stac"]


def test_the_command_prints_a_table_and_writes_a_figure_and_numbers(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(tmp_path, "impala_s1", ROWS[:3])
    run(tmp_path, "impala_s2", ROWS)
    figure = tmp_path / "x.png"
    arguments = ["x", str(tmp_path), f"--output={figure}"]
    monkeypatch.setattr(sys, "argv", arguments)
    suite_curves.main()
    header, _, row = capsys.readouterr().out.splitlines()
    assert header == "| task | impala | trivial | A3C |"
    cells = "290, 150 (seed 1, 1.00M); 846, 431 (seed 2, 2.00M)"
    assert row == f"| {TASK} | {cells} | 745.8 | 951.6 |"
    assert figure.stat().st_size > 1000
    written = figure.with_suffix(".csv").read_text().splitlines()
    assert written[1:3] == [
        f"{TASK},impala,1,0.5000,100.0",
        f"{TASK},impala,1,1.0000,300.0",
    ]
    assert len(written) == 1 + 2 + 4


def test_the_table_of_a_curve_is_thinned_by_steps_not_by_rows(
    tmp_path: pathlib.Path,
) -> None:
    slow = [(10_000 + step, 1.0) for step in range(1000)]  # many rows, few steps
    run(tmp_path, "stac_s1", [*slow, *((at * 10_000, 2.0) for at in range(2, 301))])
    curve_tables.write(suite_curves.read(tmp_path), tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()[1:]
    assert len(lines) == curve_tables.POINTS
    assert sum(line.endswith(",1.0") for line in lines) == 1


def test_an_earlier_figure_is_extended_by_runs_which_win(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    earlier, now = tmp_path / "earlier", tmp_path / "now"
    for name in ("stac_s1", "stac_s2", "impala_s1"):
        run(earlier, name, ROWS)
    run(earlier, "stac_easy_seed1", ROWS, domain="realworld", challenges=EASY)
    figure = f"--output={tmp_path / 'x.png'}"
    monkeypatch.setattr(sys, "argv", ["x", str(earlier), figure])
    suite_curves.main()
    capsys.readouterr()
    run(now, "stac_s2", [(at, 7.0) for at, _ in ROWS[:3]])
    run(now, "stacx_s1", ROWS)
    extend = f"--extend={tmp_path / 'x.csv'}"
    monkeypatch.setattr(sys, "argv", ["x", str(now), figure, extend])
    suite_curves.main()  # and its own table replaces the earlier one
    line, *written = capsys.readouterr().err.splitlines()
    assert line.endswith(", stac, seed 2: 1.00 million steps take the place of 2.00")
    assert written == [f"written: {tmp_path}/x.png", f"written: {tmp_path}/x.csv"]

    tasks = curve_tables.written(tmp_path / "x.csv")
    assert list(tasks) == [TASK, f"{TASK}, realworld easy"]
    assert {agent: list(seeds) for agent, seeds in tasks[TASK].items()} == {
        "impala": [1],
        "stac": [1, 2],
        "stacx": [1],
    }
    for agent, seed, last in (("stac", 1, 1000), ("stac", 2, 7), ("stacx", 1, 1000)):
        assert tasks[TASK][agent][seed][1][-1] == last
    assert list(tasks[f"{TASK}, realworld easy"]["stac"]) == [1]


def test_an_earlier_figures_curves_go_beside_the_runs_and_replace_none(
    tmp_path: pathlib.Path,
) -> None:
    earlier, now = tmp_path / "earlier", tmp_path / "now"
    run(earlier, "stac_s1", ROWS)
    run(earlier, "stac_easy_seed1", ROWS, domain="realworld", challenges=EASY)
    run(now, "stac_s1", ROWS[:3])
    curve_tables.write(suite_curves.read(earlier), tmp_path / "x.csv")
    tasks = suite_curves.read(now)
    curve_tables.beside(tasks, curve_tables.written(tmp_path / "x.csv"), "x.csv")
    (agents,) = tasks.values()  # no panel without a run
    ends = {agent: seeds[1][0][-1] for agent, seeds in agents.items()}
    assert ends == {"stac": 1.0, "stac of x.csv": 2.0}
    lines = suite_curves.draw(tasks, "").axes[0].lines
    looks = {line.get_label(): line.get_linestyle() for line in lines}
    assert looks["stac"] == "-"
    assert looks["stac of x.csv"] == "--"
    assert lines[0].get_color() == lines[2].get_color() == curves.AGENTS["stac"]


def test_the_mean_over_seeds_begins_and_ends_where_all_have_returns() -> None:
    longer = (np.array([0.1, 1.0, 2.0]), np.array([np.nan, 10.0, 20.0]))
    shorter = (np.array([0.5, 1.5]), np.array([0.0, 10.0]))
    at, returns = suite_curves.mean({1: longer, 2: shorter})
    assert (at[0], at[-1]) == (1.0, 1.5)
    np.testing.assert_allclose(returns[[0, -1]], [7.5, 12.5])


def test_every_head_is_drawn() -> None:
    heads = range(1, 9)
    row = {f"hyperparameters/gamma/head_{head}": 0.9 for head in heads}
    rows = [{"frames": at, "metagradient/gamma": 0.0} | row for at in (1, 2)]
    panel = curves.draw({"stacx": rows}, "").axes[1]
    assert [line.get_label() for line in panel.lines] == [f"head {n}" for n in heads]
    assert len({line.get_color() for line in panel.lines}) == 8


def test_a_curve_of_one_point_is_seen() -> None:
    rows = [{"frames": 1}, {"frames": 2, "episode_return": 3.0}, {"frames": 3}]
    short, long = rows, [*rows, {"frames": 4, "episode_return": 3.0}]
    panel = curves.draw({"impala": short, "stac": long}, "").axes[0]
    assert [line.get_marker() for line in panel.lines] == [".", ""]


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (curves, ["nowhere"], "nowhere: is no run's workdir: it has no metrics.jsonl"),
        (curves, ["empty/x/stac_s1"], "stac_s1: nothing is logged there yet"),
        (curves, ["torn"], "torn/metrics.jsonl: has a row without frames, episodes,"),
        (curves, ["runs/{TASK}/stac_s1", "--output=no/x.png"], "there is no folder no"),
        (suite_curves, ["nowhere"], "nowhere: is no folder"),
        (
            suite_curves,
            ["runs/{TASK}"],
            "no <task>/<agent>_s<seed>/metrics.jsonl is in",
        ),
        (suite_curves, ["empty"], "empty: no run in it has ended an episode yet"),
        (suite_curves, ["runs", "--output=no/x.png"], "there is no folder no"),
        (suite_curves, ["runs", "--beside=no.csv"], "no.csv: No such file"),
        (suite_curves, ["runs", "--beside=runs/a.csv"], "a.csv: its first line is not"),
        (suite_curves, ["runs", "--extend=no.csv"], "no.csv: No such file"),
        (suite_curves, ["runs", "--beside=runs/b.csv"], "b.csv:2: is no row of task,"),
        (suite_curves, ["runs", "--beside=runs/d.csv"], "d.csv:2: is no row of task,"),
        (suite_curves, ["runs", "--beside=runs/c.png"], "c.png: its first line is not"),
        (
            suite_curves,
            ["runs", "--beside=runs/x.csv", "--output=runs/x.png"],
            "--output=runs/x.png: would write over --beside's x.csv",
        ),
        (suite_curves, ["runs", "--beside=runs/x.csv"], "x.csv: has no curve of"),
        (suite_curves, ["runs", "--output=x.txt"], "x.txt: is no figure: end it with"),
        (
            suite_curves,
            ["runs", "--besides=x.csv"],
            "unrecognized arguments: --besides",
        ),
        (suite_curves, [], "are required: folder: see --help"),
        (curves, ["runs/{TASK}/stac_s1", "--output=x"], "--output=x: is no figure"),
    ],
)
def test_what_is_not_there_is_one_line(
    script: types.ModuleType,
    arguments: list[str],
    said: str,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "runs", "stac_s1", ROWS)
    (tmp_path / "runs" / "a.csv").write_text("task\n")
    (tmp_path / "runs" / "c.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\n")
    header = "task,agent,seed,million_steps,mean_return\n"
    (tmp_path / "runs" / "b.csv").write_text(f"{header}{TASK},stac,one,0.1,1.0\n")
    (tmp_path / "runs" / "d.csv").write_text(f"{header}{TASK},stac,1\0,0.1,1.0\n")
    (tmp_path / "runs" / "x.csv").write_text(f"{header}x.y,stac,1,0.1,1.0\n")
    (tmp_path / "empty" / "x" / "stac_s1").mkdir(parents=True)
    (tmp_path / "empty" / "x" / "stac_s1" / "metrics.jsonl").touch()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "metrics.jsonl").write_text('{"frames": 1}\n')
    arguments = [argument.format(TASK=TASK) for argument in arguments]
    arguments = ["--output=x.png", *arguments]
    assert said in refusals.of(script.main, arguments, monkeypatch, capsys)
