"""Who steps the environments of one actor: its own thread, other threads, processes.

All of them run the same `share.Share` on the same numbers, so their rows are equal.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import statistics
import threading
import time
from collections.abc import Sequence
from concurrent import futures
from typing import Any, Protocol

from stac import config
from stac.environments.vector import processes, share

_TURNS = 5  # of each way, when the fastest is looked for
_TURN_SECONDS = 0.2  # or one step, if that takes longer
_TRYING = threading.Lock()  # one of this process's actors at a time


class Workers(Protocol):
    """Environments behind rows that `run` fills."""

    layout: share.Layout
    rows: share.Rows

    def run(self, what: str) -> None:
        """Does `what` in every share: "reset" or "step", then all is written; "adopt".

        These are methods of `stac.environments.vector.share.Share`.
        """
        ...

    def snapshot(self) -> list[bytes]:
        """One of each environment, in their order."""
        ...

    def load(self, states: Sequence[bytes]) -> str:
        """Keeps a snapshot of each environment for "adopt", or says why it cannot."""
        ...

    def close(self) -> None:
        """Ends everything; called once."""
        ...


class Serial:
    """In the caller's thread."""

    def __init__(self, job: share.Job) -> None:
        self._share = share.Share(job)
        self.layout = self._share.layout
        self.rows = self._share.rows = share.rows(self.layout, len(job.seeds))

    def run(self, what: str) -> None:
        getattr(self._share, what)()

    def snapshot(self) -> list[bytes]:
        return self._share.snapshot()

    def load(self, states: Sequence[bytes]) -> str:
        return self._share.load(states)

    def close(self) -> None:
        self._share.close()


class Threads(share.Shares):
    """In threads that each keep what they built; MuJoCo leaves the GIL as it steps."""

    def __init__(self, jobs: Sequence[share.Job], places: Sequence[slice]) -> None:
        self._threads = [
            futures.ThreadPoolExecutor(1, thread_name_prefix="environments")
            for _ in jobs
        ]
        self._built = [
            thread.submit(share.Share, job)
            for thread, job in zip(self._threads, jobs, strict=True)
        ]
        try:
            self._shares = [one.result() for one in self._built]
        except BaseException:
            self.close()
            raise
        self.layout = self._shares[0].layout
        self.rows = share.rows(self.layout, places[-1].stop)
        self._places = places
        for one, place in zip(self._shares, places, strict=True):
            one.rows = self.rows.part(place)

    def _each(self, what: str, given: Sequence[tuple[Any, ...]] = ()) -> list[Any]:
        running = [
            thread.submit(getattr(one, what), *arguments)
            for thread, one, arguments in zip(
                self._threads,
                self._shares,
                given or [()] * len(self._shares),
                strict=True,
            )
        ]
        futures.wait(running)  # all of them: nobody writes into rows that are read
        return [one.result() for one in running]

    def close(self) -> None:
        for thread, one in zip(self._threads, self._built, strict=True):
            if one.exception() is None:
                thread.submit(one.result().close)
        for thread in self._threads:
            thread.shutdown()


def choose(workers: str, threads: int, make: share.Make, seeds: Sequence[int]) -> str:
    """The row of `stac.config.WORKERS` that "auto" stands for; others stay."""
    config.choose("environment.workers", workers, config.WORKERS)
    if workers != "auto":
        return workers
    if min(threads, len(seeds)) == 1:
        return "serial"  # there is nothing to try
    with _TRYING:
        return _fastest(threads, pickle.dumps(make), len(seeds))


@functools.cache  # who starts again, after a fault, does not try again
def _fastest(threads: int, make: bytes, num_envs: int) -> str:
    """The way that steps such environments fastest here and now.

    What is best differs: most of a step of dm_control is Python, under the GIL, so
    threads gain little; processes gain where cores are idle, and lose on short steps
    where none is (figures: BUILD_NOTES.md, section 5). A learner that keeps the cores
    busy later is not seen here.
    """
    rates = {
        way: _rate(way, threads, pickle.loads(make), range(num_envs))
        for way in config.WORKERS
        if way != "auto"
    }
    return max(rates, key=rates.__getitem__)


def _rate(way: str, threads: int, make: share.Make, seeds: Sequence[int]) -> float:
    """Steps per second under the action zero: the median over some turns."""
    cuts = [0] * len(seeds)
    with contextlib.closing(start(way, threads, make, seeds, cuts)) as workers:
        workers.run("reset")
        workers.run("step")  # the first is slower
        return statistics.median(_turn(workers) for _ in range(_TURNS))


def _turn(workers: Workers) -> float:
    steps, begin = 0, time.perf_counter()
    while not steps or time.perf_counter() < begin + _TURN_SECONDS:
        workers.run("step")
        steps += 1
    return steps / (time.perf_counter() - begin)


def start(
    workers: str,
    threads: int,
    make: share.Make,
    seeds: Sequence[int],
    cuts: Sequence[int],
) -> Workers:
    """Builds the environments where they will be stepped."""
    places = share.split(len(seeds), threads if workers != "serial" else 1)
    jobs = [share.job(make, seeds, cuts, place) for place in places]
    if workers == "serial":
        return Serial(jobs[0])
    if workers == "threads":
        return Threads(jobs, places)
    return processes.Processes(jobs, places)
