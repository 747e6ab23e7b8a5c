"""How the parents of all hosts hear each other: each has a connection to the first.

Every host has a parent process without JAX (`supervisor.py`). The first host's listens,
the others connect. A line of JSON is a message:

    {"host": 2, "count": 4, "name": "c", "version": …, "config": {…}}   a host reports
    {"names": ["a", "b", "c", "d"]}         the first one's answer, when all are there,
    {"refused": "why"}                      or when one of them may not take part
    {"missing": "why"}                      or when one of them does not come
    {"from": 2, "event": "fault", "words": "why"}    the first one passes it on to all
    {}                                      every second: still there

JAX's own service cannot do this: where a host dies it ends the processes of all others,
minutes later and without a name. It does not compare versions or configurations.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stac.config import ConfigError, RunError
from stac.launch import listening
from stac.launch.hosts.find import Hosts
from stac.runtime.faults import lines

FAULT, REFUSED, STOP, DONE = "fault", "refused", "stop", "done"  # kinds of events

MEET_SECONDS = 300.0  # for all hosts to come
SILENCE_SECONDS = 20.0  # without a message: the host is gone
_BEAT_SECONDS = 1.0
_RETRY_SECONDS = 0.5
_NEWS_SECONDS = 10.0  # between two lines about hosts that are missing
_LONGEST = 1 << 20  # bytes of a message

Message = Mapping[str, Any]


class Event(NamedTuple):
    """A host tells this to all others."""

    host: int
    kind: str  # FAULT, REFUSED (a user's mistake), STOP or DONE
    words: str = ""


class Line:
    """A connection to another host's parent. Its messages go into an inbox."""

    def __init__(
        self,
        connection: socket.socket,
        # Gets (line, message), and at the end (line, {"ended": "why"}).
        inbox: queue.Queue[tuple[Line, Message]],
    ) -> None:
        connection.settimeout(SILENCE_SECONDS)
        self.address: str = connection.getsockname()[0]  # of this host, for the other
        self._connection, self._inbox = connection, inbox
        self._sending = threading.Lock()
        self._closed = threading.Event()
        for work in (self._beat, self._listen):
            threading.Thread(target=work, daemon=True).start()

    def send(self, message: Message) -> None:
        """Sends unless the other side is gone, which `_listen` notices."""
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        self._closed.set()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_SECONDS):
            self.send({})

    def _listen(self) -> None:
        try:
            with self._connection.makefile("rb") as reader:
                while (text := reader.readline(_LONGEST)).endswith(b"\n"):
                    if message := json.loads(text):
                        self._inbox.put((self, dict(message)))
            why = "is gone: it closed the connection"
        except TimeoutError:
            why = f"has not been heard for {SILENCE_SECONDS:g} s"
        except (OSError, ValueError, TypeError, RecursionError) as error:
            why = f"is gone: {error}"
        self._inbox.put((self, {"ended": why}))


class Party:
    """All hosts of a run, as the parent on one of them sees them."""

    def __init__(self, hosts: Hosts, name: str) -> None:
        """`name` of this host, for people."""
        self.hosts, self._names = hosts, {hosts.index: name}
        self._lines: dict[int, Line] = {}  # to all others; or to the first, of another
        self._inbox: queue.Queue[tuple[Line, Message]] = queue.Queue()

    def meet(self, about: Message, difference: Callable[[Message], str]) -> None:
        """Waits for all hosts.

        Args:
          about: what has to be the same on all hosts.
          difference: says what differs in another host's `about`, or "".

        From then on `hosts` has the addresses that serve: names may stand for another
        one on the machine that has them.

        Raises:
          ConfigError: a host may not take part; or the first host cannot listen.
          RunError: a host did not come in time, or the first one left.
        """
        if self.hosts.index == 0:
            first = here = self._receive_all(difference)
        else:
            first, here = self._report(about)
        coordinator = self.hosts.coordinator._replace(host=first)
        self.hosts = dataclasses.replace(self.hosts, coordinator=coordinator, here=here)

    def tell(self, kind: str, words: str = "") -> None:
        """Tells all other hosts."""
        self._pass_on(Event(self.hosts.index, kind, words))

    def event(self, seconds: float) -> Event | None:
        """The news of another host, waiting at most so long; None: there are none."""
        try:
            line, message = self._inbox.get(timeout=seconds)
        except queue.Empty:
            return None
        senders = [host for host, each in self._lines.items() if each is line]
        if not senders:  # it never reported
            return None
        [sender] = senders
        event = Event(sender, FAULT, str(message.get("ended", "sends nonsense")))
        with contextlib.suppress(KeyError):
            event = Event(message["from"], message["event"], message["words"])
        if self.hosts.index == 0:
            self._pass_on(event)
        return event

    def describe(self, host: int) -> str:
        """`host 2 (tpu-worker-2)`."""
        return f"host {host} ({self._names[host]})"

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    def _pass_on(self, event: Event) -> None:
        message = {"from": event.host, "event": event.kind, "words": event.words}
        for host, line in self._lines.items():
            if host != event.host:
                line.send(message)

    def _report(self, about: Message) -> tuple[str, str]:
        """Reports to the first host; when all are there, its address and this one's."""
        where = self.hosts.coordinator
        deadline, news, reason = time.monotonic() + MEET_SECONDS, 0.0, ""
        while True:
            if (now := time.monotonic()) > news:
                lines.to_stdout(f"looking for the first host at {where}{reason}")
                news = now + _NEWS_SECONDS
            try:
                connection = socket.create_connection(
                    self.hosts.coordinator, SILENCE_SECONDS
                )
                break
            except OSError as error:
                reason = f": {listening.reason(error)}"
            if now > deadline:
                raise RunError(
                    f"the first host is not found at {where} for {MEET_SECONDS:g} s"
                    f"{reason}; is the same command running there with --host=0?"
                )
            time.sleep(_RETRY_SECONDS)
        first = connection.getpeername()[0]
        line = self._lines[0] = Line(connection, self._inbox)
        index, count = self.hosts.index, self.hosts.count
        name = self._names[index]
        line.send({"host": index, "count": count, "name": name, **about})
        try:
            _, answer = self._inbox.get(timeout=MEET_SECONDS + SILENCE_SECONDS)
        except queue.Empty:
            answer = {"ended": "does not answer"}
        if "refused" in answer:
            raise ConfigError(answer["refused"])
        if "names" not in answer:
            gone = f"the first host, {where}, {answer.get('ended')}"
            raise RunError(answer.get("missing", gone))
        self._names = dict(enumerate(answer["names"]))
        return first, line.address

    def _receive_all(self, difference: Callable[[Message], str]) -> str:
        """Listens until all hosts have reported, and answers them.

        Returns:
          The address at which they reach this host.
        """
        try:
            listener = listening.server(self.hosts.coordinator)
        except OSError as error:
            why = listening.reason(error)
            raise ConfigError(
                f"--coordinator={self.hosts.coordinator}: the first host cannot listen"
                f" there ({why}): give an address of its own and a free port"
            ) from error
        with listener, contextlib.ExitStack() as stack:
            # Closing alone would not wake the thread that accepts.
            stack.callback(listener.shutdown, socket.SHUT_RDWR)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            deadline = time.monotonic() + MEET_SECONDS
            news = 0.0
            while missing := sorted({*range(self.hosts.count)} - {*self._names}):
                now = time.monotonic()
                who = ", ".join(map(str, missing))
                if now > deadline:
                    why = (
                        f"these hosts did not come within {MEET_SECONDS:g} s: {who};"
                        " is the same command running there, and may it reach"
                        f" {self.hosts.coordinator}?"
                    )
                    self._answer({"missing": why})
                    raise RunError(why)
                if now > news:
                    lines.to_stdout(
                        f"waiting at {self.hosts.coordinator} for host {who}"
                    )
                    news = now + _NEWS_SECONDS
                with contextlib.suppress(queue.Empty):
                    self._admit(*self._inbox.get(timeout=_BEAT_SECONDS), difference)
        names = [self._names[host] for host in range(self.hosts.count)]
        self._answer({"names": names})
        addresses = [line.address for line in self._lines.values()]
        # A second host on this machine may have come by a loopback address.
        return min(addresses, key=lambda address: address.startswith("127."))

    def _answer(self, message: Message) -> None:
        for line in self._lines.values():
            line.send(message)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it is closed when all are there
            while True:
                Line(listener.accept()[0], self._inbox)

    def _admit(
        self, line: Line, message: Message, difference: Callable[[Message], str]
    ) -> None:
        """Takes a host's report; or its farewell, and then it may come again."""
        host = message.get("host")
        if not isinstance(host, int) or not {"name", "count"} <= message.keys():
            line.close()
            for left in [k for k, each in self._lines.items() if each is line]:
                lines.to_stdout(f"{self.describe(left)} has left")
                del self._lines[left], self._names[left]
            return
        name = f"host {host} ({message['name']})"
        if message["count"] != self.hosts.count or not 0 <= host < self.hosts.count:
            why = f"has --hosts={message['count']}, the first has {self.hosts.count}"
        elif host in self._names:
            why = f"has the index of {self.describe(host)}: give each its own --host"
        else:
            why = difference(message)
        self._lines[host if host not in self._names else -1] = line
        if why:
            self._answer({"refused": f"{name} {why}"})
            raise ConfigError(f"{name} {why}")
        self._names[host] = message["name"]
