"""Machines for tests: namespaces of Linux, with a cable from one to another."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

IP = shutil.which("ip", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


class Machine:
    """A network, a host name and /etc/hosts of its own, and commands that run there."""

    def __init__(
        self, name: str, beside: Machine | None = None, hosts: str = "/etc/hosts"
    ) -> None:
        """The file `hosts` becomes its /etc/hosts."""
        if IP is None or not all(map(shutil.which, ("unshare", "nsenter", "hostname"))):
            pytest.skip("needs unshare, nsenter, hostname and ip")
        self.name = name
        new = ["unshare", "--net", "--uts", "--mount"]
        if beside is None:
            new += ["--user", "--map-root-user"]
        program = (
            f"hostname {name} && {IP} link set lo up"
            f" && mount --bind {hosts} /etc/hosts && echo up && exec cat"
        )
        self._holder = subprocess.Popen(
            [*(beside.within if beside else ()), *new, "sh", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        up = self._holder.stdout.readline()
        if up != "up\n":
            _, why = self._holder.communicate()
            pytest.skip(f"no namespaces may be made here: {why.strip()}")

    @property
    def within(self) -> tuple[str, ...]:
        own = ("--user", "--preserve-credentials", "--net", "--uts", "--mount")
        return ("nsenter", f"--target={self._holder.pid}", *own)

    def ip(self, command: str) -> None:
        subprocess.run([*self.within, IP, *command.split()], check=True)

    def cable(self, other: Machine, number: int) -> None:
        """Connects 10.77.number.1, of this machine, with 10.77.number.2."""
        ends = ((self, f"c{number}", 1), (other, "c", 2))
        self.ip(f"link add c{number} type veth peer name c netns {other._holder.pid}")
        for machine, name, last in ends:
            machine.ip(f"address add 10.77.{number}.{last}/24 dev {name}")
            machine.ip(f"link set {name} up")

    def close(self) -> None:
        self._holder.communicate()
