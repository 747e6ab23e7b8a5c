"""HOST:PORT, and where a command listens that is given one of its own machine."""

from __future__ import annotations

import socket

import pytest

from stac.config import ConfigError
from stac.launch import listening


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
    assert listening.parse("listen", text) == address
    written = str(listening.parse("listen", text))
    assert listening.parse("listen", written) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:",
        "host:x",
        "host:0",
        "host:65535",
        "http://host:1",
        "a b:1",
        "fd00::2",
    ],
)
def test_an_address_that_is_none_is_refused_with_an_example(text):
    with pytest.raises(ConfigError) as refused:
        listening.parse("connect", text)
    example = "must be HOST:PORT, as in 10.0.0.5:7000, PORT up to 65534"
    assert str(refused.value) == f"--connect={text}: {example}"


@pytest.mark.parametrize(
    ("name", "address", "where"),
    [
        ("mine", "127.0.1.1", ""),  # Debian
        ("mine", "127.0.0.1", ""),  # Red Hat, by cloud-init
        ("mine", "::1", ""),
        ("mine", "10.0.0.2", "mine"),
        ("10.0.0.2", "10.0.0.2", "10.0.0.2"),
        ("localhost", "127.0.0.1", "localhost"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
    ],
)
def test_a_name_that_is_a_loopback_address_here_is_listened_for_everywhere(
    monkeypatch, name, address, where
):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    assert listening.host(name) == where
