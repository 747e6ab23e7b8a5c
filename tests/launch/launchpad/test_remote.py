"""How a machine joins a learner: real Courier servers, and whatever else may answer."""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from stac.config import ConfigError, changed
from stac.launch import actors, listening, version
from stac.launch.launchpad import join
from stac.runtime.faults import shutdown
from tests.launch.hosts.ports import free_pair
from tests.launch.launchpad.test_join import CONFIG
from tests.waiting import until

pytestmark = [pytest.mark.faults, pytest.mark.launchpad]

NAME = f"actors/{socket.gethostname()}"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Joining changes it."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


@pytest.fixture
def address() -> listening.Address:
    return listening.Address("127.0.0.1", free_pair())


class Serving:
    """A learner that listens, without updates, and a port where its queue would be."""

    def __init__(self, address: listening.Address, config: Any = CONFIG) -> None:
        from launchpad.nodes.courier import courier_utils

        from stac.launch.launchpad import nodes

        self.node = nodes.LearnerNode(config, None, None, None, "")
        self._server = courier_utils.make_courier_server(self.node, port=address.port)
        self._server.Start()
        self._queue = socket.create_server(address.next)

    @property
    def joined(self) -> join.Joined:
        return self.node._joined

    def close(self) -> None:
        self._queue.close()
        self._server.Stop()
        self._server.Join()


@pytest.fixture
def serving(address) -> Iterator[Serving]:
    with contextlib.closing(Serving(address)) as learner:
        yield learner


def attempt(address: listening.Address, count: int = 1, key: str = "key") -> Any:
    from stac.launch.launchpad import remote

    return remote.Learner(address, count, key, shutdown.Stop())


def test_a_machine_gets_what_it_needs_tells_and_leaves(serving, address):
    with contextlib.closing(attempt(address, 3)) as learner:
        assert learner.first == 2
        assert learner.place.resolve() == f"127.0.0.1:{address.port}"
        assert learner.queue.resolve() == f"127.0.0.1:{address.port + 1}"
        assert learner.config == changed(
            CONFIG, {"runtime.listen": "", "runtime.num_actors": 3}
        )
        assert learner.tell(3) == ""
        assert serving.joined.metrics() == {NAME: 3}
        with contextlib.closing(attempt(address, 1, "other")) as other:
            assert other.tell(1) == ""
            assert serving.joined.metrics() == {NAME: 4}
        assert serving.joined.metrics() == {NAME: 3}
        ending = threading.Thread(target=serving.joined.end, args=("it is over",))
        ending.start()
        until(lambda: learner.tell(3) == "it is over")
        ending.join()
    assert serving.joined.metrics() == {NAME: 0}


def test_a_machine_with_other_code_is_refused_in_one_line(serving, address, capfd):
    serving.joined._code = "0123456789ab"
    assert actors.main(["launch.actors", f"--connect={address}"]) == 2
    why = (
        "the learner has version 0123456789ab of stac's code, the actors"
        f" {version.code()}: install the same on both"
    )
    assert capfd.readouterr().err.splitlines() == [
        f"actors on {socket.gethostname()} are refused: {why}",
        f"launch.actors: {address} refuses: {why}",
    ]


def test_a_learner_that_does_not_listen_has_nothing_to_join(address):
    silent = Serving(address, changed(CONFIG, {"runtime.listen": ""}))
    why = f"^{address}: method join not found: is it a learner with --listen"
    with contextlib.closing(silent), pytest.raises(OSError, match=why):
        attempt(address)


def test_ports_in_use_and_other_machines_are_refused_before_anything_starts(address):
    from stac.launch.launchpad import program

    for taken, where in ((address, address), (address.next, f"*:{address.port + 1}")):
        with socket.create_server(taken), pytest.raises(ConfigError) as refused:
            program.check_free(address)
        why = f"cannot open {where}: Address already in use"
        assert str(refused.value) == f"--listen={address}: {why}"
    program.check_free(address)
    program.check_free(address._replace(host="127.0.1.1"))  # a machine's own name
    with pytest.raises(ConfigError, match="Cannot assign requested address"):
        program.check_free(address._replace(host="192.0.2.77"))


class Foreign:
    """A server that answers every connection with these bytes, or not at all."""

    def __init__(self, address: listening.Address, answer: bytes | None) -> None:
        self._server, self._answer = socket.create_server(address), answer
        if answer is not None:
            threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                with connection:
                    connection.sendall(self._answer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


class Cable:
    """Passes on what comes to a port, until it is cut; then for new connections alone.

    Those before stay as they are, as TCP's do while it waits to try again.
    """

    def __init__(self, at: listening.Address, to: listening.Address) -> None:
        self._server, self._to = socket.create_server(at), to
        self._queue = socket.create_server(at.next)
        self._others: dict[socket.socket, socket.socket] = {}
        self._cut: set[socket.socket] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def cut(self) -> None:
        self._cut.update(self._others)

    def _serve(self) -> None:
        while not self._closed:
            waiting = [self._server, *self._others.keys() - self._cut]
            for ready in select.select(waiting, [], [], 0.05)[0]:
                if ready is self._server:
                    near, far = ready.accept()[0], socket.create_connection(self._to)
                    self._others |= {near: far, far: near}
                    continue
                data = b""
                with contextlib.suppress(ConnectionError):  # closed there
                    data = ready.recv(2**16)
                    self._others[ready].sendall(data)
                if not data:
                    self._cut.update({ready, self._others[ready]})

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        for each in (self._server, self._queue, *self._others):
            each.close()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "failed to connect to all addresses: is it a learner"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "failed to connect to all addresses: is"),
        (None, "no answer: is it a learner with --listen?"),
    ],
)
def test_another_server_is_told_from_a_learner(address, answer, why, monkeypatch):
    monkeypatch.setattr(join, "SILENCE_SECONDS", 1.0)
    with (
        contextlib.closing(Foreign(address, answer)),
        contextlib.closing(Foreign(address.next, answer)),
        pytest.raises(OSError, match=f"{address}: {why}"),
    ):
        attempt(address)


def test_a_port_that_cannot_be_reached_is_named(address):
    with pytest.raises(OSError, match=f"^{address}: Connection refused$"):
        attempt(address)
    with (
        contextlib.closing(Foreign(address, None)),
        pytest.raises(OSError, match=f"^{address.next}: Connection refused$"),
    ):
        attempt(address)


def test_a_signal_ends_an_attempt_that_nobody_answers(address):
    from stac.launch.launchpad import remote

    stop = shutdown.Stop()
    joins = functools.partial(remote.Learner, address, 1, "key", stop)
    with (
        contextlib.closing(Foreign(address, None)),
        contextlib.closing(Foreign(address.next, None)),
    ):
        threading.Timer(1.0, stop.set).start()
        began = time.monotonic()
        assert remote._first(joins, stop) is None
    assert time.monotonic() - began < join.SILENCE_SECONDS / 2


def test_a_learner_that_has_counted_a_machine_out_is_a_cut(serving, address):
    with contextlib.closing(attempt(address)) as learner:
        serving.joined.leave("key")
        with pytest.raises(OSError, match="it has counted this machine out"):
            learner.tell(1)


def test_a_learner_that_ends_is_a_cut_and_the_next_one_is_joined(address):
    with contextlib.closing(Serving(address)):
        learner = attempt(address)
    with (
        contextlib.closing(learner),
        pytest.raises(OSError, match=r"failed to connect|[Ss]ocket|reset"),
    ):
        learner.tell(1)
    with (
        contextlib.closing(Serving(address)) as second,
        contextlib.closing(attempt(address)) as learner,
    ):
        assert learner.tell(1) == ""
        assert second.joined.metrics() == {NAME: 1}


def test_a_cut_connection_is_not_used_by_the_next_attempt(
    serving, address, monkeypatch
):
    monkeypatch.setattr(join, "SILENCE_SECONDS", 3.0)
    here = listening.Address("127.0.0.1", free_pair())
    with contextlib.closing(Cable(here, address)) as cable:
        with contextlib.closing(attempt(here)) as learner:
            assert learner.tell(1) == ""
            cable.cut()
            with pytest.raises(OSError, match=r"^no answer$"):
                learner.tell(1)
        with contextlib.closing(attempt(here)) as learner:
            assert learner.tell(1) == ""
            assert serving.joined.metrics() == {NAME: 1}
