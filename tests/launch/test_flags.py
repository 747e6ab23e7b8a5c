"""The command line: what wins over what, and one clear line for whatever is wrong."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from stac import config as configuration
from stac.config import Config, ConfigError
from stac.launch import atari, catch, control, flags, gymnasium, realworld
from stac.launch.domains import DOMAINS
from tests.conftest import ROOT
from tests.programs import python

pytestmark = pytest.mark.usefixtures("elsewhere")

HAS_LAUNCHPAD = importlib.util.find_spec("launchpad") is not None


def parsed(*arguments: str) -> Config:
    return flags.parse(
        ["atari", "--runtime=threads", *arguments], DOMAINS["atari"]
    ).config


def never(config: Config, workdir: str) -> None:
    raise AssertionError(f"{workdir} was run")


def test_without_flags_it_is_the_papers_run() -> None:
    config = parsed()
    assert (config.agent.name, config.agent.heads) == ("stacx", 3)
    assert config.agent.self_tuned_names == (
        *("gamma", "lambda", "alpha", "g_v", "g_p", "g_e"),
    )
    assert (config.network.torso, config.environment.task) == ("deep", "jamesbond")
    assert (config.batch.batch_size, config.batch.unroll_length) == (32, 20)
    assert config.total_frames == 200_000_000


@pytest.mark.parametrize(
    ("agent", "heads", "tuned"),
    [("impala", 1, 0), ("impala_aux", 3, 0), ("stac", 1, 6), ("stacx", 3, 6)],
)
def test_an_agent_is_a_row(agent: str, heads: int, tuned: int) -> None:
    config = parsed(f"--agent={agent}")
    assert (config.agent.heads, len(config.agent.self_tuned_names)) == (heads, tuned)
    assert config.agent.outer.gamma == 0.995  # the domain's numbers stay


def test_overrides_win_over_flags_and_flags_over_the_row() -> None:
    config = parsed(
        "--agent=stac",
        "--config.agent.heads=5",
        "--seed=2",
        "--config.seed=3",
        "--total_frames=900",
        "--total_frames=1000",
        "--num_actors=4",
        "--envs_per_actor=6",
        "--network=shallow",
    )
    assert (config.agent.name, config.agent.heads) == ("stac", 5)
    assert (config.seed, config.total_frames) == (3, 1000)
    assert (config.runtime.num_actors, config.runtime.envs_per_actor) == (4, 6)
    assert config.network.torso == "shallow"


@pytest.mark.parametrize("spelling", ["1000000", "1e6", "1_000_000"])
def test_a_million_may_be_spelt_as_people_do(spelling: str) -> None:
    assert parsed(f"--total_frames={spelling}").total_frames == 1_000_000
    assert parsed(f"--config.total_frames={spelling}").total_frames == 1_000_000


def test_overrides_have_the_type_of_their_field() -> None:
    config = parsed(
        "--config.agent.outer.gamma=1",
        "--config.agent.self_tuned=gamma,lambda",
        "--config.network.mlp_hiddens=(64, 32, 16)",
        "--config.batch.batch_size=128",
    )
    assert type(config.agent.outer.gamma) is float
    assert config.agent.self_tuned_names == ("gamma", "lambda")
    assert config.network.mlp_hiddens == (64, 32, 16)
    assert config.batch.batch_size == 128


def test_the_queue_holds_one_batch_unless_it_is_told_to_hold_more() -> None:
    config = parsed("--config.batch.batch_size=64")
    assert configuration.queue_capacity(config) == 64
    config = parsed("--config.runtime.queue_capacity=128")
    assert configuration.queue_capacity(config) == 128


@pytest.mark.parametrize("spelling", ["lambda", "lambda_"])
def test_lambda_may_be_spelled_as_in_the_paper(spelling: str) -> None:
    config = parsed(f"--config.agent.outer.{spelling}=0.9")
    assert config.agent.outer.lambda_ == 0.9


@pytest.mark.parametrize("game", ["james_bond", "Jamesbond", "JAMES_BOND"])
def test_every_spelling_of_a_game_is_one_run(game: str) -> None:
    request = flags.parse(
        ["atari", "--runtime=threads", f"--game={game}"], DOMAINS["atari"]
    )
    assert request.config.environment.task == "jamesbond"
    assert (
        request.workdir
        == pathlib.Path("runs/atari/jamesbond/stacx_deep_seed1").absolute()
    )


def test_one_parse_leaves_nothing_behind_for_the_next() -> None:
    changed = parsed("--seed=9", "--config.agent.heads=7", "--agent=impala")
    assert changed != parsed() == parsed()


def test_flags_may_come_from_a_file(tmp_path: pathlib.Path) -> None:
    (tmp_path / "flags").write_text("--seed=4\n--config.agent.outer.lambda=0.5\n")
    config = parsed(f"--flagfile={tmp_path / 'flags'}")
    assert (config.seed, config.agent.outer.lambda_) == (4, 0.5)


def test_the_runtime_is_launchpad_where_there_is_one() -> None:
    config = flags.parse(["atari"], DOMAINS["atari"]).config
    assert config.runtime.name == ("launchpad" if HAS_LAUNCHPAD else "threads")


BAD = {
    "--agnet=stac": "unknown flag --agnet: did you mean --agent?",
    "--xyzzy": "unknown flag --xyzzy: see --help",
    "--task=pong": "unknown flag --task: use --game",
    "--env=pong": "unknown flag --env: use --game",
    "--best=yes": "--best=yes: must be true or false",
    "--learning_rate=1e-3": "did you mean --config.optimizer.learning_rate?",
    "--batch_size=16": "did you mean --config.batch.batch_size?",
    "--gamma=0.9": "unknown flag --gamma: did you mean --config.agent.outer.gamma?",
    "--lambda=0.9": "did you mean --config.agent.outer.lambda?",
    "--game=CartPole-v1": "unknown game 'CartPole': --game=list names all",
    "james_bond": "unexpected argument 'james_bond': write --name=value",
    "--agent=stax": "unknown agent 'stax': did you mean stacx or stac?",
    "--agent=": "unknown agent '': choose one of impala, impala_aux, stac, stacx",
    "--game=breakuot": "unknown game 'breakuot': did you mean breakout?",
    "--game=james": "unknown game 'james': did you mean jamesbond?",
    "--network=deeep": "unknown network 'deeep': did you mean deep?",
    "--runtime=thread": "unknown runtime.name 'thread': did you mean threads",
    "--lp_launch_type=local_mt": "unknown flag --lp_launch_type: see --help",
    "--seed=one": "--seed=one: must be a whole number",
    "--seed=-1": "seed=-1: must be in [0, 2147483648)",
    "--total_frames": "Missing value for flag --total_frames",
    "--total_frames=0": "total_frames=0: must be in [1,",
    "--total_frames=1.5": "--total_frames=1.5: must be a whole number",
    "--total_frames=inf": "--total_frames=inf: must be a whole number",
    "--num_actors=0": "runtime.num_actors=0: must be in [1, 65536]",
    "--listen=:7000": "runtime.listen=:7000: only --runtime=launch",
    "--envs_per_actor=-3": "runtime.envs_per_actor=-3: must be in [0, 65536]",
    "--config.runtime.actor_restarts=-1": "runtime.actor_restarts=-1: must be in [0",
    "--config.runtime.silence_seconds=-1": "runtime.silence_seconds=-1.0: must be in",
    "--config.runtime.actor_restart_minutes=0": "runtime.actor_restart_minutes=0: mu",
    "--workdir=": "--workdir is empty: name a directory",
    "--workdir=/proc/here": "cannot write to the workdir /proc/here",
    "--workdir=~nobodyhere/x": "--workdir=~nobodyhere/x: Could not determine home",
    f"--workdir={'x' * 300}": "File name too long; name another --workdir",
    "--flagfile=/nowhere": "Unable to open flagfile",
    "--config": "unknown flag --config: see --help",
    "--config.seed": "Missing value for flag --config.seed",
    "--config.sed=1": "unknown flag --config.sed: did you mean --seed or --config.seed",
    "--config.batch=3": "did you mean --config.batch.batch_size?",
    "--config.agent.outer.gama=1": "did you mean --config.agent.outer.gamma",
    "--config.gamma=1": "did you mean --config.agent.outer.gamma?",
    "--config.agent.outer.lamda=1": "did you mean --config.agent.outer.lambda",
    "--config.agent.outer.gamma=1.5": "agent.outer.gamma=1.5: must be in [0, 1]",
    "--config.agent.outer.gamma=nan": "agent.outer.gamma=nan: must be in [0, 1]",
    "--config.agent.outer.gamma=x": "--config.agent.outer.gamma=x: must be a number",
    "--config.environment.stagger=maybe": "stagger=maybe: must be true or false",
    "--config.agent.initial_raw=nan": "agent.initial_raw=nan: must be in (-10",
    "--config.optimizer.learning_rate=inf": "optimizer.learning_rate=inf: must be",
    "--config.agent.heads=2.5": "--config.agent.heads=2.5: must be a whole number",
    "--config.seed=0x10": "--config.seed=0x10: must be a whole number",
    "--config.lr=1": "unknown flag --config.lr: see --help",
    "--e=1": "unknown flag --e: see --help",
    "--config.agent.heads=inf": "--config.agent.heads=inf: must be a whole number",
    "--config.agent.name=stac": "unknown flag --config.agent.name: use --agent",
    "--config.agent.self_tuned=lamda": "unknown metaparameter 'lamda': did you mean",
    "--config.network.mlp_hiddens=(1,2.5)": "mlp_hiddens=(1,2.5): must be whole numb",
    "--config.network.mlp_hiddens=x": "network.mlp_hiddens=x: must be whole numbers",
    "--config.runtime.queue_capacity=7": "queue_capacity=7 cannot hold one batch",
    "--config.environment.domain=chess": "use another command (launch.atari,",
    "--config.environment.task=pong": "environment.task: use --game (launch",
    "--config.environment.protocol=macado": "did you mean machado",
    "--sticky_actions=0.2": "unknown flag --sticky_actions: see --help",
    "--config.environment.sticky_actions=0.2": "sticky_actions: this suite does not r",
    "--config.agent.soft.alpha=0.1": "--config.agent.soft.alpha: this agent does not",
    "--agent=sac": "--agent=sac is for continuous actions",
}


@pytest.mark.faults
@pytest.mark.parametrize(("argument", "line"), BAD.items(), ids=lambda it: it[:50])
def test_a_bad_command_line_ends_with_status_2_and_one_line(
    argument: str, line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    argv = ["atari", "--runtime=threads", argument]
    assert flags.main(never, DOMAINS["atari"], argv) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("launch.atari: ")
    assert line in err
    assert err.count("\n") == 1
    assert "lambda_" not in err
    assert list(pathlib.Path().iterdir()) == []


def test_launchpad_where_it_is_not_installed_names_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flags, "_installed", lambda library: False)
    with pytest.raises(ConfigError, match="use --runtime=threads"):
        flags.parse(["atari", "--runtime=launchpad"], DOMAINS["atari"])


def test_what_a_runtime_refuses_is_one_line_too(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def run(config: Config, workdir: str, hosts: object) -> None:
        raise ConfigError("batch_size 32 does not\ndivide over 6 learner devices")

    argv = ["atari", "--runtime=threads", "--workdir=here"]
    assert flags.main(run, DOMAINS["atari"], argv) == 2
    assert capfd.readouterr().err == (
        "launch.atari: batch_size 32 does not divide over 6 learner devices\n"
    )


def test_what_fails_is_no_refusal_and_keeps_its_workdir() -> None:
    def run(config: Config, workdir: str, hosts: object) -> None:
        raise RuntimeError("device lost")

    argv = ["atari", "--runtime=threads", "--workdir=here"]
    with pytest.raises(RuntimeError, match="device lost"):
        flags.main(run, DOMAINS["atari"], argv)
    assert pathlib.Path("here/config.json").exists()


def test_the_runtime_gets_a_prepared_workdir_and_its_status_is_returned(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(config: Config, workdir: str, hosts: object) -> int:
        assert workdir == str(tmp_path / "run")
        assert (tmp_path / "run" / "config.json").exists()
        with pytest.raises(ConfigError, match="another run"):
            flags.workdir.prepare(workdir, config)
        (tmp_path / "run" / "metrics.jsonl").write_text("{}\n")
        return 3

    argv = ["atari", "--runtime=threads", f"--workdir={tmp_path / 'run'}"]
    assert flags.main(run, DOMAINS["atari"], argv) == 3
    assert flags.main(run, DOMAINS["atari"], argv) == 3
    assert flags.main(run, DOMAINS["atari"], [*argv, "--seed=2"]) == 2
    out, err = capfd.readouterr()
    assert out.splitlines() == [
        f"writing to {tmp_path / 'run'}",
        f"continuing {tmp_path / 'run'}",
    ]
    assert "seed is 1 there, 2 here" in err


@pytest.mark.parametrize(
    ("command", "flag", "names"),
    [
        (atari.main, "--game=list", ["breakout", "jamesbond", "pong"]),
        (catch.main, "--task=list", ["features", "pixels"]),
        (control.main, "--task=list", ["walker.walk", "cartpole.balance"]),
        (realworld.main, "--task=list", ["walker.walk", "cartpole.swingup"]),
        (gymnasium.main, "--env=list", ["CartPole-v1", "Pendulum-v1"]),
    ],
)
def test_list_prints_what_can_be_played_a_line_each(
    command: Callable[[list[str]], int],
    flag: str,
    names: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert command(["command", flag]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert set(names) <= set(out.splitlines())


@pytest.mark.parametrize("command", [atari.main, catch.main])
@pytest.mark.parametrize("ask", ["--help", "-h"])
def test_help_is_short_and_names_every_flag(
    ask: str, command: Callable[[list[str]], int], capfd: pytest.CaptureFixture[str]
) -> None:
    assert command(["command", ask]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for name in ("--agent", "--total_frames", "--workdir", "--runtime", "--seed"):
        assert f"\n  {name} " in out
    assert "  agent.outer.lambda=1.0\n" in out
    assert "stac/config/" in out
    assert len(out.splitlines()) < 110


def test_help_that_nobody_reads_to_its_end_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "launch.atari", "--help"],
            cwd=ROOT,
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=120,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_real_command_ends_with_one_line_and_no_traceback() -> None:
    ended = python("-m", "launch.catch", "--task=featurs", "--runtime=lockstep")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("launch.catch: ")
    assert ended.stderr.count("\n") == 1


HEAVY = ("jax", "orbax", "tensorflow", "launchpad", "dm_control")


@pytest.mark.parametrize(
    ("program", "argument"),
    [
        ("atari", "--game=breakuot"),
        ("catch", "--task=featurs"),
        ("control", "--config.agent.heads=0"),
        ("realworld", "--task=walker.wolk"),
    ],
)
def test_a_command_line_is_refused_before_heavy_libraries_are_imported(
    program: str, argument: str
) -> None:
    script = (
        "import sys\n"
        f"from launch import {program} as command\n"
        f"assert command.main(['x', '{argument}']) == 2\n"
        f"print([name for name in {HEAVY} if name in sys.modules])\n"
    )
    ended = python("-c", script)
    assert ended.stdout == "[]\n", ended.stderr


def test_every_number_of_the_atari_tables() -> None:
    """Tables 2 and 3, typed in here a second time."""
    config = parsed()
    assert dataclasses.astuple(config.agent.outer) == (
        *(0.995, 1.0, 1.0, 0.25, 1.0, 0.01, 1.0, 1.0),
    )
    assert dataclasses.astuple(config.optimizer) == (
        *(6e-4, 0.0, 0.99, 0.1, 0.0, 40.0, True, 1e-3, 0.9, 0.999, 1e-4),
    )
    assert dataclasses.astuple(config.batch) == (32, 20, 0, 0)
    assert (config.agent.initial_raw, config.agent.initial_raw_gamma) == (4.6, 4.6)
    assert (config.network.lstm_size, config.network.head_hidden) == (0, 256)
