"""Where a command listens that is given a name of its own machine."""

from __future__ import annotations

import socket

import pytest

from stac.launch import listening


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
