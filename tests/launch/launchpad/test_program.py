"""The Launchpad program as a user meets it: watched, interrupted, continued."""

from __future__ import annotations

import os
import signal

import pytest

from stac.evaluation import policies
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir
from tests.launch.runs import (
    BROKEN_GAME,
    END_SECONDS,
    FAIL_SECONDS,
    LONG,
    START_SECONDS,
    early,
    saved,
    unexpected,
)
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.launchpad]


PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")


def test_an_interrupted_run_saves_leaves_nothing_behind_and_is_continued(
    start, tmp_path, monkeypatch
):
    """It evaluates as well, and no proxy stands between its parts."""
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    evaluates = ("--evaluate_every=16000", "--config.runtime.evaluate_episodes=2")
    flags = ("--total_frames=32000", *evaluates, "--best")
    run = start(tmp_path, *flags)
    run.wait_for("1 update")
    run.interrupt()
    assert run.status(END_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []
    [updates] = saved(tmp_path)
    assert 0 < updates < 200, "it was to be interrupted"

    run = start(tmp_path, *flags)
    assert run.status(START_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []
    assert f"continuing from update {updates}" in run.lines
    assert saved(tmp_path)[-1] == 200
    rows = loggers.rows(tmp_path / workdir.EVALUATIONS)
    assert (rows[0]["updates"], rows[-1]["updates"]) == (0, 200)
    best = policies.load(tmp_path, best=True).updates
    assert best in {row["updates"] for row in rows}


@pytest.mark.slow
def test_a_finished_run_says_so_before_any_process_starts(start, tmp_path):
    flags = ("--total_frames=320",)
    run = start(tmp_path, *flags)
    assert run.status(START_SECONDS) == 0
    again = start(tmp_path, *flags)
    assert again.status(START_SECONDS) == 0
    assert unexpected(again) == ["nothing left to do: 320 frames are done"]
    assert again.lines[0] == f"continuing {tmp_path}"
    assert again.lines[-1] == f"done: 320 frames; update 2 is saved in {tmp_path}"


@pytest.mark.slow
def test_a_warning_before_pre_emption_saves_as_sigterm_does(start, tmp_path):
    run = start(tmp_path, f"--total_frames={LONG}")
    run.wait_for("1 update")
    for process in run.processes():  # some schedulers tell them all
        os.kill(process, signal.SIGUSR1)
    assert run.status(END_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []
    assert saved(tmp_path)[-1] > 0


def test_sigterm_stops_the_processes_as_soon_as_they_are_there(start, tmp_path):
    run = start(tmp_path, f"--total_frames={LONG}")
    run.wait_for("writing to")
    # The parent, the queue, the learner and the actor.
    until(lambda: len(run.processes()) >= 4, START_SECONDS, lambda: run.text)
    run.terminate()
    assert run.status(END_SECONDS) == 0
    assert run.processes() == []
    assert unexpected(run) == []


@pytest.mark.slow
def test_an_actor_that_fails_too_often_ends_the_run_with_its_traceback(start, tmp_path):
    broken = early(tmp_path / "broken", BROKEN_GAME)
    run = start(
        tmp_path / "run",
        f"--total_frames={LONG}",
        "--config.runtime.actor_restarts=1",
        path=broken,
    )
    run.wait_for("actor/0 failed: RuntimeError: the paddle broke (sitecustomize.py:")
    run.wait_for("starting it again in 1 s (1 of 1 in 10 min)")
    run.wait_for("too often (2 of 1 in 10 min)")
    assert run.status(FAIL_SECONDS) == 1
    assert run.processes() == []
    assert run.text.count("Traceback (most recent call last):") == 1
    assert run.lines[-1] == "RuntimeError: the paddle broke"
    assert saved(tmp_path / "run"), "what was learned is to be saved"
