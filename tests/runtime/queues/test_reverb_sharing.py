"""Overlapping trajectories through a real table: shared, bounded, and bit for bit."""

from __future__ import annotations

import contextlib
import os
import pathlib
import socket
import struct
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from stac.config import BatchConfig
from stac.runtime import actor
from stac.runtime.queues import reverb
from tests.runtime import experiences, fakes
from tests.waiting import until

pytestmark = [
    pytest.mark.launchpad,
    # Reverb's protocol buffers are older than Python's idea of how to spell them.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
ROWS, OVERLAP, ENVS = 8, 6, 3
WIDTH = 20_000  # bytes in a row's observation: all else is small beside it


@contextlib.contextmanager
def sides(
    puts: list, overlap: int, capacity: int, writers: int = 1
) -> Iterator[list[reverb.ReverbQueue]]:
    """A reader and writers of a table for such trajectories."""
    spec = experiences.like(puts[0], overlap)
    with (
        reverb.serve(capacity) as address,
        contextlib.ExitStack() as stack,
    ):
        yield [
            stack.enter_context(contextlib.closing(reverb.ReverbQueue(address, spec)))
            for _ in range(1 + writers)
        ]


def received() -> int:
    """Bytes that have arrived at this process's TCP connections that are open."""
    total = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                with socket.socket(fileno=os.dup(int(number))) as copy:
                    info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 136)
                    total += struct.unpack_from("Q", info, 128)[0]  # bytes_received
    return total


@pytest.mark.parametrize("overlap", [6, 3])
def test_trajectories_of_actors_come_out_bit_for_bit_and_in_order(overlap):
    """Two at a time, and a third when the first is gone; two new blocks at once."""
    batch = BatchConfig(batch_size=1, unroll_length=ROWS, overlap=overlap)
    actors = [
        actor.Actor(fakes.following_agent(), fakes.Counting(ENVS), batch, 1, index)
        for index in range(3)
    ]
    puts = [[each.unroll(0, {"b": np.float32(i)}) for i in range(4)] for each in actors]
    with sides(puts[0], overlap, capacity=ENVS, writers=3) as (reader, *writers):

        def passes(index: int, number: int) -> None:
            putting = experiences.Doing(writers[index].put, puts[index][number])
            got = reader.get(ENVS)
            putting.result()
            assert experiences.bits(got) == experiences.bits(puts[index][number])

        for number in range(4):
            passes(0, number)
            passes(1, number)
        writers[0].close()
        for number in range(4):
            passes(2, number)


def test_a_row_goes_over_the_wire_once():
    puts = experiences.overlapping(5, ROWS, OVERLAP, ENVS, WIDTH)
    with sides(puts, OVERLAP, capacity=99) as (_, writer):
        writer.put(puts[0])
        before = received()
        for put in puts[1:]:
            writer.put(put)
        rows = (received() - before) / (ENVS * WIDTH)
    new = 4 * (ROWS - OVERLAP)
    assert new <= rows < 1.05 * new


def test_a_row_is_stored_once():
    puts = experiences.overlapping(5, ROWS, OVERLAP, ENVS, WIDTH)
    with sides(puts, OVERLAP, capacity=99) as (reader, writer):
        for put in puts:
            writer.put(put)
        saved = pathlib.Path(reader._client.checkpoint())
        size = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    rows = size / (ENVS * WIDTH)
    all_rows = ROWS + 4 * (ROWS - OVERLAP)
    assert all_rows <= rows < 1.05 * all_rows


def test_trajectories_put_before_there_was_a_reader_are_not_lost():
    puts = experiences.overlapping(3, ROWS, OVERLAP)
    spec = experiences.like(puts[0], OVERLAP)
    with reverb.serve(99) as address:
        with contextlib.closing(reverb.ReverbQueue(address, spec)) as writer:
            for put in puts:
                writer.put(put)
        reader = reverb.ReverbQueue(address, spec)
        for put in puts:
            assert experiences.bits(reader.get(ENVS)) == experiences.bits(put)


def test_a_full_table_makes_the_writer_wait_and_nothing_is_lost():
    puts = experiences.overlapping(3, ROWS, OVERLAP)
    with sides(puts, OVERLAP, capacity=2) as (reader, writer):

        def put_all() -> None:
            for put in puts:
                writer.put(put)

        putting = experiences.Doing(put_all)
        until(lambda: reader.size() == 2)
        assert putting.waits()
        assert reader.size() == 2
        got = [reader.get(1) for _ in range(3 * ENVS)]
        putting.result()
    want = jax.tree.map(lambda *leaves: np.concatenate(leaves), *puts)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *got)
    assert experiences.bits(joined) == experiences.bits(want)
