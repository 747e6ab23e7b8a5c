"""How actors of other machines join a run: the wire between them and the learner.

A machine connects to the address that `--listen` names. Both sides then write lines of
JSON, and nothing else is ever read from this connection:

    machine                                        learner
    {"version": …, "machine": "a1", "actors": 8} →
                                                 ← {"config": {…}, "queue": 7001,
                                                    "learner": 7002, "first": 2}
    {"acting": 8}                                → every second, answered by
                                                 ← {}, or at the end {"over": "…"}

`first` is the index of the machine's first actor. No two actors of a run share one, so
that each has random numbers of its own, also where a machine leaves and joins again.
A line that is missed for `SILENCE_SECONDS` is a connection that is cut.

Trajectories and parameters do not pass here: the actors reach Reverb and Courier at the
two ports above this one.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import json
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from stac.config import Config, ConfigError, changed, check, flat
from stac.launch import listening, version
from stac.runtime.faults.lines import say

TICK_SECONDS = 1.0
SILENCE_SECONDS = 20.0
_CONNECT_SECONDS = 5.0  # to connect, and for the first answer
_LONGEST_LINE = 2**16  # bytes; a configuration has some 3,000
_MOST_ACTORS = 4096  # of one machine
_FOREIGN = "something other than stac answers there"

Message = Mapping[str, Any]


class Address(NamedTuple):
    """Where a learner lets actors join; the ports of its queue and itself follow."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def queue(self) -> int:
        """The port of Reverb."""
        return self.port + 1

    @property
    def learner(self) -> int:
        """The port of Courier."""
        return self.port + 2


def bracketed(host: str) -> str:
    """The host as it stands before a port: `[fd00::2]`."""
    return f"[{host}]" if ":" in host else host


def parse(flag: str, text: str) -> Address:
    """Reads `HOST:PORT`; `PORT` or `:PORT` is one of this machine alone.

    Raises:
      ConfigError: it is something else; the message names the flag.
    """
    host, _, port = text.rpartition(":")
    right = port.isdecimal() and 0 < int(port) <= 2**16 - 3 and "/" not in host
    check(
        right,
        f"--{flag}={text}: must be HOST:PORT, as in 10.0.0.5:7000, PORT up to 65533",
    )
    return Address(host.strip("[]") or "127.0.0.1", int(port))


def check_free(address: Address) -> None:
    """Raises ConfigError where one of the three ports cannot be opened."""
    ports = {address.port: address.host, address.queue: "", address.learner: ""}
    for port, host in ports.items():
        try:
            here = host and listening.host(host)
            socket.create_server((here, port), family=_family(here)).close()
        except OSError as error:
            there = Address(host or "*", port)
            raise ConfigError(
                f"--listen={address}: cannot open {there}: {reason(error)}"
            ) from None


def reason(error: BaseException) -> str:
    """Says in a word or two how a connection failed or broke."""
    if isinstance(error, TimeoutError):
        return "no answer"
    number = getattr(error, "errno", None) or 0
    if number > 0:  # `create_server` adds words of its own to `strerror`
        return os.strerror(number)
    return getattr(error, "strerror", None) or str(error)


class Joined:
    """The machines whose actors work for this learner from elsewhere.

    It serves from the start to `close`, with a thread for each machine.
    """

    def __init__(self, address: Address, config: Config) -> None:
        """Opens the port, for a learner with this configuration.

        Raises:
          ConfigError: the address is not this machine's, or is in use.
        """
        self._address, self._config = address, config
        self._lock = threading.Lock()  # guards the two below
        self._next = config.runtime.num_actors  # the index of the next actor
        # Actors that act by machine and by connection; a machine that left stays.
        self._acting: dict[str, dict[object, int]] = collections.defaultdict(dict)
        self._over = ""
        try:
            self._server = _Server(address, self)
        except OSError as error:
            raise ConfigError(f"--listen={address}: {reason(error)}") from None
        threading.Thread(
            target=self._server.serve_forever, name="join", daemon=True
        ).start()

    def metrics(self) -> dict[str, int]:
        """{"actors/a1": 8}: the actors that act on each machine that ever joined."""
        with self._lock:
            return {
                f"actors/{machine}": sum(lines.values())
                for machine, lines in self._acting.items()
            }

    def close(self, over: str = "") -> None:
        """Lets nobody join any more.

        Args:
          over: tells the machines that the run is over, and waits until all know, for
            some seconds at most. Without it they try to join again.
        """
        self._over = over
        deadline = time.monotonic() + 3 * TICK_SECONDS
        while over and self._connections() and time.monotonic() < deadline:
            time.sleep(0.05)
        self._server.shutdown()
        self._server.server_close()

    def serve(self, peer: str, stream: io.BufferedIOBase) -> None:
        """Serves one machine to the end of its connection."""
        hello = _read(stream)
        mine, theirs = version.code(), str(hello.get("version"))[:12]
        if theirs != mine:
            line = f"the learner has version {mine} of stac's code, the actors {theirs}"
            say(f"actors on {peer} are refused: {line}")
            _write(stream, {"refused": line})
            return
        machine = re.sub(r"[^\w.-]", "_", str(hello["machine"]))[:64]
        actors = min(max(1, int(hello["actors"])), _MOST_ACTORS)
        first = self._enter(machine, stream, actors)
        why = "it left"
        try:
            _write(stream, self._welcome(first))
            last = first + actors - 1
            say(f"{machine} ({peer}) joins: actors {first} to {last}")
            over = ""
            while not over:
                acting = int(_read(stream).get("acting", 0))
                with self._lock:
                    self._acting[machine][stream] = acting
                over = self._over
                _write(stream, {"over": over} if over else {})
        except OSError as error:
            why = reason(error)
        finally:
            with self._lock:
                del self._acting[machine][stream]
        if not self._over:
            say(f"{machine} ({peer}) is gone: {why}")

    def _enter(self, machine: str, line: object, actors: int) -> int:
        with self._lock:
            first, self._next = self._next, self._next + actors
            self._acting[machine][line] = 0
        return first

    def _welcome(self, first: int) -> Message:
        return {
            "config": flat(dataclasses.asdict(self._config)),
            "queue": self._address.queue,
            "learner": self._address.learner,
            "first": first,
        }

    def _connections(self) -> int:
        with self._lock:
            return sum(map(len, self._acting.values()))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128  # machines that come at once

    def __init__(self, address: Address, joined: Joined) -> None:
        self.joined = joined
        host = listening.host(address.host)
        self.address_family = _family(host)
        super().__init__((host, address.port), _Handler)


class _Handler(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.request.settimeout(SILENCE_SECONDS)
        # Whatever else may call here: a browser, or a scanner of ports.
        with (
            contextlib.suppress(OSError, ValueError, KeyError, TypeError),
            self.request.makefile("rwb") as stream,
        ):
            self.server.joined.serve(self.client_address[0], stream)


class Line:
    """A machine's connection to the learner whose run it joins."""

    def __init__(self, address: Address, actors: int) -> None:
        """Joins with so many actors.

        Raises:
          OSError: nobody answers there, or nobody who speaks this.
          ConfigError: the learner refuses this machine.
        """
        self._socket = socket.create_connection(address[:2], _CONNECT_SECONDS)
        self._stream = self._socket.makefile("rwb")
        try:
            self.host: str = self._socket.getpeername()[0]  # the learner's, in numbers
            hello = {
                "version": version.code(),
                "machine": socket.gethostname(),
                "actors": actors,
            }
            welcome = self._ask(hello)
            check("refused" not in welcome, f"{address} refuses: {_refusal(welcome)}")
            self._read(welcome, actors)
        except BaseException:
            self.close()
            raise
        self._socket.settimeout(SILENCE_SECONDS)

    def _read(self, welcome: Message, actors: int) -> None:
        try:
            self.queue = f"{bracketed(self.host)}:{int(welcome['queue'])}"
            self.learner = f"{bracketed(self.host)}:{int(welcome['learner'])}"
            self.first = int(welcome["first"])
            self.config = _here(welcome["config"], actors)
        except (LookupError, TypeError, AttributeError) as error:
            raise OSError(_FOREIGN) from error

    def tell(self, acting: int) -> str:
        """Says how many actors act; returns why the run is over, or "".

        Raises:
          OSError: the connection is cut.
        """
        return str(self._ask({"acting": acting}).get("over", ""))

    def close(self) -> None:
        """May be called from another thread, which then sees a cut."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            self._stream.close()
        self._socket.close()

    def _ask(self, message: Message) -> Message:
        _write(self._stream, message)
        return _read(self._stream)


def _here(config: Mapping[str, Any], actors: int) -> Config:
    """The learner's configuration for the actors of this machine alone."""
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in config.items()
    }
    own = {
        "runtime.num_actors": actors,
        "runtime.listen": "",
        "runtime.learner_devices": (),
    }
    return changed(Config(), values | own)


def _refusal(welcome: Message) -> str:
    return " ".join(str(welcome.get("refused")).split())[:200]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _read(stream: io.BufferedIOBase) -> Message:
    """The next line; raises OSError at the end, and where it is none of ours."""
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise ConnectionResetError("the connection was closed")
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise OSError(_FOREIGN)
    return message


def _write(stream: io.BufferedIOBase, message: Message) -> None:
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()
