"""Tables of options, runs that are not finished, and labels, by their numbers."""

from __future__ import annotations

import itertools
import re

import numpy as np

from stac.report import comparisons, scores
from stac.report.runs import Run

BASE = {
    "agent.name": "stacx",
    "agent.initial_raw": 4.6,
    "agent.initial_raw_gamma": 4.6,
    "agent.self_tuned": "gamma,lambda",
    "total_frames": 1_000_000,
}


def made(returns: float, seed: int = 1, label: str = "stacx", **changed: object) -> Run:
    settings = BASE | {f"agent.{name}": value for name, value in changed.items()}
    frames = np.linspace(0.1, 1.0, 10)
    return Run("walker.walk", label, seed, frames, np.full(10, returns))._replace(
        settings=settings
    )


def rows(table: str) -> list[list[str]]:
    return [
        [
            re.sub("<[^>]*>", "", cell)
            for cell in re.findall("<t[dh][^>]*>.*?</t[dh]>", row)
        ]
        for row in re.findall("<tr.*?</tr>", table)
    ]


def test_intervals_over_a_baseline_have_the_spread_of_both() -> None:
    """A label that never differs from itself is as uncertain as its baseline."""
    finals = {"impala": (50.0, 100.0, 150.0), "stacx": (200.0, 200.0, 200.0)}
    curves = [
        made(x, seed, label)._replace(task="breakout, minatar")
        for label, returns in finals.items()
        for seed, x in enumerate(returns)
    ]
    (part,) = scores.normalised(curves)
    assert part.baseline == "impala"
    known = comparisons.intervals(part)
    index = comparisons.AGGREGATES.index("mean")
    draws = np.array([*itertools.product(finals["impala"], repeat=3)]).mean(axis=1)
    low, high = np.percentile(draws, (2.5, 97.5), method="inverted_cdf") / 100
    expected = {"impala": (low, high), "stacx": (2 / high, 2 / low)}
    for label, ends in expected.items():
        actual = known[label].low[index], known[label].high[index]
        np.testing.assert_allclose(actual, ends, rtol=1e-9)
    assert known["stacx"].estimate[index] == 2
    alone = part._replace(unit=scores.OUT_OF_1000)
    assert comparisons.intervals(alone)["stacx"].high[index] == 2


def test_a_table_of_an_option_holds_runs_that_differ_in_nothing_else() -> None:
    """As in `launch.sweep --study=robustness_init`: all raw values, or gamma's."""
    values = (5.0, 5.5, 6.0, 7.0)
    curves = [made(900.0, initial_raw_gamma=x) for x in values]
    curves += [made(100.0, initial_raw_gamma=x, initial_raw=x) for x in values]
    (part,) = scores.normalised(curves)
    page = comparisons.robustness(curves, [part])
    tables = page.split("<h3>")[1:]
    means = {
        re.match("stacx: ([^<]*)", table)[1]: {row[1] for row in rows(table)[1:]}
        for table in tables
    }
    assert means == {
        "agent.initial_raw_gamma": {"0.9"},
        "agent.initial_raw": {"0.9", "0.1"},
        "agent.initial_raw and agent.initial_raw_gamma": {"0.9", "0.1"},
    }
    for names, members in comparisons._apart(curves):
        others = {**BASE, "agent.initial_raw_gamma": 5.0}
        for run in members:
            differing = {x for x in others if run.settings[x] != others[x]}
            assert differing <= set(names)


def test_the_table_of_what_is_tuned_has_medians_and_a_row_for_nothing() -> None:
    def everywhere(returns: tuple[float, ...], **changed: object) -> list[Run]:
        tasks = ("walker.walk", "walker.run", "walker.stand")
        runs = [made(x, **changed) for x in returns]
        return [run._replace(task=task) for run, task in zip(runs, tasks, strict=True)]

    curves = everywhere((100.0, 200.0, 900.0))
    curves += everywhere((300.0, 300.0, 300.0), self_tuned="gamma")
    aux = everywhere((0.0, 50.0, 100.0), name="impala_aux", self_tuned="")
    curves += [run._replace(label="impala_aux") for run in aux]
    (part,) = scores.normalised(curves)
    table = comparisons.self_tuned(curves, [part])
    assert {tuple(row[:2]) for row in rows(table)[1:]} == {
        ("gamma", "0.3"),
        ("gamma,lambda", "0.2"),
        ("nothing", "0.05"),
    }


def test_a_run_that_is_cut_counts_in_no_score_where_others_are_finished() -> None:
    whole, cut = made(780.0), made(40.0, seed=2)
    cut = cut._replace(frames=cut.frames / 20)
    assert scores.finished([whole, cut]) == [whole]
    assert scores.finished([cut]) == [cut]
    assert scores.finished([whole._replace(settings={})])  # of a table
