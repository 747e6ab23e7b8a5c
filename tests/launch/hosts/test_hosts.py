"""Whole runs on several hosts, which are processes of this machine: how they end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time

import pytest

from stac.runtime.logs import loggers
from tests.launch import runs
from tests.launch.hosts.ports import free_pair
from tests.waiting import until

pytestmark = pytest.mark.faults

WITHIN = 60.0  # seconds for a run to end after any of its hosts
THREADS = (
    "--runtime=threads",
    "--config.network.mlp_hiddens=8",
    "--config.runtime.actor_restarts=0",
)


class Hosts:
    """The same command on every host."""

    def __init__(self, start, tmp_path, count: int, *flags: str, paths={}, **kind):  # noqa: B006 - nobody changes it
        coordinator = f"127.0.0.1:{free_pair()}"
        self.workdir = tmp_path / "run"
        self.runs = [
            start(
                self.workdir,
                *THREADS,
                f"--total_frames={runs.LONG}",
                f"--coordinator={coordinator}",
                f"--hosts={count}",
                f"--host={host}",
                *flags,
                path=paths.get(host),
                **kind,
            )
            for host in range(count)
        ]

    def wait_until_learning(self) -> None:
        for run in self.runs:
            run.wait_for("1 update")

    def child(self, host: int) -> int:
        parent = self.runs[host]._process.pid
        [child] = [pid for pid in self.runs[host].processes() if pid != parent]
        return child

    def ends(self) -> list[int]:
        """Exit statuses; nothing may stay behind."""
        deadline = time.monotonic() + WITHIN
        statuses = [run.status(deadline - time.monotonic()) for run in self.runs]
        assert not any(run.processes() for run in self.runs)
        return statuses


def last_update(run: runs.Run) -> int:
    [*_, last] = re.findall(r"([\d,]+) updates? ", run.text)
    return int(last.replace(",", ""))


def test_a_signal_to_any_host_ends_all_at_one_update_and_the_command_continues(
    start, tmp_path
):
    hosts = Hosts(start, tmp_path, 2)
    hosts.wait_until_learning()
    hosts.runs[1].terminate()
    assert hosts.ends() == [0, 0], hosts.runs[0].text
    first, second = hosts.runs
    ended = last_update(first)
    assert last_update(second) == ended == runs.saved(hosts.workdir)[-1]
    assert "[host 0] host 1 (" in first.text
    assert f"[host 0] update {ended:,} is saved in {hosts.workdir}" in first.lines
    assert second.lines[-1] == "[host 1] the first host saves"
    for run in hosts.runs:
        known = r"\[host \d\] |\[Gloo\] "  # gloo has its own
        assert not [line for line in run.lines if not re.match(known, line)]
    # As a run of one host.
    alone = start(hosts.workdir, *THREADS, f"--total_frames={runs.LONG}")
    alone.wait_for(f"continuing from update {ended}")
    alone.wait_for(f"{ended + 1:,} updates")
    alone.terminate()
    assert alone.status(WITHIN) == 0


@pytest.mark.slow
def test_three_hosts_of_their_own_disks_continue_what_two_began(start, tmp_path):
    hosts = Hosts(start, tmp_path, 2, "--config.batch.batch_size=24")
    hosts.wait_until_learning()
    hosts.runs[0].interrupt()
    assert hosts.ends() == [0, 0]
    ended = runs.saved(hosts.workdir)[-1]
    more = Hosts(start, tmp_path, 3, "--config.batch.batch_size=24")
    for run in more.runs:
        run.wait_for(f"{ended + 1:,} updates")  # of their first row: all have the state
    more.runs[2].terminate(signal.SIGUSR1)
    assert more.ends() == [0, 0, 0]
    assert len({last_update(run) for run in more.runs}) == 1


@pytest.mark.slow
def test_hosts_learn_from_replays_of_which_the_first_ones_alone_is_saved(
    start, tmp_path
):
    flags = (
        *("--agent=sac", "--env=Hopper-v4", "--config.batch.batch_size=2"),
        "--config.agent.soft.first_steps=400",
    )
    empty = "[host {}] the replay begins empty: nothing of it was saved"
    ended = 0
    for part in range(2):
        hosts = Hosts(start, tmp_path, 2, *flags, program="launch.mujoco")
        until(
            lambda: learned(hosts.workdir) > ended,  # noqa: B023 - called at once
            runs.START_SECONDS,
            lambda: hosts.runs[0].text,  # noqa: B023
        )
        hosts.runs[1].terminate()
        assert hosts.ends() == [0, 0], hosts.runs[0].text
        begins_empty = [
            empty.format(host) in run.lines for host, run in enumerate(hosts.runs)
        ]
        assert begins_empty == [False, bool(part)]
        written = loggers.rows(hosts.workdir / "metrics.jsonl")
        first = next(row for row in written if row["updates"] > ended)
        assert first["loss/critic"] is None, "one of the replays has too little"
        ended = learned(hosts.workdir)


def learned(workdir) -> int:
    """The last row's updates, or 0 where its update learned nothing."""
    row = loggers.last_row(workdir / "metrics.jsonl")
    if row.get("loss/critic") is None:
        return 0
    assert row["frames"] == 20 * row["updates"]
    return row["updates"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "kill the first host's child",
            r"host 0 \(.*\) was killed by SIGKILL: the run",
        ),
        (
            "kill the other host's child",
            r"host 1 \(.*\) was killed by SIGKILL: the run",
        ),
        (
            "kill the first host",
            r"host 0 \(.*\) is gone: it closed the connection: the",
        ),
        (
            "kill the other host",
            r"host 1 \(.*\) is gone: it closed the connection: the",
        ),
        ("stop the other host's child", r"host 1 \(.*\) gave no sign of life for 30 s"),
        (
            "break the other host's game",
            r"host 1 \(.*\) failed: RuntimeError: the paddle",
        ),
        ("stop the other host", r"host 1 \(.*\) has not been heard for 20 s: the run"),
    ],
)
def test_a_host_that_dies_or_hangs_is_named_and_the_command_continues(
    fault, words, start, tmp_path
):
    breaks = "break" in fault
    code = runs.early(tmp_path / "broken", runs.BROKEN_GAME) if breaks else None
    hosts = Hosts(start, tmp_path, 2, paths={1: code})
    hosts.wait_until_learning()
    host = 0 if "first" in fault else 1
    number = signal.SIGKILL if "kill" in fault else signal.SIGSTOP
    victims = [] if breaks else [hosts.child(host)]
    if "child" not in fault and not breaks:
        victims.insert(0, hosts.runs[host]._process.pid)
    for pid in victims:
        os.kill(pid, number)
    began = time.monotonic()
    survivor = hosts.runs[1 - host]
    assert survivor.status(WITHIN) == 1
    print(f"{fault}: {time.monotonic() - began:.0f} s: {survivor.lines[-1]}")
    assert re.search(words, survivor.lines[-1]), survivor.text
    assert "the same command on every host continues" in survivor.lines[-1]
    for pid in victims:
        with contextlib.suppress(ProcessLookupError):  # its parent has ended it
            os.kill(pid, signal.SIGCONT)
    if breaks:
        assert "Traceback (most recent call last):" in hosts.runs[1].text
    if number == signal.SIGSTOP or "child" in fault:
        assert hosts.runs[host].status(WITHIN) == 1
    assert not any(run.processes() for run in hosts.runs)
    if host != 0:  # which had saved nothing yet
        assert runs.saved(hosts.workdir)
    again = Hosts(start, tmp_path, 2)
    for run in again.runs:
        run.wait_for(" frames (")
    again.runs[0].terminate()
    assert again.ends() == [0, 0]


@pytest.mark.slow
def test_hosts_end_together_and_a_mistake_of_the_first_ends_all(start, tmp_path):
    hosts = Hosts(start, tmp_path, 2, "--total_frames=20000")
    assert hosts.ends() == [0, 0]
    assert "[host 0] done: 20k frames; update 125 is saved" in hosts.runs[0].lines[-1]
    assert hosts.runs[1].lines[-1] == "[host 1] done: 20k frames; the first host saves"
    # The first host's checkpoint is of another length, which only it can see.
    other = Hosts(start, tmp_path, 2, "--total_frames=30000")
    assert other.ends() == [2, 2]
    for run in other.runs:
        assert "holds a run of another configuration: total_frames is" in run.lines[-1]


def test_a_host_with_another_configuration_is_refused_by_name_before_any_update(
    start, tmp_path
):
    coordinator = f"127.0.0.1:{free_pair()}"
    flags = (*THREADS, f"--coordinator={coordinator}", "--hosts=2")
    first = start(tmp_path / "run", *flags, "--host=0")
    other = start(tmp_path / "run", *flags, "--host=1", "--seed=2")
    for run in (first, other):
        assert run.status(WITHIN) == 2
        assert re.search(
            r"launch.catch: host 1 \(.*\) has another configuration: seed is 2 there,"
            " 1 on the first host$",
            run.lines[-1],
        )
    assert not (tmp_path / "run").exists()
