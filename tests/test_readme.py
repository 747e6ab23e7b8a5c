"""The README's command does what the README says, on the real game."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_the_lockstep_command_of_the_readme_runs(tmp_path: pathlib.Path) -> None:
    workdir = tmp_path / "run"
    done = subprocess.run(
        [*_lockstep_command(), f"--workdir={workdir}"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "warning" not in output.lower()
    assert "Traceback" not in output
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert rows[-1]["frames"] >= 20_000
    assert (workdir / "config.json").is_file()
    assert any((workdir / "checkpoints").iterdir())
    assert list(workdir.glob("events.out.tfevents.*"))
    written = set().union(*rows)
    assert not [name for name in _documented_names() if name not in written]


def _lockstep_command() -> list[str]:
    """The README's words, without where they write, for the Python of these tests."""
    blocks = re.findall(r"(?:^    .*\n)+", README, re.MULTILINE)
    (block,) = [block for block in blocks if "--runtime=lockstep" in block]
    words = [
        word
        for word in shlex.split(block.replace("\\\n", ""))
        if not word.startswith("--workdir")
    ]
    assert words[:3] == [".venv/bin/python", "-m", "launch.atari"]
    return [sys.executable, *words[1:]]


def _documented_names() -> list[str]:
    """Names of metrics in the README's table, one for each that stands for many."""
    table = README.split("In `metrics.jsonl`:")[1].split("To see the discounts")[0]
    first_cells = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    patterns = [name for cell in first_cells for name in re.findall(r"`(.+?)`", cell)]
    assert len(patterns) >= 8
    return [
        pattern.replace("<name>", "gamma")
        .replace("<p>", "1")
        .replace("<term>", "value")
        for pattern in patterns
    ]
