"""Commands as processes: `python -m stac COMMAND`, terminals, another Python."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys

import pytest

from stac import __main__ as commands
from stac import compiled
from stac.launch import domains
from tests.conftest import ROOT
from tests.programs import python


def stac(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python("-m", "stac", *arguments)


def test_every_row_of_the_domains_has_a_command_and_numbers() -> None:
    for name, domain in domains.DOMAINS.items():
        command = importlib.import_module(f"stac.launch.{name}")
        assert command.main.args[1] is domain
        assert domain.config("stacx").environment.domain in (name, "gymnasium")


def test_without_a_command_all_are_listed() -> None:
    ended = stac()
    assert (ended.returncode, ended.stderr) == (0, "")
    listed = [line.split()[0] for line in ended.stdout.splitlines() if line[:2] == "  "]
    assert listed == list(commands.COMMANDS)


def test_an_unknown_command_is_refused_in_one_line() -> None:
    ended = stac("atary")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "stac: unknown command 'atary': did you mean atari?\n"


def test_the_rest_of_the_line_is_the_commands_and_its_messages_say_how_it_began():
    ended = stac("catch", "--seed=one")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "stac catch: --seed=one: must be a whole number\n"
    assert stac("catch", "--help").stdout.startswith("stac catch: trains an agent on ")
    assert stac("--version").stdout == f"stac {importlib.metadata.version('stac-rl')}\n"


def test_make_run_takes_variables_as_flags() -> None:
    """No run is started: `make --dry-run` prints the command."""
    ended = subprocess.run(
        ["make", "--dry-run", "run", "game=pong", "seed=2", "ARGS=--num_actors=1"],
        cwd=ROOT,
        env={  # of no other make, which would print the folders that it enters
            name: value for name, value in os.environ.items() if "MAKE" not in name
        },
        capture_output=True,
        text=True,
    )
    command = ended.stdout.splitlines()[-1]
    assert "-m launch.atari --agent=stacx --game=james_bond --num_actors=1" in command
    flags = command.partition("--num_actors=1")[2]
    assert set(flags.split()) == {"'--game=pong'", "'--seed=2'"}


def test_a_terminal_without_unicode_shows_a_workdir_escaped_and_programs_are_kept(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training run of two updates, in the words of a user."""
    monkeypatch.delenv(compiled.VARIABLE)  # the tests' own
    ended = python(
        *("-m", "launch.catch", "--runtime=lockstep", "--agent=impala"),
        *(f"--workdir={tmp_path / 'Zürich'}", "--total_frames=320"),
        "--config.network.mlp_hiddens=4",
        LANG="C",
        PYTHONIOENCODING="ascii",
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        **{compiled._SHORTEST: "0"},
    )
    assert ended.returncode == 0, ended.stderr
    # At the start, three times in the last commands, and at the end.
    assert ended.stdout.count("Z\\xfcrich") == 5
    assert (tmp_path / "Zürich" / "metrics.jsonl").exists()
    files = tmp_path.glob("cache/stac/compiled/*/*")
    kept = {path.name.split("-")[0] for path in files}
    assert kept & {"pmap_step", "jit__fun"}, kept  # the update, to old and new JAX


def test_without_the_projects_libraries_a_command_names_the_set_up() -> None:
    ended = subprocess.run(
        [sys.executable, "-S", "-m", "launch.catch"],
        cwd=ROOT,
        env={},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "run `make setup`" in ended.stderr
    assert ended.stderr.count("\n") == 1
