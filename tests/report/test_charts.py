"""Charts of runs: their lines, bands and colours, and what matplotlib draws of them."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from stac.report import charts, figures, runs, scores
from stac.report.runs import Run
from tests.report.test_runs import run


def curve(label: str, seed: int, *points: tuple[float, float], task: str = "x") -> Run:
    return Run(task, label, seed, *np.transpose(points).astype(float))


def test_an_agent_has_its_colour_however_its_runs_differ() -> None:
    labels = ["impala_aux, seed=1", "impala", "stac, a=1", "stac", "stacx (b)", "x"]
    named = [*labels, "x of y.csv", "stacx of y y.csv"]
    colours = charts.colours(curve(label, 1, (0, 0)) for label in named)
    own = charts.AGENTS
    assert colours["impala_aux, seed=1"] == own["impala_aux"]
    assert colours["stac"] == own["stac"]
    assert colours["stacx of y y.csv"] == own["stacx"]
    assert colours["x of y.csv"] == colours["x"]
    assert len({colours[label] for label in labels}) == len(labels)


def test_the_mean_over_seeds_begins_and_ends_where_all_have_returns() -> None:
    seeds = [
        curve("stac", 1, (0.1, np.nan), (1.0, 10.0), (2.0, 20.0)),
        curve("stac", 2, (0.5, 0.0), (1.5, 10.0)),
    ]
    (chart,) = charts.every(seeds, []).learning
    *thin, mean = chart.series
    assert [(line.label, line.thin) for line in thin] == [("", True)] * 2
    known = ~np.isnan(mean.values)
    at, values = chart.x[known], mean.values[known]
    np.testing.assert_allclose([at[0], at[-1]], [1.0, 1.5], atol=0.02)
    np.testing.assert_allclose(values, (at * 10 + (at - 0.5) * 10) / 2)


def test_three_seeds_have_a_band_and_no_thin_lines() -> None:
    seeds = [curve("stac", n, (0, n), (1, 10 + n)) for n in (1, 2, 3)]
    (chart,) = charts.every(seeds, []).learning
    (line,) = chart.series
    np.testing.assert_allclose(line.values, 2 + 10 * chart.x)
    assert line.low is not None
    assert line.high is not None
    assert np.all((line.low < line.values) & (line.values < line.high))
    assert np.all(line.high - line.low < 2.001)


def test_a_curve_of_one_point_is_seen_and_a_gap_is_null_in_json() -> None:
    short = curve("impala", 1, (0, np.nan), (1, 3.0), (2, np.nan))
    long = curve("stac", 1, (0, np.nan), (1, 3.0), (2, 3.0), (3, 4.0))
    (chart,) = charts.every([short, long], []).learning
    point = chart.series[0].values
    assert np.count_nonzero(~np.isnan(point)) == 1
    panel = figures.draw([chart]).axes[0]
    assert [line.get_marker() for line in panel.lines] == [".", ""]
    data = json.loads(json.dumps(charts.as_json(chart), allow_nan=False))
    assert data["series"][1]["values"][-1] == 4.0
    assert data["series"][0]["values"].count(None) == len(point) - 1


def test_the_median_over_tasks_is_of_normalised_means_over_seeds() -> None:
    curves = [
        curve("stac", seed, (0, level * seed), (1, level * seed), task=task)
        for task, level in (("a.a", 100), ("b.b", 200), ("c.c", 600))
        for seed in (1, 3)
    ]
    (part,) = scores.normalised(curves)
    (line,) = charts.overall(part, curves, charts.colours(curves)).series
    np.testing.assert_allclose(line.values, 0.4)  # of 0.2, 0.4 and 1.2


def test_an_agent_has_a_colour_in_all_charts_of_a_report() -> None:
    """Also where an agent that lacks a task is in some of them alone."""
    curves = [
        curve(label, 1, (0, 1), (1, 2), task=task)
        for label, tasks in (("b", ["a.a"]), ("sac", ["a.a", "b.b"]))
        for task in tasks
    ]
    drawn = charts.every(curves, scores.normalised(curves))
    for group in (drawn.learning, drawn.medians, drawn.profiles):
        for chart in group:
            for series in chart.series:
                assert series.colour == charts.colours(curves)[series.label]


def test_tuned_metaparameters_have_a_chart_each_with_every_head(
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
    ((key, (chart,)),) = charts.metaparameters(runs.read([tmp_path]).runs).items()
    assert key == ("cartpole.balance", "stacx")
    assert chart.title == "gamma"
    names = [f"head {head}" for head in heads]
    assert [series.label for series in chart.series] == names
    assert chart.series[0].colour == charts.AGENTS["stacx"]  # blue
    assert len({series.colour for series in chart.series}) == 8
    figure = figures.draw([chart])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == names


def test_an_evaluation_of_one_seed_has_its_standard_error_as_a_band(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path / "x")
    rows = [
        {"frames": at, "evaluation/greedy/return": at, "evaluation/greedy/error": 10.0}
        for at in (0, 1_000_000)
    ]
    text = "\n".join(map(json.dumps, rows))
    (tmp_path / "x" / "evaluations.jsonl").write_text(text + '\n{"frames": 2e')
    (chart,) = charts.every(runs.read([tmp_path]).runs, []).evaluations
    (line,) = chart.series
    assert (line.label, line.dashed) == ("stac, greedy", True)
    np.testing.assert_allclose(line.values, 1e6 * chart.x)
    assert line.high is not None
    np.testing.assert_allclose(line.high - line.values, 19.6)
