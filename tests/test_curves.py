"""The figures of a suite: which runs are read, what is drawn and what is printed."""

from __future__ import annotations

import json
import pathlib
import sys

import numpy as np
import pytest

from benchmarks import curves, suite_curves

TASK = "cartpole.balance"
# (frames, return): stopped at a million, killed and continued from half a million.
ROWS = [
    *((200_000, None), (500_000, 100.0), (1_000_000, 300.0)),
    *((600_000, None), (1_000_000, 500.0), (1_950_000, 800.0), (2_000_000, 1000.0)),
]


def run(folder: pathlib.Path, name: str, rows: list[tuple[int, float | None]]) -> None:
    place = folder / TASK / name
    place.mkdir(parents=True)
    lines = [json.dumps({"frames": at, "episode_return": r}) for at, r in rows]
    (place / "metrics.jsonl").write_text("\n".join(lines) + "\n")


def test_a_continued_run_has_a_gap_and_only_its_last_course(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path, "stac_s1", ROWS)
    frames, returns = curve = suite_curves.read(tmp_path)[TASK]["stac"][1]
    np.testing.assert_allclose(frames, [0.2, 0.5, 0.6, 1.0, 1.95, 2.0])
    np.testing.assert_array_equal(returns, [np.nan, 100, np.nan, 500, 800, 1000])
    assert suite_curves.final(curve) == 900
    # 100 for 0.5M, on average 300 for 0.5M, 650 for 0.95M, 900 for 0.05M
    assert suite_curves.whole(curve) == pytest.approx(431.25, abs=1)


def test_runs_are_read_under_their_default_names_and_others_left_out(
    tmp_path: pathlib.Path,
) -> None:
    run(tmp_path, "stacx_features_seed12", ROWS)
    run(tmp_path, "impala_s1", ROWS[:1])  # no episode yet
    run(tmp_path, "notes", ROWS)
    (found,) = suite_curves.read(tmp_path).values()
    assert {agent: list(seeds) for agent, seeds in found.items()} == {
        "stacx_features": [12]
    }


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
    cells = "300, 150 (seed 1, 1.00M); 900, 431 (seed 2, 2.00M)"
    assert row == f"| {TASK} | {cells} | 745.6 | 951.6 |"
    assert figure.stat().st_size > 1000
    written = figure.with_suffix(".csv").read_text().splitlines()
    assert written[1:3] == [
        f"{TASK},impala,1,0.5000,100.0",
        f"{TASK},impala,1,1.0000,300.0",
    ]
    assert len(written) == 1 + 2 + 4


def test_the_mean_over_seeds_begins_and_ends_where_all_have_returns() -> None:
    longer = (np.array([0.1, 1.0, 2.0]), np.array([np.nan, 10.0, 20.0]))
    shorter = (np.array([0.5, 1.5]), np.array([0.0, 10.0]))
    at, returns = suite_curves.mean({1: longer, 2: shorter})
    assert (at[0], at[-1]) == (1.0, 1.5)
    np.testing.assert_allclose(returns[[0, -1]], [7.5, 12.5])


def test_what_is_not_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "nowhere", "--output=x.png"])
    with pytest.raises(SystemExit) as ended:
        curves.main()
    assert ended.value.code == 2
    assert "nowhere/metrics.jsonl" in capsys.readouterr().err
