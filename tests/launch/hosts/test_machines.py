"""Hosts of one run on machines of their own, as Debian and Ubuntu set them up."""

from __future__ import annotations

import contextlib

import pytest

from tests.launch.hosts.test_hosts import THREADS
from tests.launch.machines import Machine

pytestmark = [pytest.mark.faults, pytest.mark.slow]


def test_hosts_whose_own_names_are_loopback_addresses_learn_together(start, tmp_path):
    names = [tmp_path / "first", tmp_path / "second"]
    names[0].write_text("127.0.0.1 localhost\n127.0.1.1 first\n10.77.1.2 second\n")
    names[1].write_text("127.0.0.1 localhost\n127.0.1.1 second\n10.77.1.1 first\n")
    with contextlib.ExitStack() as stack:
        first = Machine("first", hosts=str(names[0]))
        stack.callback(first.close)
        second = Machine("second", first, str(names[1]))
        stack.callback(second.close)
        first.cable(second, 1)
        hosts = [
            start(
                tmp_path / "run",
                *THREADS,
                "--total_frames=2000",
                "--coordinator=first:7000",
                "--hosts=2",
                f"--host={index}",
                within=machine.within,
            )
            for index, machine in enumerate((first, second))
        ]
        assert [host.status(120.0) for host in hosts] == [0, 0], hosts[1].text
