"""What the newest checkpoint of a run holds, so that two runs can be compared.

Snapshots of equal content need not be equal bytes: what was unpickled shares fewer
objects, and MuJoCo times itself. So they are unpacked, and digests say what they hold.
"""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import pickle
import zlib
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from stac import snapshots
from tests.runtime.experiences import digest


class End(NamedTuple):
    """Equal of two runs that did the same."""

    step: int  # updates
    state: str  # a digest of all that is learned
    counters: dict[str, float]  # but for seconds
    acting: dict[str, str]  # digests: {"turns": …, "actor_0": …, "actor_0's games": …}


def of(workdir: pathlib.Path) -> End:
    """Reads the newest checkpoint of a run."""
    step = max((workdir / "checkpoints").iterdir(), key=lambda path: int(path.name))
    counters = json.loads((step / "counters" / "metadata").read_text())
    reader = ocp.StandardCheckpointer()
    acting = reader.restore(step / "acting") if (step / "acting").exists() else {}
    digests: dict[str, str] = {}
    for name, snapshot in acting.items():
        digests |= _digests(name, snapshot.tobytes()[:-1])
    return End(
        step=int(step.name),
        state=digest(reader.restore(step / "state")),
        counters={n: count for n, count in counters.items() if n != "seconds"},
        acting=digests,
    )


def _digests(name: str, snapshot: bytes) -> dict[str, str]:
    title, content = _unpacked(snapshot)
    if name in ("turns", "replay"):
        return {name: _digest((title, content))}
    actor, environment = content
    games_title, games = _unpacked(environment)
    if isinstance(games, list):  # of Batched, one for each environment
        games = [snapshots.load(zlib.decompress(pickled)) for pickled in games]
    return {
        name: _digest((title, actor)),
        f"{name}'s games": _digest((games_title, games)),
    }


def _unpacked(snapshot: bytes) -> tuple[bytes, Any]:
    """(title, content)."""
    title, _, body = snapshot.split(b"\n", 2)
    return title, snapshots.load(body)


def _digest(content: Any) -> str:
    written = io.BytesIO()
    _Content(written).dump(content)
    return hashlib.sha256(written.getbuffer()).hexdigest()


class _Content(pickle.Pickler):
    """Writes equal objects as equal bytes, whichever of their parts are one object."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=4)
        self.fast = True  # a part that is met again is written again

    def reducer_override(self, each: Any) -> Any:
        if type(each).__name__ == "MjData":  # by name: MuJoCo is not for every Python
            for timer in each.timer:  # of calls since it was made, and their seconds
                timer.duration = timer.number = 0
        return NotImplemented
