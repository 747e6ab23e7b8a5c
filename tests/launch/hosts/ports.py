"""Ports for hosts on this machine."""

from __future__ import annotations

import contextlib
import random
import socket


def free_pair() -> int:
    """A port that is free, and so is the next one."""
    while True:
        port = random.randrange(20_000, 30_000)
        with (
            contextlib.suppress(OSError),
            socket.create_server(("127.0.0.1", port)),
            socket.create_server(("127.0.0.1", port + 1)),
        ):
            return port
