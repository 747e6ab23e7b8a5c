"""The state of a run in words: the progress line, and what binds the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

# Frames per second have to be measured for so long before the time left is more than
# a guess: actors start one after another, and the first updates are slow.
TRUSTED_SECONDS = 60.0
STARVED_SECONDS = 8.0  # without a batch, after which that is what there is to say
# Shares of the learner's time without a batch. From the first on the actors bind, up to
# the second the update does, and between them neither does by much.
ACTORS_BIND, UPDATE_BINDS = 0.3, 0.1


class State(NamedTuple):
    """All that a view of a run shows; JSON can carry it to another process."""

    title: str  # agent, task and seed
    workdir: str
    total_frames: int
    shown: Mapping[str, str]  # {"gamma": metric}: the agent's own
    row: Mapping[str, float]  # the newest of the log; {} before there is any
    left: str  # see time_left
    status: str  # what the run waits for; "" where it goes on
    age: float  # seconds since the row came or the status began
    starved: float  # seconds that the learner has had no batch by now
    seen: bool  # the row has been shown before


def line(state: State) -> str:
    """The progress line: the row, or what the run waits for, and for how long."""
    if waiting := waits_for(state):
        return waiting
    row = progress(state.row, state.total_frames, state.left, state.shown)
    return f"{row}  (as of {duration(state.age)} ago)" if state.seen else row


def last_line(state: State) -> str:
    """The progress line of a run that has ended, whatever it waited for.

    Its last row may be of a moment, which says nothing about what binds.
    """
    row = {name: value for name, value in state.row.items() if name != "learner_waits"}
    return line(state._replace(row=row, status="", starved=0.0, seen=False))


def waits_for(state: State) -> str:
    """`compiling the update … 8 s`; "" where the run goes on."""
    if state.starved >= STARVED_SECONDS:
        return f"waiting for trajectories … {duration(state.starved)}"
    return f"{state.status} … {duration(state.age)}" if state.status else ""


def binds(row: Mapping[str, float]) -> str:
    """Names the bottleneck of a run, by `learner_waits` and `environment_share`.

    `the environments bind (the learner waits 45 %)`. docs/watching.md has the rule.
    "" before anything is measured.
    """
    waits = row.get("learner_waits", math.nan)
    if not math.isfinite(waits):
        return ""
    waiting = f"(the learner waits {100 * min(1.0, waits):.0f} %)"
    if waits < UPDATE_BINDS:
        return f"the update binds {waiting}"
    if waits < ACTORS_BIND:
        return f"nothing binds by much {waiting}"
    share = row.get("environment_share", math.nan)
    if not math.isfinite(share):
        return f"the actors bind {waiting}"
    return f"{'the environments bind' if share >= 0.5 else 'acting binds'} {waiting}"


def time_left(frames_left: float, frames: float, seconds: float) -> str:
    """`16 h 10 min left`, where so many frames took so many seconds.

    `51 d 7 h left (a guess: measured for 8 s)` in the first minute, and nothing before
    there is any measurement.
    """
    if frames <= 0 or seconds <= 0:
        return ""
    left = f"{duration(max(0, frames_left) * seconds / frames)} left"
    if seconds < TRUSTED_SECONDS and frames_left > 0:
        return f"{left} (a guess: measured for {duration(seconds)})"
    return left


def progress(
    values: Mapping[str, float],
    total_frames: int,
    left: str = "",
    shown: Mapping[str, str] | None = None,
) -> str:
    """`1.2M of 200M frames (0.6 %)  3,412 frames/s  …  16 h 10 min left`.

    Reads `frames`, `frames_per_second`, `episode_return`, `episodes`, `updates`, those
    of `binds` and the first metric of `shown`: {"gamma": a metric} adds `gamma 0.9891`.
    A value that is missing or NaN is left out or said in words. `left` ends the line.
    """
    parts = [frames_done(values["frames"], total_frames)]
    rate = values.get("frames_per_second", math.nan)
    if math.isfinite(rate):
        parts.append(f"{rate:,.0f} frames/s")
    recent = values.get("episode_return", math.nan)
    if not math.isfinite(recent):
        parts.append("no episode yet")
    else:
        episodes = count(values["episodes"], "episode")
        parts.append(f"return {recent:,.4g} after {episodes}")
    if "updates" in values:
        parts.append(count(values["updates"], "update"))
    parts += [
        f"{label} {values[name]:.4f}"
        for label, name in list((shown or {}).items())[:1]
        if name in values
    ]
    return "  ".join(filter(None, [*parts, binds(values), left]))


def scores(row: Mapping[str, float]) -> str:
    """An evaluation's: `greedy 14.1 ± 0.3 (12.3% of human), sampled 13.2 ± 0.4`."""
    parts = []
    for name in sorted(row):
        way = name.removeprefix("evaluation/").removesuffix("/return")
        mean = known(row, name)
        if name != f"evaluation/{way}/return" or mean is None:
            continue
        error = known(row, f"evaluation/{way}/error")
        human = known(row, f"evaluation/{way}/human_normalised")
        part = f"{way} {mean:,.4g}" + ("" if error is None else f" ± {error:,.2g}")
        parts.append(part if human is None else f"{part} ({human:.1%} of human)")
    return ", ".join(parts)


def known(row: Mapping[str, float], name: str) -> float | None:
    """A row's number, where there is one that is finite."""
    value = row.get(name)
    return value if value is not None and math.isfinite(value) else None


def frames_done(frames: float, total_frames: int) -> str:
    """`1.2M of 200M frames (0.6 %)`; the last update may overshoot."""
    share = min(100.0, 100 * frames / total_frames)
    return f"{amount(frames)} of {amount(total_frames)} frames ({share:.1f} %)"


def count(number: float, what: str) -> str:
    """`1 update`, `1,953 updates`."""
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def amount(number: float) -> str:
    """950, 12.3k, 1.25M, 200M: three digits that count."""
    number = float(f"{number:.3g}")  # first: 999,936 are 1M and not 1000k
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{letter}"
    return f"{number:.0f}"


def duration(seconds: float) -> str:
    """`8 s`, `3 min 20 s`, `16 h 10 min`, `2 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
