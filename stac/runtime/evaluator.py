"""The evaluator beside training: it plays episodes with the parameters of an update.

One mechanism for every runtime: a thread in the learner's process, which acts on the
CPU. The learner hands it every finished update and never waits for it; only at the end
of a complete run the last parameters are evaluated too. While it plays, updates that
would be due are passed over. Training draws nothing from it, so a run in lockstep has
the same bits with it and without.

It knows no environment: it gets a function that plays. Rows and lines are written in
the learner's thread, so no logger needs a lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import NamedTuple

from stac.config import Config, ConfigError
from stac.runtime.devices import LearnerDevices
from stac.runtime.faults.restarts import describe
from stac.runtime.learner import Outlets
from stac.runtime.logs import words
from stac.runtime.storage.checkpoints import Checkpoints, NotSaved
from stac.types import LearnerState, Params

_JOIN_SECONDS = 3.0
_RESULT = "evaluation"  # its row, among the counters of the best checkpoint
# From (updates, parameters for actors, a function that raises to break off) to a row.
Play = Callable[[int, Params, Callable[[], None]], dict[str, float]]


class Best:
    """The best-scoring checkpoint. Its score lies in it, and outlives the process."""

    def __init__(
        self,
        saved: Checkpoints,
        like: LearnerState,
        fetch: Callable[[LearnerState], LearnerState],
        say: Callable[[str], None],
        way: str,
    ) -> None:
        """Reads the score of the checkpoint that an earlier part of the run kept.

        Args:
          saved: a directory of its own, with room for one.
          like: a state of the same structure.
          fetch: from a replicated state to one in numpy.
          say: takes a line about a damaged one.
          way: of acting, whose return is the score.
        """
        self._saved, self._fetch = saved, fetch
        self._column = f"evaluation/{way}/return"
        row: Mapping[str, float] = {}
        try:
            latest = saved.latest(like, say)
            row = latest.counters[_RESULT] if latest else {}
        except ConfigError:  # it cannot be read; training needs none of it
            say("the best checkpoint so far is lost: the next evaluation is the best")
        self._score = row.get(self._column, -float("inf"))

    def keep(self, updates: int, states: LearnerState, row: dict[str, float]) -> bool:
        """Saves the state if its score is the best so far; returns whether it is.

        Raises:
          NotSaved: the disk refuses it; the one before may be gone, if it was of a
            later update.
        """
        if not row[self._column] > self._score:  # nor where it is no number
            return False
        # After a kill the run goes on from before, and the best may be of later.
        self._saved.remove_from(updates)
        self._saved.save(updates, self._fetch(states), {_RESULT: row})
        self._score = row[self._column]
        return True


class Outcome(NamedTuple):
    """The end of one evaluation."""

    row: dict[str, float]  # {}: it failed
    line: str


class Evaluator:
    """Plays in a thread; all methods but `break_off` are for the learner's thread."""

    def __init__(
        self,
        play: Play,
        config: Config,
        devices: LearnerDevices,
        outlets: Outlets,  # for rows and lines
        best: Best | None = None,
    ) -> None:
        self._play, self._best = play, best
        self._every = config.runtime.evaluate_every  # frames
        self._frames_per_update = devices.agent.frames_per_update
        self._alone = devices.hosts == 1
        self._outlets = outlets
        self._newest: tuple[int, Params, LearnerState] | None = None
        self._evaluated = -1  # updates behind the newest parameters that were played
        self._playing: futures.Future[Outcome] | None = None
        self._skipped = 0  # evaluations that were due during this one
        self._warned = False  # that some were skipped
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def finished(self, updates: int, params: Params, states: LearnerState) -> None:
        """Takes a finished update, and evaluates it where that is due.

        The first update that it gets is where this part of the run begins: it is
        evaluated if it is the run's very first state.
        """
        self._take_if_done()
        if self._closed.is_set():
            return
        before, self._newest = self._newest, (updates, params, states)
        due = updates == 0
        if before is not None:
            due = self._multiples(updates) > self._multiples(before[0])
        if due and self._playing is None:
            self._begin()
        elif due:
            self._skipped += 1

    def complete(self) -> None:
        """Evaluates the last parameters; `break_off` ends that.

        Where there are several hosts, the others would wait for it, and give up.
        """
        assert self._newest is not None
        self._take_if_done()
        if not self._alone:
            return
        self._outlets.status("evaluating the last parameters")
        while not self._closed.is_set():
            if self._playing is not None:
                self._take(self._playing)
            if self._evaluated == self._newest[0]:
                return
            self._begin()

    def break_off(self) -> None:
        """Ends what is played, from any thread, and does not wait for it."""
        self._closed.set()
        if (playing := self._playing) is not None:
            playing.cancel()  # wakes `complete`

    def close(self) -> None:
        """Breaks off; waits a little for the thread, which may still compile.

        An evaluation that has ended is logged: no later part of the run repeats it.
        """
        self._take_if_done()
        self.break_off()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _multiples(self, updates: int) -> int:
        return updates * self._frames_per_update // self._every

    def _begin(self) -> None:
        assert self._newest is not None
        self._evaluated, self._skipped = self._newest[0], 0
        self._playing = futures.Future()
        arguments = (self._playing, *self._newest)
        self._thread = threading.Thread(
            target=self._run, args=arguments, name="evaluator", daemon=True
        )
        self._thread.start()
        if self._closed.is_set():  # since this began
            self._playing.cancel()

    def _take_if_done(self) -> None:
        if self._playing is not None and self._playing.done():
            self._take(self._playing)

    def _take(self, playing: futures.Future[Outcome]) -> None:
        """Waits for the end of an evaluation; logs it and tells of it."""
        try:
            row, line = playing.result()
        except futures.CancelledError:  # it was broken off
            return
        finally:
            self._playing = None
        if row:
            self._outlets.logger.write(row)
        self._outlets.note(line)
        if self._skipped and not self._warned:
            self._warned = True
            self._outlets.note(
                f"evaluations due meanwhile were skipped: {self._skipped}; a larger"
                " --evaluate_every or a smaller --config.runtime.evaluate_episodes"
                " skips none"
            )

    def _run(
        self,
        playing: futures.Future[Outcome],
        updates: int,
        params: Params,
        states: LearnerState,
    ) -> None:
        frames = updates * self._frames_per_update
        try:
            outcome = self._evaluate(updates, frames, params, states)
        except BaseException as error:  # noqa: BLE001 - costs a row and not the run
            line = (
                f"EVALUATION FAILED at {words.amount(frames)} frames: {describe(error)}"
            )
            outcome = Outcome({}, f"{line}; the run goes on")
        with contextlib.suppress(futures.InvalidStateError):  # it was cancelled
            playing.set_result(outcome)

    def _evaluate(
        self, updates: int, frames: int, params: Params, states: LearnerState
    ) -> Outcome:
        row = self._play(updates, params, self._check)
        row = {"frames": frames, "updates": updates, **row}
        line = (
            f"evaluation at {words.amount(frames)} frames: {words.scores(row)}"
            f" ({row['evaluation/episodes']} episodes)"
        )
        if self._best is not None:
            try:
                if self._best.keep(updates, states, row):
                    line += "; the best so far: kept in best/"
            except NotSaved as error:
                line += f"; THE BEST SO FAR IS NOT SAVED: {error}"
        return Outcome(row, line)

    def _check(self) -> None:
        if self._closed.is_set():
            raise futures.CancelledError
