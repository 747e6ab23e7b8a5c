"""The published scores against figures of their own papers."""

import numpy as np
import pytest

from stac import references
from stac.environments import atari


def normalised(column: str, random: str) -> np.ndarray:
    return np.array(
        [
            (row[column] - row[random]) / (row["human"] - row[random])
            for row in references.atari().values()
        ]
    )


@pytest.mark.parametrize(
    ("column", "median", "mean"),  # Espeholt et al. (2018), Table 4, per cent
    [("impala_deep", 191.8, 957.6), ("impala_multitask", 59.7, 176.9)],
)
def test_medians_and_means_of_IMPALA_are_the_published_ones(column, median, mean):
    assert 100 * np.median(normalised(column, "random")) == pytest.approx(
        median, abs=0.06
    )
    later = 100 * normalised(column, "random_later").mean()
    assert later == pytest.approx(mean, abs=0.4)


def test_every_game_is_one_of_the_emulators():
    assert len(references.atari()) == 57
    assert set(references.atari()) <= set(atari.games())


def test_a_game_is_normalised_in_any_spelling():
    assert references.human_normalised("james_bond", 302.8) == pytest.approx(1.0)
    assert references.human_normalised("jamesbond", 29.0) == pytest.approx(0.0)
    assert references.human_normalised("no_such_game", 29.0) is None


def test_a_score_that_nobody_published_is_absent():
    assert references.control()["cartpole.balance"]["a3c_100M"] == 951.6
    assert len(references.control()) == 28
    assert "a3c_100M" not in references.control()["humanoid.walk"]
