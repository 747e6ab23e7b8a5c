"""The examples run as programs, and do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.conftest import ROOT

LINE = re.compile(r"update +(\d+)   return +(-?\d\.\d\d)   discount (0\.\d{4})")


def test_the_example_learns_catch_and_tunes_its_discount(tmp_path):
    """From another folder, as a user of the installed package runs it."""
    ran = subprocess.run(
        [sys.executable, ROOT / "examples" / "catch.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},  # as if it were installed
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    first, *lines = ran.stdout.splitlines()
    assert first == "800 updates; compiling the first takes a while"
    matches = [LINE.fullmatch(line) for line in lines]
    assert all(matches), ran.stdout
    returns = [float(match[2]) for match in matches]
    discounts = {match[3] for match in matches}
    assert returns[0] < 0 < 0.9 < returns[-1]
    assert len(discounts) > 1
