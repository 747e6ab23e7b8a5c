"""The last words about a run: how far it came, how well it does, and what to type next.

frames    2M in 3 h 4 min, 12,345 updates
return    12.3 over the last 100 of 456 episodes
scores    greedy 14.1 ± 0.3, sampled 13.2 ± 0.4 at 2M frames
continue  python -m launch.atari --game=pong
report    python -m stac report runs/pong --out=runs/pong/report
evaluate  python -m stac evaluate --workdir=runs/pong
"""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from stac.runtime.logs import command, loggers, words
from stac.runtime.logs.statistics import RECENT_EPISODES
from stac.runtime.storage import workdir


def text(path: pathlib.Path, done: bool) -> list[str]:
    """The lines about the run in a workdir, by its files.

    Args:
      path: the workdir.
      done: nothing is left to be trained.
    """
    typed = command.typed()
    place = shlex.quote(str(path))
    report = f"{command.sibling(typed, 'report')} {place} --out={place}/report"
    row = loggers.last_row(path / workdir.METRICS)
    lines = {
        **_standing(row),
        "scores": _scores(loggers.last_row(path / workdir.EVALUATIONS)),
        "continue": "" if done else typed,
        "report": report if row else "",
        "evaluate": f"{command.sibling(typed, 'evaluate')} --workdir={place}"
        if row
        else "",
    }
    return [f"{name:<9} {line}" for name, line in lines.items() if line]


def finished(path: pathlib.Path, total_frames: int) -> dict[str, Any]:
    """The last row of a run that has nothing left to do; {} for any other.

    It is that of the last frame, and the state behind it is saved.
    """
    row = loggers.last_row(path / workdir.METRICS)
    frames = row.get("frames")
    saved = path / workdir.CHECKPOINTS / f"{row.get('updates')}"
    done = isinstance(frames, int | float) and frames >= total_frames
    return row if done and saved.is_dir() else {}


def nothing_left(path: pathlib.Path, row: Mapping[str, float]) -> list[str]:
    """Lines about a run that is finished, by its last row."""
    done = f"{words.amount(row['frames'])} frames"
    return [
        f"nothing left to do: {done} are done",
        *text(path, done=True),
        f"done: {done}; update {row['updates']:,} is saved in {path}",
    ]


def _standing(row: Mapping[str, float]) -> dict[str, str]:
    """How far the run came, and its returns; {} before its first row."""
    if "frames" not in row or "updates" not in row:
        return {}
    frames = f"{words.amount(row['frames'])} in {words.duration(row['seconds'])}"
    lines = {"frames": f"{frames}, {words.count(row['updates'], 'update')}"}
    if (recent := words.known(row, "episode_return")) is not None:
        episodes = int(row["episodes"])
        over = f"the last {RECENT_EPISODES} of {words.count(episodes, 'episode')}"
        if episodes <= RECENT_EPISODES:
            over = words.count(episodes, "episode")
        lines["return"] = f"{recent:,.4g} over {over}"
    return lines


def _scores(row: Mapping[str, float]) -> str:
    """The last evaluation: `greedy 14.1 ± 0.3, … at 2M frames`; "" without one."""
    scores = words.scores(row)
    where = f" at {words.amount(row['frames'])} frames" if "frames" in row else ""
    return scores and scores + where
