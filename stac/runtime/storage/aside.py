"""Folders set aside: moved to where nobody looks for them but a person, and bounded."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence

KEPT = 3  # of earlier times


def move(folders: Sequence[pathlib.Path], to: pathlib.Path) -> list[pathlib.Path]:
    """Moves folders into `to`, on the same disk; returns where they are now.

    A name that is taken there gets a number: `300-2`. Of what was there before, the
    newest `KEPT` stay; what is moved now stays, however many.

    Raises:
      OSError: one cannot be moved; those before it are.
    """
    to.mkdir(exist_ok=True)
    before = sorted(to.iterdir(), key=os.path.getmtime)
    for old in before[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return [_move(folder, to) for folder in folders]


def _move(folder: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    place, copies = to / folder.name, 1
    while place.exists():
        copies += 1
        place = to / f"{folder.name}-{copies}"
    folder.rename(place)
    os.utime(place)  # of when it was moved
    return place
