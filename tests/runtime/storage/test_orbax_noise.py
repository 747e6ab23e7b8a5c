"""Orbax's noise: one message of one kind is dropped, everybody else's are not."""

from __future__ import annotations

import sys
import types

import pytest

from stac.runtime.storage import orbax_noise


def test_only_a_closed_event_loop_is_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))
    orbax_noise.quiet()
    once = sys.unraisablehook
    orbax_noise.quiet()
    assert sys.unraisablehook is once
    errors = [
        RuntimeError("Event loop is closed"),
        RuntimeError("something else"),
        ValueError("Event loop is closed"),
        None,
    ]
    for error in errors:
        once(types.SimpleNamespace(exc_value=error))
    assert told == errors[1:]
