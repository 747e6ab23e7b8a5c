"""What a script answers to a mistake in its command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import pytest

from stac.launch import cli


def of(
    main: Callable[[], None],
    arguments: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """The one line that it says before it ends with status 2."""
    monkeypatch.setattr(sys, "argv", ["x", *arguments])
    assert cli.run(main) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1, printed
    return printed
