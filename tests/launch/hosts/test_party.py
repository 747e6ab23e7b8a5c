"""The parents of several hosts: how they meet, and what they hear of each other."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from concurrent import futures

import pytest

from stac import config
from stac.launch.hosts import party, supervisor
from stac.launch.hosts.find import Hosts
from stac.launch.hosts.party import DONE, FAULT, STOP, Event, Party
from stac.launch.listening import Address
from tests.launch.hosts.ports import free_pair
from tests.waiting import until

pytestmark = pytest.mark.faults

SOON = 10.0  # seconds
ABOUT = {"version": {"jax": "1"}, "config": {"seed": 1}}


@pytest.fixture(autouse=True)
def hosts_wait_for_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(party, "MEET_SECONDS", 20.0)


@pytest.fixture
def port() -> int:
    return free_pair()


@contextlib.contextmanager
def several(
    port: int,
    *abouts: dict[str, object],
    indices: tuple[int, ...] = (),
    first: str = "127.0.0.1",
) -> Iterator[tuple[list[Party], list[futures.Future[None]]]]:
    """Hosts that begin to meet, each with what is to be the same on all."""
    count = len(abouts)
    names = {0: first}  # of the first host, where it is the first
    parties = [
        Party(
            Hosts(Address(names.get(place, "127.0.0.1"), port), count, index),
            f"name{place}",
        )
        for place, index in enumerate(indices or range(count))
    ]
    with futures.ThreadPoolExecutor(count) as pool:
        meetings = [
            pool.submit(
                each.meet,
                about,
                lambda theirs: supervisor.difference(abouts[0], theirs),
            )
            for each, about in zip(parties, abouts, strict=True)
        ]
        try:
            yield parties, meetings
        finally:
            for each in parties:
                each.close()


@contextlib.contextmanager
def met(port: int, count: int = 3) -> Iterator[list[Party]]:
    with several(port, *[ABOUT] * count) as (parties, meetings):
        for meeting in meetings:
            meeting.result(SOON)
        yield parties


def next_event(each: Party) -> Event:
    return until(lambda: each.event(0.05), SOON)


def test_an_event_of_any_host_reaches_all_others(port):
    with met(port) as (first, second, third):
        second.tell(STOP, "was told to stop")
        assert next_event(first) == Event(1, STOP, "was told to stop")  # passes it on
        assert next_event(third) == Event(1, STOP, "was told to stop")
        first.tell(DONE)
        assert next_event(second) == next_event(third) == Event(0, DONE)
        assert second.event(0.1) is None
        assert third.describe(1) == "host 1 (name1)"


def test_a_host_whose_own_name_is_its_loopback_is_reached_at_another_address(port):
    with several(port, ABOUT, ABOUT, first="127.0.1.1") as (parties, meetings):
        for meeting in meetings:
            meeting.result(SOON)
        for each in parties:
            assert each.hosts.service == f"127.0.0.1:{port + 1}"
            assert each.hosts.here == "127.0.0.1"


def test_a_host_that_closes_its_connection_is_a_fault_that_all_hear(port):
    with met(port) as (first, second, third):
        second.close()
        event = next_event(first)
        assert event == Event(1, FAULT, "is gone: it closed the connection")
        assert next_event(third) == event
        first.close()
        assert next_event(third).host == 0


def test_a_host_that_is_silent_is_a_fault(port, monkeypatch):
    monkeypatch.setattr(party, "SILENCE_SECONDS", 3.0)
    monkeypatch.setattr(party, "_BEAT_SECONDS", 0.1)
    with met(port, 2) as (first, _):
        time.sleep(4)
        assert first.event(0) is None
        monkeypatch.setattr(party.Line, "send", lambda *_: None)
        event = next_event(first)
        assert event == Event(1, FAULT, "has not been heard for 3 s")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            ABOUT | {"config": {"seed": 2}},
            "host 1 (name1) has another configuration: seed is 2 there, 1 on the first"
            " host",
        ),
        (
            ABOUT | {"version": {"jax": "2"}},
            "host 1 (name1) has another version: jax is '2' there, '1' on the first"
            " host",
        ),
    ],
)
def test_a_host_with_something_else_is_refused_by_name_on_all_hosts(port, other, words):
    with several(port, ABOUT, other) as (_, meetings):
        for meeting in meetings:
            with pytest.raises(config.ConfigError) as refusal:
                meeting.result(SOON)
            assert str(refusal.value) == words


def test_two_hosts_with_one_index_are_refused(port):
    with several(port, *[ABOUT] * 3, indices=(0, 1, 1)) as (_, meetings):
        for meeting in meetings:
            with pytest.raises(config.ConfigError, match="has the index of host 1"):
                meeting.result(SOON)


def test_hosts_that_do_not_come_are_named(port, monkeypatch, capsys):
    monkeypatch.setattr(party, "MEET_SECONDS", 2.0)
    monkeypatch.setattr(party, "_BEAT_SECONDS", 0.1)
    alone = Party(Hosts(Address("127.0.0.1", port), 3, 0), "a")
    early = Party(Hosts(Address("127.0.0.1", port), 3, 2), "c")
    with futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(early.meet, ABOUT, lambda theirs: "")
        with pytest.raises(config.RunError, match=r"did not come within 2 s: 1; is"):
            alone.meet(ABOUT, lambda theirs: "")
        with pytest.raises(config.RunError, match=r"did not come within 2 s: 1; is"):
            waiting.result(SOON)
    assert f"waiting at 127.0.0.1:{port} for host 1" in capsys.readouterr().out
    other = Party(Hosts(Address("127.0.0.1", port), 3, 1), "b")
    with pytest.raises(config.RunError, match="the first host is not found at"):
        other.meet(ABOUT, lambda theirs: "")


def connected(port: int) -> socket.socket:
    """A connection to the first host, as soon as it listens."""
    deadline = time.monotonic() + SOON
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_host_may_leave_and_come_again_before_all_have_met(port, monkeypatch, capsys):
    monkeypatch.setattr(party, "_NEWS_SECONDS", 0.1)
    first = Address("127.0.0.1", port)
    hosts = [Party(Hosts(first, 3, index), "late") for index in range(3)]
    with futures.ThreadPoolExecutor() as pool:
        meetings = [pool.submit(hosts[0].meet, ABOUT, lambda theirs: "")]
        with connected(port) as stranger, connected(port) as early:
            stranger.sendall(b'{"host": [1], "count": 3, "name": "x"}\n')
            report = {"host": 1, "count": 3, "name": "early", **ABOUT}
            early.sendall(json.dumps(report).encode() + b"\n")
            screen = [""]

            def waits_for_host_2_alone() -> bool:
                screen[0] += capsys.readouterr().out
                return screen[0].endswith("for host 2\n")

            until(waits_for_host_2_alone, SOON, lambda: screen[0])
        meetings += [
            pool.submit(each.meet, ABOUT, lambda theirs: "") for each in hosts[1:]
        ]
        for meeting in meetings:
            meeting.result(SOON)
    assert "host 1 (early) has left" in capsys.readouterr().out
    assert hosts[2].describe(1) == "host 1 (late)"
    for each in hosts:
        each.close()


@pytest.mark.parametrize(
    ("address", "why"),
    [("192.0.2.1", "Cannot assign"), ("no-such-host.invalid", "[Nn]ame")],
)
def test_a_first_host_that_cannot_listen_there_is_refused(address, why):
    elsewhere = Party(Hosts(Address(address, 7000), 2, 0), "a")
    with pytest.raises(config.ConfigError, match=rf"cannot listen there \({why}"):
        elsewhere.meet(ABOUT, lambda theirs: "")
