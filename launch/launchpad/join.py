"""The machines whose actors work for a learner from elsewhere; `remote.py` is theirs.

Each calls the learner's Courier server, beside its actors that ask for parameters:

    join(code, key, machine, actors)   → the learner's configuration, and the index of
                                         the machine's first actor; or why it may not
    tell(key, acting)                  every second → "", or why the run is over
    leave(key)

No two actors of a run share an index, so that each has random numbers of its own, also
where a machine leaves and joins again.
"""

from __future__ import annotations

import math
import re
import threading
import time
from typing import NamedTuple

from stac.config import Config
from stac.launch import version
from stac.runtime.faults.lines import to_stderr

TICK_SECONDS = 1.0
SILENCE_SECONDS = 20.0  # without a word: the other side is gone
_ANSWER_SECONDS = 0.2  # for the last answer to be sent


class _Machine(NamedTuple):
    name: str
    acting: int
    heard: float


class Joined:
    """The learner's side. All of it may be called from any thread."""

    def __init__(self, config: Config) -> None:
        """`config` of the learner. A thread watches for machines that fall silent."""
        self._config, self._code = config, version.code()
        self._lock = threading.Lock()  # guards the three below
        self._next = config.runtime.num_actors  # the index of the next actor
        self._machines: dict[str, _Machine] = {}  # those that are there, by key
        self._names: set[str] = set()  # of all that ever joined
        self._over = ""
        threading.Thread(target=self._watch, name="joined", daemon=True).start()

    def join(
        self, code: str, key: str, machine: str, actors: int
    ) -> tuple[Config, int] | str:
        """Lets a machine join, also one that the learner still counts.

        Args:
          code: the version of its code; see version.code.
          key: which no other machine has.
          machine: its name.
          actors: their number.

        Returns:
          The learner's configuration and the index of the machine's first actor, or a
          line that refuses it.
        """
        machine = re.sub(r"[^\w.-]", "_", machine)[:64]
        if code != self._code:
            line = (
                f"the learner has version {self._code} of stac's code, the actors"
                f" {code}: install the same on both"
            )
            to_stderr(f"actors on {machine} are refused: {line}")
            return line
        with self._lock:
            first, self._next = self._next, self._next + actors
            self._machines[key] = _Machine(machine, 0, time.monotonic())
            self._names.add(machine)
        to_stderr(f"{machine} joins: actors {first} to {first + actors - 1}")
        return self._config, first

    def tell(self, key: str, acting: int) -> str | None:
        """Hears how many actors of a machine act.

        Returns:
          Why the run is over; "" where it is not; None for a machine that is to join
          again.
        """
        with self._lock:
            if key not in self._machines:
                return None
            name = self._machines[key].name
            self._machines[key] = _Machine(name, acting, time.monotonic())
            if self._over:
                del self._machines[key]
            return self._over

    def leave(self, key: str) -> None:
        """Counts a machine out."""
        self._drop(key, "it left", math.inf)

    def metrics(self) -> dict[str, int]:
        """{"actors/a1": 8}: the actors that act on each machine that ever joined."""
        with self._lock:
            acting = dict.fromkeys(sorted(self._names), 0)
            for machine in self._machines.values():
                acting[machine.name] += machine.acting
        return {f"actors/{name}": count for name, count in acting.items()}

    def end(self, over: str) -> None:
        """Tells all machines why the run is over; waits for that, for seconds."""
        self._over = over
        deadline = time.monotonic() + 3 * TICK_SECONDS
        while self._machines and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(_ANSWER_SECONDS)

    def _watch(self) -> None:
        while True:
            time.sleep(TICK_SECONDS)
            for key in list(self._machines):
                self._drop(key, "no answer", time.monotonic() - SILENCE_SECONDS)

    def _drop(self, key: str, why: str, before: float) -> None:
        """Counts a machine out that was last heard before then."""
        with self._lock:
            machine = self._machines.get(key)
            if machine is None or machine.heard >= before:
                return
            del self._machines[key]
        to_stderr(f"{machine.name} is gone: {why}")
