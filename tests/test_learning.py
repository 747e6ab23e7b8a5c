"""Each of the four agents learns the tiny game, within a minute.

The quick tests of learning are the example's, test_learning_control.py, and catch with
an environment that fails, in launch/test_threads_faults.py.
"""

from __future__ import annotations

import time

import pytest

from stac.agents import make
from stac.config import changed
from stac.configs import catch as numbers
from stac.launch import threads
from tests.launch.runs import rows


@pytest.mark.slow
@pytest.mark.parametrize("agent", make.ACTOR_CRITICS)
def test_every_agent_solves_catch_within_a_minute(agent, tmp_path):
    short = {"runtime.name": "lockstep", "runtime.learner_devices": (0,)}
    config = changed(numbers.config(agent=agent), short | {"total_frames": 150_000})
    began = time.process_time()
    threads.run(config, tmp_path)
    first, *_, last = rows(tmp_path)
    assert first["episode_return"] < 0.0  # by chance one ball in five is caught
    assert last["episode_return"] > 0.9
    assert time.process_time() - began < 120  # of two cores
