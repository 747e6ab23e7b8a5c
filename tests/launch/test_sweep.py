"""Sweeps: the paper's studies as runs, what is skipped, what failed, and the end."""

from __future__ import annotations

import json
import math
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import pytest

from stac.config import Config, ConfigError
from stac.launch import flags, studies, sweep, watching
from stac.launch.domains import DOMAINS
from stac.runtime.logs import loggers
from stac.runtime.storage import workdir
from tests.conftest import ROOT
from tests.waiting import until

TASKS = {"atari": "pong", "control": "walker.walk", "realworld": "walker.walk"}


def expanded(study="agents", suite="catch", tasks="all", seeds="1", rest=(), out="/o"):
    return sweep.expand(study, suite, tasks, seeds, rest, pathlib.Path(out), 1)


def configured(run: sweep.Run) -> Config:
    """By the command that is run."""
    return flags.parse(["launch.catch", *run.command[2:]], DOMAINS["catch"]).config


@pytest.mark.parametrize(
    ("study", "suite"),
    [
        (study, suite)
        for study in studies.STUDIES
        for suite in DOMAINS
        if suite != "realworld" or study in ("agents", "soft")  # slow; as control's
    ],
)
def test_every_study_of_every_suite_is_commands_that_would_be_accepted(study, suite):
    if suite in ("control", "realworld") and sys.version_info >= (3, 13):
        pytest.skip("dm_control has no wheels for this Python")
    arms = studies.STUDIES[study].arms
    given = {"tasks": TASKS.get(suite, "all"), "seeds": "1,2"}
    if study.startswith("soft") and suite not in ("control", "mujoco", "realworld"):
        with pytest.raises(ConfigError, match="is for continuous actions"):
            expanded(study, suite, **given)
        return
    runs = expanded(study, suite, **given)
    assert len({run.workdir for run in runs}) == len(runs)
    assert len(runs) % (2 * len(arms)) == 0
    for run in runs:
        assert f"--seed={run.seed}" in run.command


def test_runs_of_mujoco_are_as_long_as_published_and_have_one_actor():
    if sys.version_info >= (3, 13):
        pytest.skip("dm_control has no wheels for this Python")
    runs = expanded("soft", "mujoco")
    lengths = {run.task: run.total_frames for run in runs}
    assert lengths == {
        "Ant-v4": 3e6,
        "Hopper-v4": 1e6,
        "Humanoid-v4": 1e7,
        "Walker2d-v4": 3e6,
    }
    assert not any("--num_actors" in word for run in runs for word in run.words)


def test_the_arms_are_those_of_the_paper():
    counts = {name: len(study.arms) for name, study in studies.STUDIES.items()}
    assert counts == {
        "agents": 4,
        "ablation": 10,
        "robustness_outer": 18,
        "robustness_init": 9,
        "heads": 5,
        "behaviour": 3,
        "values": 4,
        "shaping": 4,
        "embedding": 5,
        "soft": 3,
        "soft_ablation": 4,
        "kl": 4,
        "alphas": 3,
        "readings": 24,
    }
    open_ = {run.arm.label: configured(run) for run in expanded("readings")}
    optimizer = open_["impala_released_optimizer"].optimizer
    assert (optimizer.max_gradient_norm, optimizer.rms_initial) == (0.0, 1.0)
    assert not open_["stacx_constant_clip"].optimizer.clip_derivative
    assert len(set(open_.values())) == 24
    assert len(expanded("agents", "atari", seeds="1..3")) == 57 * 4 * 3
    tuned = {run.arm.label: configured(run).agent for run in expanded("ablation")}
    assert tuned["stac_gamma_lambda"].self_tuned_names == ("gamma", "lambda")
    assert (tuned["stac_gamma"].heads, tuned["stacx_gamma"].heads) == (1, 3)
    assert tuned["impala_aux"].self_tuned == ""
    assert "alpha" not in tuned["stacx_all_but_alpha"].self_tuned_names
    embedded = {run.arm.label: configured(run).agent for run in expanded("embedding")}
    assert embedded["stac_shared"].self_tuned_names == ("gamma", "lambda")
    assert embedded["stacx_none"] == tuned["stacx"]
    runs = expanded("robustness_init")
    begun = {run.arm.label: configured(run).agent for run in runs}
    assert begun["stacx"] == configured(expanded()[-1]).agent  # the usual, from 0.99
    for value in studies.GAMMAS[1:]:
        both, gamma = (
            begun[f"stacx_{kind}_from{value:g}"] for kind in ("all", "gamma")
        )
        for raw in (both.initial_raw, both.initial_raw_gamma, gamma.initial_raw_gamma):
            assert 1 / (1 + math.exp(-raw)) == pytest.approx(value, abs=1e-5)
        assert gamma.initial_raw == 4.6


def test_flags_for_all_runs_win_and_a_mistake_is_refused_before_any_run():
    (run, *_) = expanded(rest=["--total_frames=1e4", "--num_actors=3"])
    assert run.total_frames == 10_000
    assert configured(run).runtime.num_actors == 3
    assert run.workdir == pathlib.Path("/o/catch/features/impala_seed1")
    for wrong, why in (
        ({"rest": ["--sede=1"]}, "did you mean --seed"),
        ({"study": "agent"}, "did you mean agents"),
        ({"suite": "atary"}, "did you mean atari"),
        ({"seeds": "1-3"}, "as in 1,2,5 or 1..5"),
        ({"suite": "minatar", "tasks": "brakout"}, "did you mean breakout"),
        ({"tasks": ","}, "name tasks"),
        ({"rest": ["--agent=impala"]}, "--agent: a sweep sets it"),
        ({"rest": ["--task=cut"]}, "--task: a sweep sets it"),
        ({"suite": "minatar", "rest": ["--task=cut"]}, "--task: a sweep sets it"),
        ({"rest": ["--agents=stac"]}, "--agents: a sweep sets it"),
        ({"rest": ["--logger=wandbee"]}, "unknown logger 'wandbee'"),
        ({"tasks": "foo"}, "unknown catch task 'foo'"),
        ({"seeds": "3,-1"}, "seed"),
    ):
        with pytest.raises(ConfigError, match=why):
            expanded(**wrong)


def test_a_dry_run_prints_a_command_a_line(tmp_path, capsys):
    words = ["--study=kl", "--suite=catch", "--seeds=4", f"--out={tmp_path}/a b"]
    assert sweep.main(["x", *words, "--dry_run"]) == 0
    printed = [shlex.split(line) for line in capsys.readouterr().out.splitlines()]
    assert len(printed) == 4
    assert {words[0] for words in printed} == {"python"}
    assert f"--workdir={tmp_path}/a b/catch/features/stacx_g_kl_0.3_seed4" in printed[1]
    assert not list(tmp_path.iterdir())


def scripted(tmp_path):
    return expanded(out=str(tmp_path / "out"))


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch):
    """For the command of each run, and for the report's, which prints its arguments."""
    monkeypatch.setattr(sweep, "_PACKAGE", "tests.launch.stand_in")


def test_a_failed_run_is_named_and_the_others_go_on(tmp_path, capfd, monkeypatch):
    def begin(*arguments, preexec_fn=None, real=subprocess.Popen, **others):
        """Does not fork, which JAX dislikes; a sweep's own process has no JAX."""
        return real(*arguments, **others)

    monkeypatch.setattr(sweep.subprocess, "Popen", begin)
    monkeypatch.setenv("FAILS", "impala_aux")
    runs = scripted(tmp_path)
    status = sweep.Sweep(runs, 2).run(tmp_path / "out", tmp_path / "report", "again!")
    printed = capfd.readouterr()
    assert status == 1
    assert "features impala seed 1: done: 300k frames, return 1.5" in printed.out
    assert "features impala_aux seed 1 failed: boiler (see" in printed.err
    assert "continue  again!" in printed.out
    assert f"report of {tmp_path}/out --out={tmp_path}/report" in printed.out
    # The same command repeats no run that is finished.
    times = {run: os.stat(run.workdir / "metrics.jsonl").st_mtime_ns for run in runs}
    monkeypatch.delenv("FAILS")
    (runs[1].workdir / "metrics.jsonl").unlink()
    (runs[1].workdir / "checkpoints" / "5").rmdir()
    (runs[1].workdir / "checkpoints").rmdir()
    mended = scripted(tmp_path)
    assert sweep.Sweep(mended, 2).run(tmp_path / "out", tmp_path / "report", "") == 0
    assert "3 finished before, 1 to do" in capfd.readouterr().out
    for run in (runs[0], *runs[2:]):
        assert os.stat(run.workdir / "metrics.jsonl").st_mtime_ns == times[run]


def test_a_run_is_finished_when_its_last_frame_is_logged_and_saved(tmp_path):
    run = expanded(out=str(tmp_path))[0]
    assert not sweep.is_finished(run)
    run.workdir.mkdir(parents=True)
    (run.workdir / "config.json").write_text(
        json.dumps(workdir.content(configured(run)))
    )
    sweep.refuse_another(expanded(rest=["--total_frames=1e4"], out=str(tmp_path))[0])
    metrics = loggers.JsonLines(run.workdir / "metrics.jsonl")
    (run.workdir / "checkpoints" / "7").mkdir(parents=True)
    metrics.write({"frames": 299_999, "updates": 7})
    assert not sweep.is_finished(run)
    metrics.write({"frames": 300_000, "updates": 8})
    assert not sweep.is_finished(run)
    (run.workdir / "checkpoints" / "8").mkdir()
    assert sweep.is_finished(run)
    other = expanded(rest=["--config.agent.outer.gamma=0.5"], out=str(tmp_path))[0]
    with pytest.raises(ConfigError, match=r"0.99 there, 0.5 here; name another --out"):
        sweep.refuse_another(other)
    for damaged in (b'\xff{"frames": \n[1]\n', b'{"frames": null}\n'):
        (run.workdir / "metrics.jsonl").write_bytes(damaged)
        assert not sweep.is_finished(run)


def test_the_time_left_counts_runs_that_wait():
    line = watching.Line("a", 1000, 3000, 10.0, math.nan)
    both = watching.Progress(1, 5, [line, line._replace(rate=math.nan)], 12_000)
    assert both.summary == "1 of 5 runs done, 2 running, 10 min 0 s left"
    assert line.cells() == ("a", "1k of 3k", "10/s", "", "3 min 20 s")


@pytest.mark.slow
@pytest.mark.faults
def test_a_sweep_that_is_interrupted_continues_without_repeating_a_run(tmp_path):
    """60 s: real runs of catch; one is finished and one at work when Ctrl-C comes.

    The next sweep is killed, and its runs save and leave.
    """
    command = [sys.executable, "-m", "launch.sweep", "--study=kl", "--suite=catch"]
    command += [
        "--seeds=1",
        "--parallel=2",
        f"--out={tmp_path}",
        "--total_frames=40000",
    ]
    log = tmp_path / "log"

    def metrics() -> dict[str, list]:
        files = tmp_path.glob("catch/features/*/metrics.jsonl")
        return {path.parent.name: loggers.rows(path) for path in files}

    def frames(name: str) -> float:
        rows = metrics().get(name)
        return rows[-1]["frames"] if rows else 0

    with log.open("wb") as file:
        running = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        try:
            news = (b"1 of 4 runs", b"seed 1: done")
            until(
                lambda: any(words in log.read_bytes() for words in news),
                240,
                log.read_text,
                every=0.2,
            )
            running.send_signal(signal.SIGINT)
            assert running.wait(60) == 0
        finally:
            running.kill()  # with it go its runs
            running.wait()
    assert b"-m launch.sweep --study=kl" in log.read_bytes()
    before = metrics()
    done = [name for name in before if frames(name) >= 40_000]
    assert 1 <= len(done) < 4

    def logs() -> str:
        return "".join(path.read_text() for path in tmp_path.glob("logs/*"))

    begun = logs().count("waiting for the actors")
    with log.open("wb") as file:
        running = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
        until(lambda: logs().count("waiting for the actors") > begun, 120, logs)
        running.kill()
        running.wait()
    until(lambda: "SIGUSR1: saving and leaving" in logs(), 60, logs)
    time.sleep(10)  # until the last has left
    before = metrics()
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert f"{len(done)} finished before, {4 - len(done)} to do" in ended.stdout
    assert len(metrics()) == 4
    assert all(frames(name) >= 40_000 for name in metrics())
    for name in done:
        assert metrics()[name] == before[name]
