"""One of several hosts that learn from the same batches; a program for tests.

python -m tests.runtime.learning_host SERVICE COUNT INDEX AGENT OUTPUT
"""

from __future__ import annotations

import faulthandler
import pickle
import sys

import jax

from stac.agents import actor_critic
from stac.environments import make
from stac.runtime import devices
from tests.runtime import test_devices_agree as agree

DEVICES = 2  # of each host
SECONDS = 240.0  # after which it tells where it hangs


def main(service: str, count: str, index: str, name: str, output: str) -> None:
    jax.config.update("jax_num_cpu_devices", DEVICES)
    devices.join_hosts(service, int(count), int(index), "127.0.0.1")
    config = agree.small(name)
    agent = actor_critic.build(config, make.spec(config))
    places = devices.split((), range(DEVICES), config.batch.batch_size)
    learners = devices.LearnerDevices(agent, places.learners)
    # Only the first host has the state that all begin with.
    first = learners.agreed(learners.init(seed=1 if index == "0" else 2))
    share = config.batch.batch_size // int(count)
    mine = slice(int(index) * share, (int(index) + 1) * share)
    states = learners.replicate(first)
    stopping = []
    for update, batch in enumerate(agree.play(config, agent, first)):
        part = jax.tree.map(lambda leaf: leaf[mine], batch)
        states, metrics = learners.update(states, part, update == 3 and index == "1")
        stopping.append(float(learners.fetch(metrics.pop(devices.STOPPING))))
    with open(output, "wb") as file:
        pickle.dump(
            (jax.tree.leaves(learners.fetch((states, metrics))), stopping), file
        )
    devices.leave_hosts()


if __name__ == "__main__":
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    main(*sys.argv[1:])
