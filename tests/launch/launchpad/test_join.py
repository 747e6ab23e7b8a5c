"""How a machine joins a run: real sockets, and everything that may call there."""

from __future__ import annotations

import contextlib
import json
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import stac
from stac.config import Config, ConfigError, RuntimeConfig, changed
from stac.configs import catch
from stac.launch import version
from stac.launch.launchpad import join

pytestmark = pytest.mark.faults

CONFIG = changed(
    catch.config(agent="stac"),
    {"runtime.listen": "127.0.0.1:7000", "runtime.num_actors": 2, "seed": 7},
)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10.0
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def free() -> join.Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return join.Address("127.0.0.1", min(server.getsockname()[1], 65533))


@pytest.fixture
def address() -> join.Address:
    return free()


@pytest.fixture
def learner(address: join.Address) -> Iterator[join.Joined]:
    joined = join.Joined(address, CONFIG)
    yield joined
    joined.close()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:7000", ("10.0.0.5", 7000)),
        ("learner.example:7000", ("learner.example", 7000)),
        ("[fd00::2]:7000", ("fd00::2", 7000)),
        (":7000", ("127.0.0.1", 7000)),
        ("7000", ("127.0.0.1", 7000)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
    ],
)
def test_an_address_is_a_host_and_a_port_or_a_port_of_this_machine(text, address):
    assert join.parse("listen", text) == address
    assert join.parse("listen", str(join.parse("listen", text))) == address


@pytest.mark.parametrize(
    "text", ["", "host", "host:", "host:x", "host:0", "host:65534", "http://host:7000"]
)
def test_an_address_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(ConfigError) as refused:
        join.parse("connect", text)
    example = "must be HOST:PORT, as in 10.0.0.5:7000, PORT up to 65533"
    assert str(refused.value) == f"--connect={text}: {example}"


def test_a_machine_gets_what_it_needs_and_its_actors_are_counted(learner, address):
    line = join.Line(address, 3)
    with contextlib.closing(line):
        assert (line.host, line.first) == ("127.0.0.1", 2)  # after the learner's own
        assert line.queue == f"127.0.0.1:{address.port + 1}"
        assert line.learner == f"127.0.0.1:{address.port + 2}"
        assert line.config == changed(
            CONFIG, {"runtime.listen": "", "runtime.num_actors": 3}
        )
        name = f"actors/{socket.gethostname()}"
        assert learner.metrics() == {name: 0}
        assert line.tell(3) == ""
        assert learner.metrics() == {name: 3}
        with contextlib.closing(join.Line(address, 1)) as other:
            assert other.tell(1) == ""
            assert learner.metrics() == {name: 4}
    until(lambda: learner.metrics() == {name: 0})


def test_a_learner_whose_own_name_is_its_loopback_is_reached_at_another_address():
    port = free().port
    join.check_free(join.Address("127.0.1.1", port))
    with contextlib.closing(join.Joined(join.Address("127.0.1.1", port), CONFIG)):
        join.Line(join.Address("127.0.0.1", port), 1).close()


def test_no_two_actors_share_an_index_also_after_a_machine_joins_again(
    learner, address
):
    firsts = []
    for actors in (3, 1, 4):
        with contextlib.closing(join.Line(address, actors)) as line:
            firsts.append(line.first)
    assert firsts == [2, 5, 6]


def ask(address: join.Address, text: bytes) -> bytes:
    with socket.create_connection(address, 5.0) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def test_another_version_of_the_code_is_refused_on_both_sides(learner, address, capfd):
    here = version.code()
    hello = {"version": "0123456789ab", "machine": "a1", "actors": 1}
    answer = json.loads(ask(address, json.dumps(hello).encode() + b"\n"))
    refusal = f"the learner has version {here} of stac's code, the actors 0123456789ab"
    assert answer == {"refused": refusal}
    assert learner.metrics() == {}
    assert capfd.readouterr().err == f"actors on 127.0.0.1 are refused: {refusal}\n"


class Foreign:
    """A server that answers every connection with these bytes."""

    def __init__(self, address: join.Address, answer: bytes) -> None:
        self._server, self._answer = socket.create_server(address), answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection:
                    connection.recv(2**16)
                    connection.sendall(self._answer)

    def close(self) -> None:
        self._server.close()


def test_a_machine_that_is_refused_gives_up_with_the_learners_words(address):
    foreign = Foreign(address, b'{"refused": "it is\\nold"}\n')
    with contextlib.closing(foreign), pytest.raises(ConfigError) as refused:
        join.Line(address, 1)
    assert str(refused.value) == f"{address} refuses: it is old"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the connection was closed"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something other than stac answers"),
        (b"[1]\n", "something other than stac answers"),
        (b'{"config": {}}\n', "something other than stac answers"),
        (b'{"config": 3, "queue": 1, "learner": 1, "first": 0}\n', "something other"),
    ],
)
def test_another_server_is_told_from_a_learner(address, answer, why):
    foreign = Foreign(address, answer)
    with contextlib.closing(foreign), pytest.raises(OSError, match=why):
        join.Line(address, 1)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 2**17,
        b'{"version": "VERSION"}\n',
        b'{"version": "VERSION", "machine": "a", "actors": "many"}\n',
        b'{"version": "VERSION", "machine": "a", "actors": 1}\n{"acting": []}\n',
    ],
    ids=lambda words: repr(words[:50]),
)
def test_whatever_else_calls_costs_a_learner_nothing(learner, address, words, capfd):
    with contextlib.suppress(OSError):  # it may hang up early
        ask(address, words.replace(b"VERSION", version.code().encode()))
    with contextlib.closing(join.Line(address, 1)) as line:
        assert line.tell(1) == ""
    assert "Traceback" not in capfd.readouterr().err


def test_the_end_of_the_run_is_told_to_all(address):
    learner = join.Joined(address, CONFIG)
    with contextlib.closing(join.Line(address, 1)) as line:
        ending = threading.Thread(target=learner.close, args=("the run is over",))
        ending.start()
        until(lambda: line.tell(1) == "the run is over")
        ending.join(2.0)
        assert not ending.is_alive(), "it is to wait no longer than for them"
    with pytest.raises(ConnectionRefusedError):
        join.Line(address, 1)


def test_a_machine_that_does_not_read_holds_the_end_up_for_seconds_only(address):
    learner = join.Joined(address, CONFIG)
    with contextlib.closing(join.Line(address, 1)):
        began = time.monotonic()
        learner.close("the run is over")
    assert time.monotonic() - began < 3 * join.TICK_SECONDS + 2


def test_a_machine_that_falls_silent_counts_no_more(address, monkeypatch, capfd):
    monkeypatch.setattr(join, "SILENCE_SECONDS", 0.3)
    learner = join.Joined(address, CONFIG)
    with contextlib.closing(join.Line(address, 2)) as line:
        line.tell(2)
        until(lambda: sum(learner.metrics().values()) == 0)
        with pytest.raises(ConnectionError):
            line.tell(2)
    learner.close()
    until(lambda: "is gone: no answer" in capfd.readouterr().err)


def test_a_learner_that_falls_silent_is_a_cut(address, monkeypatch):
    monkeypatch.setattr(join, "SILENCE_SECONDS", 0.3)
    learner = join.Joined(address, CONFIG)
    line = join.Line(address, 2)
    # It answers nothing while its lock is held.
    with contextlib.closing(line), learner._lock, pytest.raises(TimeoutError) as cut:
        line.tell(2)
    learner.close()
    assert join.reason(cut.value) == "no answer"


def test_a_port_in_use_is_refused_before_anything_starts(address):
    taken = socket.create_server(("127.0.0.1", address.queue))
    with taken, pytest.raises(ConfigError) as refused:
        join.check_free(address)
    why = f"cannot open *:{address.queue}: Address already in use"
    assert str(refused.value) == f"--listen={address}: {why}"
    join.check_free(address)


def test_an_address_of_another_machine_is_refused():
    elsewhere = join.Address("192.0.2.77", 7000)
    for opens in (join.check_free, lambda at: join.Joined(at, CONFIG)):
        with pytest.raises(ConfigError, match="Cannot assign requested address"):
            opens(elsewhere)


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
