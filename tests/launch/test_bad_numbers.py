"""Rewards that are no numbers, in a whole run: passed over, and too many of them."""

from __future__ import annotations

import numpy as np
import pytest

from stac.config import changed
from stac.configs import catch as numbers
from stac.environments import catch
from stac.launch import catch as command
from stac.launch import threads
from tests.launch.runs import rows, saved

pytestmark = pytest.mark.faults


class Poisoned(catch.Catch):
    """Some of its rewards are NaN."""

    probability = 2e-4  # a batch holds 144 transitions: one in 35 is bad

    def __init__(self, task, seed, num_envs):
        super().__init__(task, seed, num_envs)
        self._poison = np.random.default_rng([seed, 2])

    def step(self, action):
        timestep = super().step(action)
        bad = self._poison.random(self.num_envs) < self.probability
        return timestep._replace(reward=np.where(bad, np.nan, timestep.reward))


@pytest.mark.slow
def test_catch_is_learned_although_some_rewards_are_no_numbers(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(catch, "Catch", Poisoned)
    short = {"runtime.name": "lockstep", "runtime.learner_devices": (0,)}
    config = changed(numbers.config(agent="stac"), short | {"total_frames": 150_000})
    threads.run(config, tmp_path)
    output = capsys.readouterr().out
    skipped = rows(tmp_path)[-1]["skipped_updates"]
    assert 5 < skipped < 80
    assert (
        output.count("its batch is passed over (16 trajectories of actors ") == skipped
    )
    # A return with a NaN in it is none, so what is reported are the whole episodes.
    assert rows(tmp_path)[-1]["episode_return"] > 0.9


def test_a_run_of_bad_numbers_alone_is_given_up_with_one_line_and_status_1(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr(Poisoned, "probability", 1.0)
    monkeypatch.setattr(catch, "Catch", Poisoned)
    flags = ["--agent=stac", "--runtime=lockstep", "--learner_devices=0"]
    status = command.main(["catch", *flags, f"--workdir={tmp_path}"])
    assert status == 1
    output = capfd.readouterr().err
    *_, last = output.splitlines()
    assert last.startswith("launch.catch: 11 of the last 11 updates met a loss")
    assert "Traceback" not in output
    assert saved(tmp_path)[-1] in (11, 12)
