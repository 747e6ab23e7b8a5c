"""The evaluator: which updates it plays, what it skips, and what it keeps."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import jax
import pytest

from stac.config import BatchConfig, Config, RuntimeConfig
from stac.runtime import assembly, devices, evaluator, learner
from stac.runtime.faults import shutdown
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir
from tests.runtime import fakes
from tests.runtime.experiences import numbered

FRAMES = 10  # per update
CONFIG = Config(
    batch=BatchConfig(batch_size=4),
    runtime=RuntimeConfig(evaluate_every=20, keep_best=True),
    total_frames=10**6,
)
WAIT = 20.0


class Play:
    """Scores that a test sets; plays until `go` is set."""

    def __init__(self, **scores: float) -> None:
        self.played: list[int] = []
        self.scores = scores  # {"u4": 1.0}
        self.go = threading.Event()
        self.go.set()

    def __call__(
        self, updates: int, params: Any, check: Callable[[], object]
    ) -> dict[str, float]:
        self.played.append(updates)
        while not self.go.wait(0.01):
            check()
        score = self.scores.get(f"u{updates}", float(params["b"]))
        row = {"evaluation/sampled/return": score, "evaluation/mean/return": -score}
        errors = {"evaluation/sampled/error": 0.0, "evaluation/mean/error": 0.0}
        return {**row, **errors, "evaluation/episodes": 10}


class Run:
    """A learner with an evaluator, in a workdir."""

    def __init__(
        self, path: pathlib.Path, play: evaluator.Play, best_by: str = "sampled"
    ) -> None:
        self.stop = shutdown.Stop()
        counting = fakes.counting_agent(FRAMES)
        learners = devices.LearnerDevices(
            counting._replace(watched=counting.watched._replace(best_by=best_by)),
            jax.local_devices()[:1],
        )
        self._place = workdir.prepare(path, CONFIG)
        self._open = assembly.open_learner(
            CONFIG, learners, path, lambda *_: None, self.stop, play=play
        )

    def __enter__(self) -> Run:
        self.learner = self._open.__enter__()
        self.beside: evaluator.Evaluator = self.learner._outlets.finished.__self__
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)
        self._place.close()

    def learn(self, updates: int, waits: bool = True) -> None:
        """Waits for each evaluation."""
        for _ in range(updates):
            self.learner.step(numbered(range(4), reward=1.0))
            self.learner.settle()
            if waits and self.beside._thread is not None:
                self.beside._thread.join(WAIT)


def rows(path: pathlib.Path) -> list[dict[str, Any]]:
    return loggers.rows(path / workdir.EVALUATIONS)


def best(path: pathlib.Path) -> list[str]:
    return sorted(p.name for p in (path / workdir.BEST).iterdir() if p.name.isdigit())


def test_the_first_state_and_every_crossed_multiple_are_played_and_logged(
    tmp_path: pathlib.Path,
) -> None:
    play = Play()
    with Run(tmp_path, play) as run:
        run.learn(5)
        run.beside.complete()
    assert play.played == [0, 2, 4, 5]  # the last one at the end
    written = rows(tmp_path)
    assert [row["frames"] for row in written] == [0, 20, 40, 50]
    assert [row["updates"] for row in written] == play.played
    # The fake's parameter grows by 8 an update: these were the newest.
    means = [row["evaluation/sampled/return"] for row in written]
    assert means == [0, 16, 32, 40]
    assert not any("evaluation/" in name for name in metrics(tmp_path))


def metrics(path: pathlib.Path) -> set[str]:
    place = path / workdir.METRICS
    return set().union(*loggers.rows(place)) if place.exists() else set()


def test_what_is_due_while_it_plays_is_skipped_and_told_of_once(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Play()
    play.go.clear()
    with Run(tmp_path, play) as run:
        run.learn(6, waits=False)
        play.go.set()
        run.learn(2)
        play.go.clear()
        run.learn(4, waits=False)
        play.go.set()
        run.learn(2)
    assert play.played[:2] == [0, 8]
    assert len(play.played) < 7
    output = capsys.readouterr().out
    assert output.count("evaluations due meanwhile were skipped: 3;") == 1
    assert output.count("were skipped") == 1


def test_a_failure_is_a_line_and_training_goes_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(updates: int, *_: Any) -> dict[str, float]:
        if updates == 2:
            raise RuntimeError("the game crashed")
        return Play()(updates, {"b": 1}, lambda: None)

    with Run(tmp_path, play) as run:
        run.learn(5)
        run.beside.complete()
    line = "EVALUATION FAILED at 20 frames: RuntimeError: the game crashed"
    assert line in capsys.readouterr().out
    assert [row["updates"] for row in rows(tmp_path)] == [0, 4, 5]


def test_the_best_is_kept_and_a_continuation_remembers_its_score(
    tmp_path: pathlib.Path,
) -> None:
    play = Play(u0=1, u2=5, u4=float("nan"), u6=4, u8=7)
    with Run(tmp_path, play) as run:
        run.learn(4)
        assert run.learner.save()
    assert best(tmp_path) == ["2"]
    with Run(tmp_path, play) as run:
        run.learn(2)
        assert best(tmp_path) == ["2"]
        run.learn(2)
    assert best(tmp_path) == ["8"]
    # That one was killed after its last save, of update 4.
    play.scores["u6"] = 9
    with Run(tmp_path, play) as run:
        assert run.learner.updates == 4
        run.learn(2)
    assert best(tmp_path) == ["6"]


def test_a_stop_breaks_the_last_evaluation_off_at_once(tmp_path: pathlib.Path) -> None:
    play = Play()
    with Run(tmp_path, play) as run:
        run.learn(1)
        play.go.clear()
        timer = threading.Timer(0.3, run.stop.set)
        timer.start()
        run.beside.complete()
        timer.join()
        run.learn(2, waits=False)  # a learner may finish what it has begun
    assert play.played == [0, 1]
    assert [row["updates"] for row in rows(tmp_path)] == [0]
    names = [thread.name for thread in threading.enumerate()]
    assert "evaluator" not in names


def test_an_evaluation_that_ended_is_logged_though_the_run_was_stopped_since(
    tmp_path: pathlib.Path,
) -> None:
    """No later part of the run would repeat it."""
    with Run(tmp_path, Play()) as run:
        run.learn(2)
        run.stop.set()
    assert [row["updates"] for row in rows(tmp_path)] == [0, 2]


def test_an_agent_says_by_which_way_of_acting_a_policy_is_the_best(
    tmp_path: pathlib.Path,
) -> None:
    play = Play(u0=2.0, u2=1.0, u4=3.0)
    for best_by, update in (("sampled", "4"), ("mean", "2")):
        with Run(tmp_path / best_by, play, best_by) as run:
            run.learn(5)
        assert best(tmp_path / best_by) == [update]


def test_a_damaged_best_checkpoint_does_not_keep_a_run_from_going_on(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play = Play(u0=1, u2=5, u4=3)
    with Run(tmp_path, play) as run:
        run.learn(2)
        assert run.learner.save()
    sums = tmp_path / workdir.BEST / "2" / "sums.json"
    sums.write_text(sums.read_text().replace("a", "b"))
    with Run(tmp_path, play) as run:
        run.learn(2)
    assert "the best checkpoint so far is lost" in capsys.readouterr().out
    assert best(tmp_path) == ["4"]


def test_of_several_hosts_the_first_plays_no_last_evaluation() -> None:
    learners = devices.LearnerDevices(
        fakes.counting_agent(FRAMES), jax.local_devices()[:1]
    )
    learners.hosts = 2
    ignore: Any = lambda *_: None  # noqa: E731
    outlets = learner.Outlets(ignore, ignore, ignore, ignore, ignore)
    play = Play()
    beside = evaluator.Evaluator(play, CONFIG, learners, outlets)
    beside.finished(3, {"b": 0}, ())  # type: ignore[arg-type]
    beside.complete()
    assert play.played == []


def test_the_best_needs_evaluations() -> None:
    with pytest.raises(ValueError, match="set --evaluate_every=FRAMES too"):
        dataclasses.replace(CONFIG.runtime, evaluate_every=0)
