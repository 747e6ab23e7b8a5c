"""Several hosts, real processes of two devices each, learn as one process does."""

from __future__ import annotations

import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest

from stac.agents import actor_critic
from stac.environments import make
from stac.runtime import devices
from tests import conftest
from tests.launch.hosts.ports import free_pair
from tests.runtime import test_devices_agree as agree

SECONDS = 300.0


def learned_by_hosts(count, name, folder):
    """(leaves of state and metrics, counts of hosts that stop) of each host."""
    service = f"127.0.0.1:{free_pair()}"
    program = [sys.executable, "-m", "tests.runtime.learning_host", service, str(count)]
    outputs = [folder / f"{index}" for index in range(count)]
    hosts = [
        subprocess.Popen(
            [*program, str(index), name, output],
            cwd=conftest.ROOT,
        )
        for index, output in enumerate(outputs)
    ]
    try:
        assert [host.wait(SECONDS) for host in hosts] == [0] * count
    finally:
        for host in hosts:
            host.kill()
            host.wait()
    return [pickle.loads(output.read_bytes()) for output in outputs]


@pytest.mark.parametrize(
    ("count", "name"),
    [(2, "stac"), pytest.param(3, "stacx", marks=pytest.mark.slow)],
)
def test_hosts_with_shares_of_a_batch_learn_as_one_device_with_all(
    count, name, tmp_path
):
    config = agree.small(name)
    agent = actor_critic.build(config, make.spec(config))
    learners = devices.LearnerDevices(agent, jax.local_devices()[:1])
    first = learners.init(seed=1)
    states = learners.replicate(first)
    for batch in agree.play(config, agent, first):
        states, metrics = learners.update(states, batch)
    del metrics[devices.STOPPING]
    state, metrics = learners.fetch((states, metrics))
    # Metrics sum hundreds of terms of either sign: their own tolerance.
    parts = [*jax.tree.leaves(state), *jax.tree.leaves(metrics)]
    tolerances = [1e-5] * len(jax.tree.leaves(state)) + [1e-4] * len(metrics)
    for leaves, stopping in learned_by_hosts(count, name, tmp_path):
        # Two devices of one host say in the fourth update that they stop.
        assert stopping == [0, 0, 0, 2, 0]
        for one, several, rtol in zip(parts, leaves, tolerances, strict=True):
            np.testing.assert_allclose(several, one, rtol=rtol, atol=1e-5)
