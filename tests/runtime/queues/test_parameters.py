"""The parameter store: the newest only, waiting for the first, and closing."""

from __future__ import annotations

import pytest

from stac.runtime.queues import base, local
from tests.runtime.experiences import Doing


def test_readers_get_the_newest_and_may_get_it_again():
    store = local.ParameterStore()
    store.publish(1, {"w": 1.0})
    store.publish(2, {"w": 2.0})
    assert store.latest() == (2, {"w": 2.0})
    assert store.latest() == (2, {"w": 2.0})


def test_readers_wait_for_the_first():
    store = local.ParameterStore()
    readers = [Doing(store.latest) for _ in range(2)]
    assert all(reader.waits() for reader in readers)
    store.publish(0, "theta")
    assert [reader.result() for reader in readers] == [(0, "theta")] * 2


def test_close_wakes_readers_and_refuses_later_ones():
    store = local.ParameterStore()
    reader = Doing(store.latest)
    assert reader.waits()
    store.close()
    with pytest.raises(base.Closed):
        reader.result()
    store.publish(1, "theta")
    with pytest.raises(base.Closed):
        store.latest()
