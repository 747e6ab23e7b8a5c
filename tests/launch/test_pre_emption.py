"""SIGTERM at any time, again and again: the run ends in the bits of an unbroken one."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.launch import endings, runs

pytestmark = [pytest.mark.faults, pytest.mark.slow]

SMALL = (
    "--runtime=lockstep",
    "--agent=stac",
    "--num_actors=2",
    "--envs_per_actor=3",
    "--config.network.mlp_hiddens=(8,)",
    "--config.network.head_hidden=8",
    "--config.batch.batch_size=4",
    "--config.batch.unroll_length=10",
    "--config.runtime.checkpoint_every_seconds=0.001",
)
UPDATES, TIMES = 250, 10  # of a run, and that it is stopped
LEAVES_SECONDS = 30.0
# What a run says when it comes to a part of its life, and how long that lasts about.
MOMENTS = (("/cut", 2.0), ("building", 2.0), ("compiling", 4.0), ("frames (", 3.0))


@pytest.mark.parametrize("seed", [2, 3])
def test_a_run_that_is_stopped_at_random_ends_in_the_bits_of_an_unbroken_one(
    seed, start, tmp_path
):
    flags = (*SMALL, f"--total_frames={40 * UPDATES}")
    whole = start(tmp_path / "whole", *flags)
    assert whole.status(runs.START_SECONDS) == 0, whole.text
    random_ = random.Random(seed)
    stopped = 0
    for attempt in range(TIMES):
        run = start(tmp_path / "cut", *flags)
        words, seconds = MOMENTS[attempt % len(MOMENTS)]
        run.wait_for(words)
        time.sleep(random_.uniform(0.0, seconds))
        began = time.monotonic()
        run.terminate()
        status = run.status(LEAVES_SECONDS)
        print(f"{words}: {time.monotonic() - began:.1f} s, {run.lines[-1]}")
        if status == -signal.SIGTERM:  # Python was still importing: nothing is begun
            assert words == "/cut", run.text
        else:
            assert status == 0, run.text
        assert "Traceback" not in run.text
        stopped += "is saved in" in run.lines[-1] and "done" not in run.lines[-1]
    assert stopped >= TIMES / 2
    last = start(tmp_path / "cut", *flags)
    assert last.status(runs.START_SECONDS) == 0, last.text
    assert "anew" not in last.text
    ended = endings.of(tmp_path / "whole")
    assert endings.of(tmp_path / "cut") == ended
    assert ended.step == UPDATES
    assert ended.counters["episodes"] > 0
    assert "actor_1's games" in ended.acting
