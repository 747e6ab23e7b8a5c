"""Where a command listens that is given a name, or an address, of its own machine."""

from __future__ import annotations

import socket

_ITSELF = "127.0.1.1"


def host(name: str) -> str:
    """The host to listen at: that name, or "", all networks.

    Debian's /etc/hosts gives 127.0.1.1 for a machine's own name, where no other machine
    could reach it.

    Raises:
      OSError: the name is unknown.
    """
    addresses = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return "" if addresses[0][4][0] == _ITSELF else name
