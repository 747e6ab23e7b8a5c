"""The last words of a run, and the command that the user typed."""

from __future__ import annotations

import json
import pathlib
import shutil
import sys

import pytest

from stac.runtime.logs import command, loggers, summary

ROW = {"frames": 2_000_000, "updates": 12_345, "seconds": 11_040.0}


def write(path: pathlib.Path, *rows: dict[str, float]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_run_that_can_go_on_says_how_far_how_well_and_what_to_type(tmp_path):
    place = tmp_path / "a run"
    place.mkdir()
    returns = {"episode_return": 12.3456, "episodes": 456}
    write(place / "metrics.jsonl", {"frames": 1}, {**ROW, **returns})
    scores = {
        "evaluation/sampled/return": 13.2,
        "evaluation/sampled/error": 0.41,
        "evaluation/greedy/return": 14.1,
        "evaluation/greedy/error": None,
        "evaluation/episodes": 200,
        "frames": 1_900_000,
    }
    write(place / "evaluations.jsonl", scores)
    with command.started_by(".venv/bin/python -m launch.atari --game=pong"):
        text = summary.text(place, done=False)
        done = summary.text(place, done=True)
    assert text == [
        "frames    2M in 3 h 4 min, 12,345 updates",
        "return    12.35 over the last 100 of 456 episodes",
        "scores    greedy 14.1, sampled 13.2 ± 0.41 at 1.9M frames",
        "continue  .venv/bin/python -m launch.atari --game=pong",
        f"report    .venv/bin/python -m stac report '{place}' --out='{place}'/report",
        f"evaluate  .venv/bin/python -m stac evaluate --workdir='{place}'",
    ]
    assert done == [line for line in text if not line.startswith("continue")]


def test_what_a_run_does_not_know_is_left_out(tmp_path):
    names = [line.split()[0] for line in summary.text(tmp_path, done=False)]
    assert names == []  # nothing is logged that could be reported
    write(tmp_path / "metrics.jsonl", {**ROW, "episode_return": None, "episodes": 0})
    (tmp_path / "evaluations.jsonl").write_text('{"evaluation/greedy/ret')
    names = [line.split()[0] for line in summary.text(tmp_path, done=True)]
    assert names == ["frames", "report", "evaluate"]


def test_the_last_row_is_read_from_the_end_of_a_long_file(tmp_path):
    file = tmp_path / "rows"
    write(file, *({"frames": number, "x": "y" * 1000} for number in range(2000)))
    with file.open("a") as rows:
        rows.write('{"frames": 2000, "cut')
    assert loggers.last_row(file)["frames"] == 1999
    assert loggers.last_row(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("typed", "again", "report"),
    [
        (
            [".venv/bin/python", "-m", "launch.atari", "--game=a b"],
            ".venv/bin/python -m launch.atari '--game=a b'",
            ".venv/bin/python -m stac report",
        ),
        (
            ["/usr/bin/python", "/usr/bin/stac", "atari", "--game=a b"],
            "stac atari '--game=a b'",
            "stac report",
        ),
        (  # it is not on the user's PATH
            ["env/bin/python", "env/bin/stac", "atari", "--game=a b"],
            "env/bin/python env/bin/stac atari '--game=a b'",
            "env/bin/python -m stac report",
        ),
        (
            ["python3", "-m", "stac", "atari", "--game=a b"],
            "python3 -m stac atari '--game=a b'",
            "python3 -m stac report",
        ),
        (
            ["python", "-m", "pytest"],
            "python -m launch.atari '--game=a b'",
            "python -m stac report",
        ),
    ],
)
def test_the_command_is_as_the_user_typed_it(
    typed: list[str], again: str, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", typed)
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/stac")
    line = command.line("launch.atari", ["--game=a b"])
    assert line == again
    assert command.sibling(line, "report") == report


def test_outside_a_command_there_is_none_to_type_again():
    with command.started_by("a"):
        with command.started_by("b"):
            assert command.typed() == "b"
        assert command.typed() == "a"
    assert command.typed() == ""
    assert command.sibling("", "report") == "python -m stac report"
