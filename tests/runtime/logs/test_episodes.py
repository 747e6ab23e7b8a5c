"""The episodes reported after a start: as many long ones as at any other time."""

from __future__ import annotations

import numpy as np

from stac.runtime.logs import episodes
from stac.types import Timestep

ENVS, LONGEST, ROWS = 32, 100, 300
MEAN = (1 + LONGEST) / 2


def played(staggered=False, seed=3):
    """First episodes' lengths [E], and returns [ROWS, E] of episodes, by rows.

    An episode has 1 to LONGEST steps, and its return is their number.
    """
    random = np.random.default_rng(seed)
    counted = episodes.Episodes(ENVS, staggered)
    first = np.ones(ENVS, bool)
    lengths, steps = np.zeros(ENVS, int), np.zeros(ENVS, int)
    firsts, reports = None, []
    for _ in range(ROWS):
        lengths = np.where(first, random.integers(1, LONGEST + 1, ENVS), lengths)
        firsts = lengths if firsts is None else firsts
        steps = np.where(first, 0, steps + 1)
        last = steps == lengths
        reward = np.where(first, 0.0, 1.0)
        timestep = Timestep(np.zeros(ENVS), reward, np.ones(ENVS), first, last)
        returns, numbers = counted.add(timestep)
        np.testing.assert_array_equal(numbers, np.nan_to_num(returns))
        reports.append(returns)
        first = last
    return firsts, np.array(reports)


def test_first_episodes_are_reported_when_the_last_of_them_ends():
    firsts, reports = played()
    assert np.isnan(reports[: firsts.max()]).all()
    np.testing.assert_array_equal(reports[firsts.max()], firsts)


def test_the_mean_return_does_not_begin_low():
    """Reported as they end, the first 32 episodes would have 0.64 of the mean."""
    runs = (played(seed=seed)[1] for seed in range(30))
    reported = [reports[~np.isnan(reports)] for reports in runs]
    for count in (ENVS, 64, 100):
        mean = np.mean([returns[:count] for returns in reported])
        assert 0.95 < mean / MEAN < 1.05


def test_staggered_environments_leave_the_first_episode_out_and_report_the_others():
    firsts, reports = played(staggered=True)
    reported = np.count_nonzero(~np.isnan(reports), axis=0)
    assert (reported > 0).all()
    for env, first in enumerate(firsts):
        assert np.isnan(reports[: first + 2, env]).all()
    assert not np.isnan(reports[: firsts.max()]).all()


def test_an_episode_that_does_not_end_holds_back_the_others_for_so_long_only():
    counted = episodes.Episodes(2, staggered=False)
    reported = []
    for row in range(episodes.LONGEST_WAIT + 3):
        first = np.array([row % 3 == 0, row == 0])
        last = np.array([row % 3 == 2, False])
        ones = np.ones(2)
        returns, _ = counted.add(Timestep(ones, ones, ones, first, last))
        reported.append(returns)
    ended = ~np.isnan(reported)
    assert not ended[: episodes.LONGEST_WAIT - 1].any()
    assert ended[episodes.LONGEST_WAIT - 1].tolist() == [True, False], "the first one"
    assert ended[episodes.LONGEST_WAIT :, 0].sum() == 1, "then as they end"
