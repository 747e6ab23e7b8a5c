"""The doctor: a sound machine, and machines where something is missing or broken."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

from stac.launch import doctor


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


@pytest.mark.parametrize(
    ("broken", "why"),
    [("ale_py", "Atari needs the packages ale-py and"), ("jax", "libgone.so: no file")],
)
def test_a_package_that_cannot_be_imported_is_a_fault_in_one_line(
    broken, why, tmp_path, monkeypatch
):
    (tmp_path / f"{broken}.py").write_text("raise ImportError('libgone.so: no file')")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    looks = doctor._games() if broken == "ale_py" else doctor._devices()
    (check,) = looks
    assert check.state == doctor.FAULT
    assert why in check.text
    assert "\n" not in check.text


def test_a_process_that_hangs_or_is_killed_is_told_of(monkeypatch):
    monkeypatch.setattr(doctor, "_SECONDS", 0.5)
    assert doctor._ask("import time; time.sleep(60)") == (
        False,
        "nothing happened for 0 s",
    )
    monkeypatch.setattr(doctor, "_SECONDS", 30.0)
    killed = doctor._ask("import os; os.kill(os.getpid(), 9)")
    assert killed == (False, "status -9")


def test_a_broken_machine_has_status_1(monkeypatch, capsys):
    checks = [
        doctor.Check(doctor.WARNING, "OpenGL", ""),
        doctor.Check(doctor.OK, "", ""),
    ]
    monkeypatch.setattr(doctor, "checks", lambda: checks)
    assert doctor.main(["x"]) == 0
    checks.append(doctor.Check(doctor.FAULT, "devices", "none"))
    assert doctor.main(["x"]) == 1
    assert capsys.readouterr().err == (
        "launch.doctor: the front door would not open: fix the lines marked FAULT\n"
    )
