"""HOST:PORT on the command line, and listening there."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import NamedTuple

from stac.config import check


class Address(NamedTuple):
    """A host, by its name or in numbers, and a port; the next port is used, too.

    Where one listens, "" is all networks.
    """

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host or '*'}:{self.port}"

    @property
    def next(self) -> Address:
        return Address(self.host, self.port + 1)


def parse(flag: str, text: str) -> Address:
    """Reads `HOST:PORT`; `PORT` or `:PORT` is of 127.0.0.1.

    Raises:
      ConfigError: it is something else; the message names the flag.
    """
    host, _, port = text.rpartition(":")
    right = re.fullmatch(r"[^/\s:]*|\[[^/\s]*\]", host) and port.isdecimal()
    check(
        right and 0 < int(port) < 2**16 - 1,
        f"--{flag}={text}: must be HOST:PORT, as in 10.0.0.5:7000, PORT up to 65534",
    )
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def server(address: Address) -> socket.socket:
    """Listens there; raises OSError."""
    name = host(address.host)
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    return socket.create_server((name, address.port), family=family)


def host(name: str) -> str:
    """The host to listen at: that name, or "", all networks.

    /etc/hosts may give a loopback address for a machine's own name (127.0.1.1 on
    Debian), where no other machine could reach it.

    Raises:
      OSError: the name is unknown.
    """
    if name.startswith("localhost") or name in ("", "127.0.0.1", "::1"):
        return name
    addresses = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    loopback = ipaddress.ip_address(addresses[0][4][0]).is_loopback
    return "" if loopback else name


def reason(error: OSError) -> str:
    """Says in a word or two how a connection failed."""
    if isinstance(error, TimeoutError):
        return "no answer"
    if error.errno and error.errno > 0:  # `create_server` adds to `strerror`
        return os.strerror(error.errno)
    return error.strerror or str(error)
