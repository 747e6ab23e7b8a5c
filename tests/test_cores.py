"""The cores of a process."""

from __future__ import annotations

import os

import pytest

from stac import cores


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("max 100000", 8),
        ("350000 100000", 4),
        ("5000 100000", 1),
        ("9e9", 8),
        (None, 8),
    ],
)
def test_a_containers_quota_bounds_the_cores(monkeypatch, tmp_path, text, number):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    if text:
        (tmp_path / "cpu.max").write_text(text)
    assert cores.usable() == number
