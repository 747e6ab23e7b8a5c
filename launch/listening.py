"""Where a command listens that is given a name, or an address, of its own machine."""

from __future__ import annotations

import ipaddress
import socket


def host(name: str) -> str:
    """The host to listen at: that name, or "", all networks.

    /etc/hosts may give a loopback address for a machine's own name (127.0.1.1 on
    Debian), where no other machine could reach it.

    Raises:
      OSError: the name is unknown.
    """
    if name.startswith("localhost") or name in ("127.0.0.1", "::1"):
        return name
    addresses = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    loopback = ipaddress.ip_address(addresses[0][4][0]).is_loopback
    return "" if loopback else name
