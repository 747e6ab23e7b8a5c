"""Catch: its rules, its rows, and its two ways to end."""

from __future__ import annotations

import numpy as np
import pytest

from stac import config
from stac.environments import catch
from tests.environments.rows import assert_rows_stay

STEPS = catch.ROWS - 1  # of an episode


def follow(observation: np.ndarray) -> np.ndarray:
    """[E] the perfect player's actions, from features before the ball is down."""
    grid = observation.reshape(-1, catch.ROWS, catch.COLUMNS)
    ball = grid[:, :-1].sum(1).argmax(1)
    return 1 + np.sign(ball - grid[:, -1].argmax(1))


def test_a_perfect_player_always_gets_1_at_the_end_and_nothing_before():
    environment = catch.Catch("features", seed=0, num_envs=16)
    timestep = environment.reset()
    for _ in range(STEPS):
        assert not timestep.last.any()
        assert (timestep.reward == 0).all()
        assert (timestep.discount == 1).all()
        timestep = environment.step(follow(timestep.observation))
    assert timestep.last.all()
    assert (timestep.reward == 1).all()
    assert (timestep.discount == 0).all()


def test_a_player_that_never_moves_gets_1_for_the_middle_column_only():
    environment = catch.Catch("features", seed=0, num_envs=200)
    timestep = environment.reset()
    column = timestep.observation[:, : catch.COLUMNS].argmax(1)
    for _ in range(STEPS):
        timestep = environment.step(np.ones(200, int))
    np.testing.assert_array_equal(timestep.reward, np.where(column == 2, 1.0, -1.0))
    assert set(column) == set(range(catch.COLUMNS))


def test_the_step_after_an_end_ignores_its_action_and_begins_the_next_episode():
    environment = catch.Catch("features", seed=0, num_envs=3)
    timestep = environment.reset()
    assert timestep.first.all()
    for _ in range(3):
        for _ in range(STEPS):
            timestep = environment.step(np.zeros(3, int))
            assert not timestep.first.any()
        timestep = environment.step(np.zeros(3, int))
        assert timestep.first.all()
        assert not timestep.last.any()
        assert (timestep.reward == 0).all()
        assert (timestep.discount == 1).all()
        paddle = timestep.observation.reshape(3, catch.ROWS, -1)[:, -1].argmax(1)
        assert (paddle == catch.COLUMNS // 2).all()


def test_the_paddle_stays_on_the_grid():
    environment = catch.Catch("features", seed=0, num_envs=1)
    environment.reset()
    for action, column in ((0, 0), (2, catch.COLUMNS - 1)):
        for _ in range(4):
            timestep = environment.step(np.array([action]))
        bottom = timestep.observation.reshape(catch.ROWS, catch.COLUMNS)[-1]
        assert bottom.argmax() == column


def test_a_cut_episode_ends_with_discount_1():
    environment = catch.Catch("cut", seed=0, num_envs=2)
    environment.reset()
    for _ in range(2):
        for step in range(1, 6):
            timestep = environment.step(np.ones(2, int))
            assert (timestep.last == (step == 5)).all()
            assert (timestep.discount == 1).all()
        assert environment.step(np.ones(2, int)).first.all()


def test_pixels_show_the_features_in_larger_cells():
    pixels = catch.Catch("pixels", seed=4, num_envs=3)
    features = catch.Catch("features", seed=4, num_envs=3)
    pictures, grids = pixels.reset().observation, features.reset().observation
    assert pictures.dtype == pixels.spec.observation_dtype == np.uint8
    assert pictures.shape == (3, *pixels.spec.observation_shape) == (3, 1, 40, 20)
    assert grids.dtype == features.spec.observation_dtype == np.float32
    assert grids.shape == (3, *features.spec.observation_shape)
    corners = pictures[:, 0, :: catch.CELL, :: catch.CELL].reshape(3, -1)
    np.testing.assert_array_equal(corners, 255 * grids)
    assert pictures.mean() == pytest.approx(255 * grids.mean())


def test_the_same_seed_gives_the_same_games_and_another_seed_others():
    starts = [
        catch.Catch("features", seed, num_envs=32).reset().observation
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert (starts[0] != starts[2]).any()


def test_a_later_step_does_not_write_into_an_earlier_row():
    environment = catch.Catch("features", seed=0, num_envs=2)
    assert_rows_stay(environment, np.ones((STEPS + 1, 2), int))


@pytest.mark.parametrize("action", [[0, 3], [-1, 0], [0]])
def test_an_action_that_does_not_exist_is_refused(action):
    environment = catch.Catch("features", seed=0, num_envs=2)
    environment.reset()
    with pytest.raises(ValueError, match=r"must be 2 in \[0, 3\)"):
        environment.step(np.array(action))


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(config.ConfigError, match="did you mean pixels"):
        catch.Catch("pixel", seed=0, num_envs=1)
