"""Questions to another process: answered, failed, late, and gone with who asked."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest

from stac import children
from tests import conftest


def test_what_it_prints_is_the_answer_and_a_failure_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAC_A", "ours")
    monkeypatch.setenv("STAC_B", "ours")
    program = "import os; print(os.environ.get('STAC_A'), os.environ.get('STAC_B'))"
    assert children.ask(program, 60, {"STAC_A": None}) == "None ours"
    assert children.ask(program, 60, {"STAC_A": "theirs"}) == "theirs ours"
    assert children.ask("print('half'); 1 / 0", 60) is None


def test_one_that_takes_too_long_is_ended() -> None:
    began = time.monotonic()
    assert children.ask("import time; time.sleep(60)", 0.5) is None
    assert time.monotonic() - began < 20


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends it with who asked")
def test_it_ends_with_the_process_that_asked(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "pid"
    asked = f"import os, time; open('{file}', 'w').write(str(os.getpid()))"
    program = (
        f"from stac import children; children.ask({asked + '; time.sleep(60)'!r}, 60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=conftest.ROOT)
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    there = pathlib.Path("/proc", file.read_text())
    while there.exists() and "Z" not in (there / "stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
