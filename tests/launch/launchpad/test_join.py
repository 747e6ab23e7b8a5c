"""Who has joined a learner: what it answers to machines, and what it counts."""

from __future__ import annotations

import pathlib
import threading
import time
from typing import Any

import pytest

import stac
from stac.config import Config, ConfigError, RuntimeConfig, changed
from stac.configs import catch
from stac.launch import version
from stac.launch.launchpad import join
from tests.waiting import until

pytestmark = pytest.mark.faults

CONFIG = changed(
    catch.config(agent="stac"),
    {"runtime.listen": "127.0.0.1:7000", "runtime.num_actors": 2, "seed": 7},
)
HERE = version.code()


@pytest.fixture
def joined() -> join.Joined:
    return join.Joined(CONFIG)


def test_a_machine_gets_the_configuration_and_its_actors_are_counted(joined, capfd):
    assert joined.join(HERE, "key", "a1", 3) == (CONFIG, 2)  # after the learner's own
    assert joined.metrics() == {"actors/a1": 0}
    assert joined.tell("key", 3) == ""
    assert joined.metrics() == {"actors/a1": 3}
    joined.join(HERE, "other", "a1", 1)
    joined.tell("other", 1)
    joined.join(HERE, "third", "b 2\n", 4)
    assert joined.metrics() == {"actors/a1": 4, "actors/b_2_": 0}
    joined.leave("key")
    assert joined.metrics() == {"actors/a1": 1, "actors/b_2_": 0}
    joined.leave("other")
    joined.leave("other")
    assert joined.metrics() == {"actors/a1": 0, "actors/b_2_": 0}
    assert capfd.readouterr().err.splitlines() == [
        "a1 joins: actors 2 to 4",
        "a1 joins: actors 5 to 5",
        "b_2_ joins: actors 6 to 9",
        "a1 is gone: it left",
        "a1 is gone: it left",
    ]


def test_no_two_actors_share_an_index_also_after_a_machine_joins_again(joined):
    firsts = []
    for actors in (3, 1, 4):
        _, first = joined.join(HERE, "key", "a1", actors)
        joined.tell("key", actors)
        firsts.append(first)
    assert firsts == [2, 5, 6]
    assert joined.metrics() == {"actors/a1": 4}, "it is there once"


def test_another_version_of_the_code_is_refused_on_both_sides(joined, capfd):
    refusal = joined.join("0123456789ab", "key", "a1", 1)
    assert refusal == (
        f"the learner has version {HERE} of stac's code, the actors 0123456789ab:"
        " install the same on both"
    )
    assert joined.metrics() == {}
    assert joined.tell("key", 1) is None
    assert capfd.readouterr().err == f"actors on a1 are refused: {refusal}\n"


def test_a_machine_that_falls_silent_counts_no_more_and_is_to_join_again(
    monkeypatch, capfd
):
    monkeypatch.setattr(join, "SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(join, "TICK_SECONDS", 0.1)
    joined = join.Joined(CONFIG)
    joined.join(HERE, "silent", "a1", 2)
    joined.join(HERE, "heard", "b2", 2)
    joined.tell("silent", 2)

    def gone() -> bool:
        joined.tell("heard", 2)
        return joined.metrics() == {"actors/a1": 0, "actors/b2": 2}

    until(gone)
    assert joined.tell("silent", 2) is None
    assert "a1 is gone: no answer\n" in capfd.readouterr().err


def test_the_end_of_the_run_is_told_to_all_and_waits_no_longer(joined, capfd):
    for key in ("a", "b"):
        joined.join(HERE, key, key, 1)
    ending = threading.Thread(target=joined.end, args=("the run is over",))
    ending.start()
    for key in ("a", "b"):
        until(lambda key=key: joined.tell(key, 1) == "the run is over")
    ending.join(2.0)
    assert not ending.is_alive()
    joined.leave("a")
    assert "gone" not in capfd.readouterr().err


def test_a_machine_that_does_not_ask_holds_the_end_up_for_seconds_only(joined):
    joined.join(HERE, "key", "a1", 1)
    began = time.monotonic()
    joined.end("the run is over")
    assert time.monotonic() - began < 3 * join.TICK_SECONDS + 2


def test_a_learner_without_actors_of_its_own_needs_others():
    with pytest.raises(ConfigError, match="or 0 where others may join by --listen"):
        RuntimeConfig(num_actors=0)
    assert RuntimeConfig(num_actors=0, listen=":7000").num_actors == 0


def test_other_runtimes_let_nobody_join():
    for name in ("threads", "lockstep"):
        with pytest.raises(ConfigError, match=r"listen=:7000: only --runtime=launchp"):
            Config(runtime=RuntimeConfig(name=name, listen=":7000"))


def test_the_version_is_that_of_all_files_whether_folders_are_links_or_not(
    tmp_path, monkeypatch
):
    def code(package: pathlib.Path) -> Any:
        monkeypatch.setattr(stac, "__file__", str(package / "__init__.py"))
        return version.code.__wrapped__()

    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "x.py").write_text("a = 1\n")
    linked, copied = tmp_path / "linked", tmp_path / "copied"
    linked.mkdir()
    (linked / "launch").symlink_to("../launch")
    (copied / "launch").mkdir(parents=True)
    (copied / "launch" / "x.py").write_text("a = 1\n")
    assert code(linked) == code(copied)
    (copied / "launch" / "x.py").write_text("a = 2\n")
    assert code(linked) != code(copied)
