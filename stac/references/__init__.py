"""Published scores that ours are compared with, as tables in this package.

`atari57.csv`: a row for each of the 57 games, by its ROM's name.
    random, human       those that dqn_zoo normalises with: starts of up to 30 no-ops,
                        at most 108,000 frames (Wang et al. 2016, Table 2)
    random_later        the same but for Video Pinball, where DeepMind's later tables
                        have 0: they reproduce IMPALA's published mean
    impala_deep, impala_shallow, impala_multitask
                        Espeholt et al. (2018), Table C.1; 200 million frames
    stacx_discorl       Oh et al. (2025), Extended Data Table 1; its median is 301 %,
                        where the paper of STACX has 364 %: another measurement

`dm_control.csv`: a row for each task of the benchmark, returns of at most 1,000.
    a3c_100M, d4pg_pixels_100M   Tassa et al. (2018), after 10^8 steps
    ppo_8M, rpo_8M               CleanRL's documentation, 10 seeds
    sac, tdmpc2                  the results in TD-MPC2's repository, 3 seeds, after
                                 `sac_frames` and `tdmpc2_frames`
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from importlib import resources


@functools.cache
def atari() -> Mapping[str, Mapping[str, float]]:
    """{"pong": {"random": -20.7, "human": 14.6, …}, …}: 57 games."""
    return _table("atari57.csv")


@functools.cache
def control() -> Mapping[str, Mapping[str, float]]:
    """{"walker.walk": {"a3c_100M": …}, …}; a score that nobody published is absent."""
    return _table("dm_control.csv")


def human_normalised(game: str, score: float) -> float | None:
    """(score - random) / (human - random): 0 for random play, 1 for a human's.

    None for a game without reference scores.

    Args:
      game: in any spelling, such as "james_bond".
      score: the mean of raw returns.
    """
    row = atari().get(game_name(game))
    if row is None:
        return None
    return (score - row["random"]) / (row["human"] - row["random"])


def game_name(game: str) -> str:
    """The spelling of a game in `atari()`; one that is not there as it is."""
    names = {name.replace("_", ""): name for name in atari()}
    return names.get(game.replace("_", "").lower(), game)


def _table(name: str) -> dict[str, dict[str, float]]:
    text = resources.files(__name__).joinpath(name).read_text()
    rows = {}
    for row in csv.DictReader(text.splitlines()):
        key, *values = row.items()
        rows[key[1]] = {column: float(value) for column, value in values if value}
    return rows
