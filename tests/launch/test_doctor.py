"""The doctor: a sound machine, and machines where something is missing or broken."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

from stac.launch import doctor

ROOT = pathlib.Path(__file__).parents[2]


def states(checks) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for check in checks:
        found.setdefault(check.about, set()).add(check.state)
    return found


def test_a_sound_machine_would_open_the_front_door(capsys):
    assert doctor.main(["stac doctor"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].endswith("--game=james_bond would work")
    assert [line for line in printed if "frames/s here" in line]
    assert not [line for line in printed if doctor.FAULT in line]


def test_a_missing_package_is_a_fault_or_a_warning_by_its_use(monkeypatch):
    def version(name: str) -> str:
        if name in ("optax", "wandb"):
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    lines = {check.text: check.state for check in doctor._packages()}
    assert lines["optax is missing: pip install optax"] == doctor.FAULT
    assert lines["wandb is missing; it is for --logger=wandb"] == doctor.WARNING


@pytest.mark.parametrize("broken", ["ale_py", "jax"])
def test_a_package_that_cannot_be_imported_is_a_fault_in_one_line(
    broken, tmp_path, monkeypatch
):
    (tmp_path / f"{broken}.py").write_text("raise ImportError('libgone.so: no file')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    looks = doctor._games() if broken == "ale_py" else doctor._devices()
    (check,) = looks
    assert check.state == doctor.FAULT
    assert check.text.endswith("ImportError: libgone.so: no file")


def test_a_process_that_hangs_or_is_killed_is_told_of(monkeypatch):
    monkeypatch.setattr(doctor, "_SECONDS", 0.5)
    assert doctor._ask("import time; time.sleep(60)") == (
        False,
        "nothing happened for 0 s",
    )
    monkeypatch.setattr(doctor, "_SECONDS", 30.0)
    killed = doctor._ask("import os; os.kill(os.getpid(), 9)")
    assert killed == (False, "status -9")


def test_a_broken_machine_has_status_1(tmp_path):
    (tmp_path / "jax.py").write_text("raise ImportError('libgone.so')")
    ended = subprocess.run(
        [sys.executable, "-m", "launch.doctor"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 1
    assert "FAULT    devices" in ended.stdout
    assert ended.stderr == (
        "launch.doctor: the front door would not open: mend what is a FAULT\n"
    )
