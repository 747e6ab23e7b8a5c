"""The README's commands do what the README says, on the real tasks."""

from __future__ import annotations

import json
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from stac.launch import flags
from stac.launch.domains import DOMAINS, Domain
from tests.conftest import ROOT
from tests.report import test_runs

README = (ROOT / "README.md").read_text()
METRICS = (ROOT / "docs" / "metrics.md").read_text()
CONTINUOUS = "continuous actions only"  # how docs/metrics.md marks such metrics
CONTROL = ("launch.control", "launch.realworld")
LONGER = {"--task=walker.walk", "--challenge=hard"}  # these commands are slow here too
QUICK = ("launch.catch", "launch.gymnasium")
# The README's runs are minutes or days long: the same for seconds. What it says of
# their returns is not tested here.
SHORT = (
    *("--runtime=lockstep", "--total_frames=1200", "--num_actors=1"),
    *("--envs_per_actor=4", "--config.batch.batch_size=4"),
)
SHORT_CONTROL = (*SHORT, "--config.environment.workers=serial")


def commands(program: str = " -m launch.") -> list[list[str]]:
    """The README's commands of such a program, without their workdirs."""
    blocks = re.findall(r"(?:^    .*\n)+", README, re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", "").split("\n")]
    listed = [shlex.split(line) for line in lines if program in line]
    assert all(words[:2] == [".venv/bin/python", "-m"] for words in listed)
    return [[word for word in words if "--workdir" not in word] for words in listed]


def run(command: list[str], workdir: pathlib.Path) -> list[dict[str, Any]]:
    """The rows of metrics that a command leaves behind."""
    done = subprocess.run(
        [sys.executable, *command[1:], f"--workdir={workdir}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert "warning" not in output.lower()
    assert "Traceback" not in output
    assert (workdir / "config.json").is_file()
    assert any((workdir / "checkpoints").iterdir())
    assert list(workdir.glob("events.out.tfevents.*"))
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_lockstep_command_runs_and_writes_what_is_documented(
    tmp_path: pathlib.Path,
) -> None:
    (command,) = [
        words
        for words in commands()
        if {"launch.atari", "--runtime=lockstep"} <= {*words}
    ]
    rows = run(command, tmp_path / "run")
    assert rows[-1]["frames"] >= 20_000
    written = set().union(*rows)
    assert not [name for name in documented(CONTINUOUS, False) if name not in written]
    assert not undocumented(written)


@pytest.mark.parametrize(
    "command", [words for words in commands() if words[2] in QUICK], ids=" ".join
)
def test_the_commands_that_learn_in_minutes_run(
    command: list[str], tmp_path: pathlib.Path
) -> None:
    rows = run([*command, *SHORT], tmp_path / "run")
    assert rows[-1]["frames"] >= 1200


def test_the_command_for_reports_compares_runs_with_ours(
    tmp_path: pathlib.Path,
) -> None:
    (words,) = [words for words in commands() if words[2] == "launch.report"]
    test_runs.run(tmp_path / "runs" / "x", "impala", 9)
    places = {
        "runs/control": str(tmp_path / "runs"),
        "--out=report": f"--out={tmp_path}",
    }
    command = [sys.executable, *(places.pop(word, word) for word in words[1:])]
    assert not places, "the README names other places"
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=True
    )
    written = [f"written: {tmp_path}/{name}" for name in ("curves.csv", "index.html")]
    assert done.stderr.splitlines() == written
    assert re.search(r"\| 994, .*; 846, 431 \(seed 9, 2.00M\) \|", done.stdout)


def domain(command: list[str]) -> Domain | None:
    """What such a command trains on; None of one that trains nothing."""
    return DOMAINS.get(command[2].removeprefix("launch."))


TRAINING = [words for words in commands() if domain(words)]


def test_programs_of_every_suite_are_among_the_training_commands() -> None:
    suites = "atari catch control gymnasium minatar mujoco realworld".split()
    assert {words[2] for words in TRAINING} == {f"launch.{suite}" for suite in suites}


@pytest.mark.parametrize("command", TRAINING, ids=" ".join)
def test_every_training_command_is_understood(command: list[str]) -> None:
    if sys.version_info >= (3, 13) and {"launch.mujoco", *CONTROL} & {*command}:
        pytest.skip("dm_control has no wheels for this Python")
    config = flags.parse(command[2:], domain(command)).config
    for word in command[3:]:
        name, _, value = word.removeprefix("--").partition("=")
        known = {
            "agent": config.agent.name,
            "task": config.environment.task,
            "env": config.environment.task,
            "game": config.environment.task,
            "network": config.network.torso,
            "challenge": value,  # is many numbers
            "workdir": value,
        }
        section = flags._COMMON[name][0] if name in flags._COMMON else name
        field = section.removeprefix("config.")
        numbers = {key: str(number) for key, number in flags.numbers(config).items()}
        assert (known | numbers)[name if name in known else field] == value


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(words, marks=[pytest.mark.slow] * bool(LONGER & {*words}))
        for words in commands()
        if words[2] in CONTROL
    ],
    ids=" ".join,
)
def test_the_commands_for_control_run(
    command: list[str], tmp_path: pathlib.Path
) -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("dm_control has no wheels for this Python")
    rows = run([*command, *SHORT_CONTROL], tmp_path / "run")
    assert (rows[-1]["frames"], rows[-1]["updates"]) == (1200, 30)
    # The last update began 29 thirtieths of the way from 1e-3 to 1e-4.
    assert rows[-1]["learning_rate"] == pytest.approx(1.3e-4)
    written = set().union(*rows)
    assert set(documented(CONTINUOUS, True)) <= written
    assert not undocumented(written)


def test_the_command_for_a_soft_actor_critic_runs(tmp_path: pathlib.Path) -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("mujoco is installed with dm_control, which has no wheels")
    [command] = [words for words in commands() if words[2] == "launch.mujoco"]
    short = [
        *("--runtime=threads", "--total_frames=300", "--config.agent.soft.minibatch=8"),
        *("--config.agent.soft.first_steps=200", "--config.network.mlp_hiddens=8,8"),
    ]
    rows = run([*command, *short], tmp_path / "run")
    assert rows[-1]["frames"] == 300
    assert rows[-1]["loss/critic"] > 0, "it has learned"
    section = METRICS.split("## Soft actor-critics")[1].split("## Evaluations")[0]
    own = set(re.findall(r"`([a-z_0-9/]+)`", section.partition("---|\n")[2]))
    assert own <= rows[-1].keys()
    assert not undocumented(rows[-1].keys() - own)


@pytest.mark.slow
@pytest.mark.parametrize("program", CONTROL)
@pytest.mark.parametrize(
    "runtime", ["threads", pytest.param("launchpad", marks=pytest.mark.launchpad)]
)
def test_control_runs_to_the_end_in_the_other_runtimes(
    program: str, runtime: str, tmp_path: pathlib.Path
) -> None:
    if sys.version_info >= (3, 13):
        pytest.skip("dm_control has no wheels for this Python")
    command = next(words for words in commands() if words[2] == program)
    rows = run([*command, *SHORT_CONTROL, f"--runtime={runtime}"], tmp_path / "run")
    assert rows[-1]["frames"] == 1200


def documented(mark: str, marked: bool) -> list[str]:
    """Names of metrics in docs/metrics.md, one for each that stands for many."""
    names = [name for name, meaning in in_table() if (mark in meaning) == marked]
    assert len(names) >= (2 if marked else 28)
    return [
        name.replace("<name>", "gamma").replace("<p>", "1").replace("<term>", "value")
        for name in names
    ]


def undocumented(written: Iterable[str]) -> list[str]:
    """Names of metrics that docs/metrics.md does not explain."""
    listed = "|".join(name for name, _ in in_table())
    for pattern in ("<name>", "<p>", "<term>"):
        listed = listed.replace(pattern, "[a-z_0-9]+")
    return sorted(name for name in written if not re.fullmatch(listed, name))


def in_table() -> Iterator[tuple[str, str]]:
    """Each name in the table of docs/metrics.md with the rest of its row."""
    table = METRICS.split("In `metrics.jsonl`:")[1].split("To see the discounts")[0]
    for cell, rest in re.findall(r"^\| (`.*?) \|(.*)", table, re.MULTILINE):
        for name in re.findall(r"`(.+?)`", cell):
            yield name, rest
