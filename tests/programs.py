"""Python programs as a user runs them: to their end, in a process of their own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

from tests.conftest import ROOT

SECONDS = 120.0


def python(
    *words: str, folder: pathlib.Path = ROOT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments; tells what it printed and how it ended.

    Args:
      *words: the arguments.
      folder: where it runs.
      **variables: of the environment, beside those of the tests.
    """
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
