"""Workdirs: ours are continued, everybody else's are left alone."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from stac.config import (
    AgentConfig,
    BatchConfig,
    Config,
    ConfigError,
    EnvironmentConfig,
    RuntimeConfig,
)
from stac.runtime.storage import workdir
from tests import conftest
from tests.waiting import until

pytestmark = pytest.mark.faults
CONFIG = Config()


def begun(path: pathlib.Path, config: Config = CONFIG) -> pathlib.Path:
    """A workdir whose run has logged a row and ended."""
    with workdir.prepare(path, config) as place:
        (place.path / workdir.METRICS).write_text("{}\n")
    return path


def test_a_new_workdir_is_made_and_says_what_was_asked_for(
    tmp_path: pathlib.Path,
) -> None:
    with workdir.prepare(tmp_path / "a" / "b", CONFIG) as place:
        assert not place.resumed
        written = json.loads((place.path / workdir.CONFIG).read_text())
    assert written["batch"]["batch_size"] == CONFIG.batch.batch_size
    assert written == json.loads(json.dumps(dataclasses.asdict(CONFIG)))


def test_how_the_work_is_spread_may_change_and_is_written_down(
    tmp_path: pathlib.Path,
) -> None:
    begun(tmp_path)
    spread = dataclasses.replace(
        CONFIG,
        runtime=RuntimeConfig(name="threads", num_actors=7),
        environment=EnvironmentConfig(threads=3),
    )
    with workdir.prepare(tmp_path, spread) as place:
        assert place.resumed
    written = json.loads((tmp_path / workdir.CONFIG).read_text())
    assert written["runtime"]["num_actors"] == 7


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"batch": BatchConfig(batch_size=8)},
            "batch.batch_size is 32 there, 8 here;",
        ),
        ({"seed": 2}, "seed is 1 there, 2 here;"),
        ({"total_frames": 5}, "total_frames is 200000000 there, 5 here;"),
        (
            {"environment": EnvironmentConfig(task="breakout")},
            "environment.task is 'pong' there, 'breakout' here;",
        ),
    ],
)
def test_another_configuration_is_refused_with_the_difference(
    tmp_path: pathlib.Path, changes: dict[str, object], difference: str
) -> None:
    begun(tmp_path)
    before = (tmp_path / workdir.CONFIG).read_text()
    with pytest.raises(ConfigError, match="another configuration") as refusal:
        workdir.prepare(tmp_path, dataclasses.replace(CONFIG, **changes))
    assert difference in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert (tmp_path / workdir.CONFIG).read_text() == before
    with workdir.prepare(tmp_path, CONFIG) as place:
        assert place.resumed


def test_the_first_of_many_differences_are_named(tmp_path: pathlib.Path) -> None:
    begun(tmp_path)
    agent = AgentConfig(name="impala", heads=1, self_tuned="", reward_clip=0)
    with pytest.raises(ConfigError, match="another configuration") as refusal:
        workdir.prepare(tmp_path, dataclasses.replace(CONFIG, agent=agent))
    assert str(refusal.value).count(" there, ") == 3


def test_an_empty_word_is_seen_in_a_difference() -> None:
    old, new = {"agent": {"self_tuned": ""}}, {"agent": {"self_tuned": "gamma"}}
    assert workdir.differences(old, new) == [
        "agent.self_tuned is '' there, 'gamma' here"
    ]


def test_a_run_of_an_earlier_version_continues(tmp_path: pathlib.Path) -> None:
    """It had options that are gone, and had not yet some that have come."""
    begun(tmp_path)
    written = json.loads((tmp_path / workdir.CONFIG).read_text())
    written["runtime"]["log_megabytes"] = 256.0
    written["environment"]["workers"] = "auto"
    written["batch"]["gone"] = 3
    del written["optimizer"]["rms_epsilon"]
    del written["network"]
    (tmp_path / workdir.CONFIG).write_text(json.dumps(written))
    with workdir.prepare(tmp_path, CONFIG) as place:
        assert place.resumed
    assert "gone" not in (tmp_path / workdir.CONFIG).read_text()


def test_an_option_newer_than_the_run_continues_at_its_default_only() -> None:
    old, new = {"batch": {}}, {"batch": {"batch_size": 8}}
    assert workdir.differences(old, new) == ["batch.batch_size is 32 there, 8 here"]
    assert workdir.differences(old, {"batch": {"batch_size": 32}}) == []


@pytest.mark.parametrize("name", [b"w_\xc3\xbc", b"w_\xff"], ids=["utf-8", "latin"])
@pytest.mark.parametrize("utf8", [True, False], ids=["UTF-8 locale", "POSIX locale"])
def test_a_workdir_that_no_checkpoint_could_be_saved_in_is_refused_at_once(
    tmp_path: pathlib.Path, name: bytes, utf8: bool
) -> None:
    program = """
import sys
from stac.config import Config, ConfigError
from stac.runtime.storage import workdir
try:
    workdir.prepare(sys.argv[1], Config())
except ConfigError as error:
    print(error)
"""
    posix = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    where = os.fsencode(tmp_path) + b"/" + name
    ended = subprocess.run(
        [sys.executable, "-c", program, where],
        stdout=subprocess.PIPE,
        check=True,
        cwd=conftest.ROOT,
        env=os.environ | ({"PYTHONUTF8": "1"} if utf8 else posix),
        text=True,
    )
    works = utf8 and name.endswith(b"\xbc")
    assert ("is not UTF-8 in this locale" in ended.stdout) == (not works)
    assert ended.stdout.count("\n") == (0 if works else 1)
    assert os.path.exists(where) == works


def test_a_start_that_was_refused_does_not_bind_the_next_one(
    tmp_path: pathlib.Path,
) -> None:
    workdir.prepare(tmp_path, CONFIG).close()  # and no update was ever logged or saved
    (tmp_path / workdir.CHECKPOINTS).mkdir()
    with workdir.prepare(tmp_path, dataclasses.replace(CONFIG, seed=2)) as place:
        assert not place.resumed


@pytest.mark.parametrize(
    "text",
    ['{"model_type": "bert"}', "{bad", "[1, 2]"],
    ids=["another's", "none", "a list"],
)
def test_somebody_elses_config_file_is_refused_and_stays(
    tmp_path: pathlib.Path, text: str
) -> None:
    (tmp_path / workdir.CONFIG).write_text(text)
    with pytest.raises(ConfigError, match="is not a configuration"):
        workdir.prepare(tmp_path, CONFIG)
    assert (tmp_path / workdir.CONFIG).read_text() == text


@pytest.mark.parametrize("folder", [workdir.CHECKPOINTS, workdir.DAMAGED])
def test_a_checkpoint_alone_makes_it_a_run_to_continue_also_a_damaged_one(
    tmp_path: pathlib.Path, folder: str
) -> None:
    workdir.prepare(tmp_path, CONFIG).close()
    (tmp_path / folder / "300").mkdir(parents=True)
    with pytest.raises(ConfigError, match="seed is 1 there, 2 here"):
        workdir.prepare(tmp_path, dataclasses.replace(CONFIG, seed=2))


def test_rows_without_a_configuration_are_refused_and_stay(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / workdir.METRICS).write_text("{}")
    with pytest.raises(ConfigError, match="holds checkpoints or metrics"):
        workdir.prepare(tmp_path, CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == [workdir.METRICS]


def test_a_log_that_is_there_before_the_run_stays(tmp_path: pathlib.Path) -> None:
    (tmp_path / "log.txt").write_text("mine")
    workdir.prepare(tmp_path, CONFIG).close()
    assert (tmp_path / "log.txt").read_text() == "mine"


def test_a_file_where_the_directory_should_be_is_refused(
    tmp_path: pathlib.Path,
) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match="cannot write to the workdir"):
            workdir.prepare(path, CONFIG)


def test_a_directory_that_one_may_not_look_into_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests may be root's, who may look everywhere."""

    def closed(self: pathlib.Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "exists", closed)
    with pytest.raises(ConfigError, match=r"Permission denied; name another --workdir"):
        workdir.prepare(tmp_path / "theirs" / "run", Config())


def test_two_runs_cannot_share_a_workdir_and_a_dead_one_holds_nothing(
    tmp_path: pathlib.Path,
) -> None:
    script = (
        "import sys\n"
        "from stac.config import Config\n"
        "from stac.runtime.storage import workdir\n"
        "place = workdir.prepare(sys.argv[1], Config())\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=pathlib.Path(__file__).parents[3],
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=rf"another run \(process {other.pid}\)"):
            workdir.prepare(tmp_path, CONFIG)
        other.kill()
    workdir.prepare(tmp_path, CONFIG).close()


def test_a_lock_holds_until_all_that_have_its_file_are_gone(
    tmp_path: pathlib.Path,
) -> None:
    """Of a command that was killed the learner may live a little longer."""
    program = f"""
import os, subprocess
from stac.config import Config
from stac.runtime.storage import workdir
workdir.prepare({str(tmp_path)!r}, Config())
files = workdir.locks()
child = subprocess.Popen(["sleep", "60"], pass_fds=files, stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os._exit(9)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=conftest.ROOT,
        text=True,
    )
    child = int(ended.stdout)
    try:
        with pytest.raises(ConfigError, match="is writing to the workdir"):
            workdir.prepare(tmp_path, Config())
    finally:
        os.kill(child, signal.SIGKILL)

    def is_free() -> bool:
        try:
            workdir.prepare(tmp_path, Config()).close()
        except ConfigError:
            return False
        return True

    until(is_free, 20)


def test_the_default_says_what_is_trained() -> None:
    named = str(workdir.default(CONFIG, "deep"))
    assert named == "runs/atari/pong/stacx_deep_seed1"
