"""The scripts that measure: their refusals before they begin, and their sums."""

from __future__ import annotations

import argparse
import pathlib
import runpy
import signal
import subprocess
import sys
import types

import numpy as np
import pytest

import benchmarks
from benchmarks import (
    faults,
    gpu,
    growth,
    replay,
    sample_factory,
    soak,
    soft,
    start,
    throughput,
    update,
)
from stac import evaluation, report
from stac.config import Config
from stac.environments.base import BatchedEnvironment
from stac.evaluation import episodes, trivial_policies
from stac.launch import cli
from tests import refusals
from tests.waiting import until

FEATURES = "control:cartpole.swingup:features"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [FEATURES, "--agents=impala,stax", "--runtimes=threads"],
            "unknown agent 'stax': did you mean stacx",
        ),
        (
            [FEATURES, "--runtimes=thread"],
            "unknown runtime.name 'thread': did you mean threads",
        ),
        (
            [FEATURES, "--runtimes=threads", "--sed=1"],
            "unknown flag --sed: did you mean --seed or --config.seed?",
        ),
        (["control:cartpole.balance"], "write <command>:<task>:<variant>"),
        ([FEATURES, "control:cartpole.balans:features"], "did you mean cartpole.bala"),
    ],
)
def test_what_commands_would_refuse_is_told_before_anything_is_measured(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(*arguments: object) -> None:
        pytest.fail("something is measured")

    monkeypatch.setattr(throughput, "alone", measured)
    monkeypatch.setattr(throughput, "runtime", measured)
    assert said in refusals.of(throughput.main, arguments, monkeypatch, capsys)


SCRIPTS = [
    path
    for package in (benchmarks, evaluation, report)
    for path in sorted(pathlib.Path(package.__path__[0]).glob("*.py"))
    if "__main__" in path.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_ctrl_c_ends_a_script_without_a_traceback(
    script: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(argparse.ArgumentParser, "parse_known_args", interrupted)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    assert ended.value.code == 130


def test_what_a_command_lists_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "control:list:features"])
    assert cli.run(throughput.main) == 0
    assert "walker.walk" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("script", "arguments", "said"),
    [
        (faults, ["--only=nonsense"], "--only=nonsense: no fault and runtime has"),
        (update, ["--networks=deap"], "deap"),
        (
            trivial_policies,
            ["walker.wolk"],
            "did you mean walker.walk?",
        ),
        (
            trivial_policies,
            ["walker.walk:esay"],
            "challenge 'esay': did you mean easy?",
        ),
        (growth, ["--only=noise"], "--only=noise: name some of heads,batch_size,"),
        (growth, ["--out=none/x.png"], "--out=none/x.png: no such folder"),
        (sample_factory, ["--library=none"], "--library=none: no file"),
        (soft, ["--returns=10000"], "--library=: no file"),
        (sample_factory, ["--library=/bin/sh", "--networks=x"], "shallow, deep"),
        (replay, ["--seconds=0"], "--seconds=0.0: must be positive"),
        (start, ["--rounds=0"], "--rounds=0: must be at least 1"),
        (start, ["--commands=--agent=impal"], "did you mean impala or"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    script: types.ModuleType,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in refusals.of(script.main, arguments, monkeypatch, capsys)


def test_a_soak_that_is_interrupted_ends_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = []

    def interrupted(process: subprocess.Popen, minutes: list[float]) -> None:
        watched.append(process)
        raise KeyboardInterrupt

    # Not Python: one that is interrupted as it begins may end in another way.
    monkeypatch.setattr(soak, "COMMAND", ("sh", "-c", "exec sleep 60"))
    monkeypatch.setattr(soak, "watch", interrupted)
    monkeypatch.setattr(sys, "argv", ["x"])
    # A job of a script with & ignores SIGINT, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.run(soak.main) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert watched[0].poll() == -signal.SIGINT


def test_a_soak_of_a_command_that_ends_at_once_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soak, "COMMAND", (sys.executable, "-c", "raise SystemExit(2)"))
    monkeypatch.setattr(sys, "argv", ["x", "--minutes=0.1"])
    said = r"no update was made; more --minutes\? The command ended by itself, exit st"
    with pytest.raises(SystemExit, match=rf"{said}atus 2"):
        soak.main()


def test_a_soak_kills_what_does_not_end_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(soak, "END_SECONDS", 0.5)
    stubborn = "trap '' INT; echo; while :; do sleep 60; done"
    with subprocess.Popen(
        ["sh", "-c", stubborn], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        process.stdout.readline()  # now it hears no more
        said = soak.interrupt(process)
    assert said == "did not end within 0 s of Ctrl-C, and was killed"
    assert process.returncode == -signal.SIGKILL


def test_a_soak_that_ends_before_the_first_look_is_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    soak.report(["a warning\n"], [], {"updates": 1, "frames": 2, "seconds": 3})
    said = capsys.readouterr().out
    assert "it ended before the first look" in said
    assert "lines printed 1, of them warnings or errors 1" in said


def test_policies_of_a_challenge_get_nothing_of_one_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []

    def returns(environment: BatchedEnvironment, policy: episodes.Policy) -> np.ndarray:
        timestep, rewards = environment.reset(), []
        for step in range(60):
            timestep = environment.step(policy(timestep, step))
            rewards.append(timestep.reward)
        seen.append(np.array(rewards[:40]))
        return np.zeros(2)

    monkeypatch.setattr(trivial_policies, "returns", returns)
    assert len(list(trivial_policies.row("cartpole.swingup:hard", 2))) == 6
    assert len(seen) == 5 + 5
    for rewards in seen:  # they come 40 steps late: as the first until then
        np.testing.assert_array_equal(rewards, np.broadcast_to(rewards[0], (40, 2)))


def test_policies_of_plain_control_are_played_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(trivial_policies, "returns", lambda *_: np.array([1.0, 3.0]))
    monkeypatch.setattr(sys, "argv", ["x", "cartpole.balance", "--episodes=2"])
    trivial_policies.main()
    names = ("zero", "lowest", "highest", "uniform", "noise")
    cells = "  ".join(f"{name} 2.000 ± 1.000" for name in names)
    line = f"cartpole.balance  {cells}  untrained 2.000 ± 0.000\n"
    assert capsys.readouterr().out == line


def test_the_gpus_figures_are_taken_on_a_cpu_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The real ratios; the runs are `throughput`'s, which is measured elsewhere."""
    rate = throughput.Rate("run", 1000.0, 10, 0.0)
    monkeypatch.setattr(throughput, "alone", lambda *arguments: rate)
    monkeypatch.setattr(throughput, "runtime", lambda *arguments: rate)
    monkeypatch.setattr(gpu, "_ASK", ("echo", "40"))
    monkeypatch.setattr(sys, "argv", ["gpu", "--network=shallow", "--agents=stac"])
    gpu.main()
    _, default, highest, alone, _, row = capsys.readouterr().out.splitlines()
    for line in (default, highest):
        assert float(line.rsplit(" ", 1)[1]) < 1e-4
    assert alone.endswith("4,000 frames/s")
    assert row.split() == ["stac", "4,000", "-", "833", "min"]


def test_a_gpu_is_watched_while_a_run_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_ASK", ("echo", "40"))
    with gpu.watched() as seen:
        until(lambda: len(seen) >= 2)
    assert set(seen) == {40.0}


def test_the_rate_of_a_library_is_taken_from_its_log(
    tmp_path: pathlib.Path,
) -> None:
    """Ten seconds and 5,000 steps apart; a line without steps is before the clock."""
    line = "\\033[36m[2026-01-01 00:00:{}][7] Fps is (…). Total num frames: {}. (…)\\n"
    rows = [("01,500", 0), ("03,500", 640), ("08,500", 3_000), ("13,500", 5_640)]
    log = "".join(line.format(*row) for row in rows)
    script = f"#!/bin/sh\nprintf '{log}'\nexec sleep 60\n"
    library = tmp_path / "python"
    library.write_text(script)
    library.chmod(0o755)
    assert sample_factory.library(str(library), "deep", "serial", 9.0) == 500.0


def test_what_a_library_of_sac_learns_is_a_table(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    library = tmp_path / "python"
    library.write_text("#!/bin/sh\necho 8.0 5.25\necho 100.0 7.0\nexit $4\n")
    library.chmod(0o755)
    asked = ["x", f"--library={library}", "--returns=20000"]
    monkeypatch.setattr(sys, "argv", [*asked, "--seed=0"])
    soft.main()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "Hopper-v4,sbx,0,10000,5.2,1250.0",
        "Hopper-v4,sbx,0,20000,7.0,100.0",
    ]
    monkeypatch.setattr(sys, "argv", [*asked, "--seed=3"])
    with pytest.raises(subprocess.CalledProcessError):
        soft.main()


def test_growth_varies_one_number_and_draws_it(
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = []

    def heads(config: Config) -> float:
        seen.append((config.agent.name, config.agent.heads, config.batch.batch_size))
        return float(config.agent.heads)

    acts = ("runtime", "envs_per_actor", (1,), "steps/s", growth.acting)
    panels = (("agent", "heads", (1, 2), "ms", heads), acts)
    monkeypatch.setattr(growth, "PANELS", panels)
    out = tmp_path / "x.png"
    monkeypatch.setattr(sys, "argv", ["x", f"--out={out}"])
    growth.main()
    names = ("impala_aux", "stacx")
    assert seen == [(name, count, 32) for count in (1, 2) for name in names]
    *_, last = capsys.readouterr().out.splitlines()
    assert last.split()[:2] == ["envs_per_actor", "1"]
    assert all(float(x.replace(",", "")) > 10 for x in last.split()[2:4])
    assert out.read_bytes().startswith(b"\x89PNG")
