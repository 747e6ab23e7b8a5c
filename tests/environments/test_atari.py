"""Atari's rows on the real games: episode ends, lost lives, protocols, seeds, threads.

Names and the terminal are in test_atari_games.py.
"""

from __future__ import annotations

import os

import ale_py
import numpy as np
import pytest
from ale_py import roms, vector_env

from stac.environments import atari
from stac.types import Timestep
from tests.environments import snapshotting
from tests.environments.rows import assert_rows_stay


class Recorder(vector_env.AtariVectorEnv):
    """Keeps what rows do not say: the seeds that ALE was given and its no-ops."""

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        self.seeds, self.noops = seed, info["episode_frame_number"]
        return observation, info


@pytest.fixture(autouse=True)
def record(monkeypatch):
    monkeypatch.setattr(vector_env, "AtariVectorEnv", Recorder)


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    """Two protocols without sticky actions and lost lives, to compare with."""
    few, many = atari.Protocol(False, 0.0, False), atari.Protocol(True, 0.0, False)
    monkeypatch.setitem(atari.PROTOCOLS, "plain", few)
    monkeypatch.setitem(atari.PROTOCOLS, "plain_18", many)


def random_actions(environment: atari.Atari, steps: int) -> np.ndarray:
    """[T, E] uniform actions, always the same."""
    shape = (steps, environment.num_envs)
    return np.random.default_rng(0).integers(environment.spec.num_actions, size=shape)


def play(environment: atari.Atari, actions: np.ndarray) -> Timestep:
    """Rows [T + 1, E, ...] of an environment that is reset first and closed at last."""
    rows = snapshotting.rows(environment, actions)
    return Timestep(*(np.stack(column) for column in zip(*rows, strict=True)))


def play_by_hand(game: str, seed: int, noops: int, actions: np.ndarray):
    """The slow twin: one ALE, frame by frame, to the first game over.

    Returns the reward of each step, whether it lost a life, and whether all is over.
    """
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("random_seed", int(seed))
    ale.loadROM(roms.get_rom_path(game))
    ale.reset_game()
    for _ in range(noops):
        ale.act(ale_py.Action.NOOP)
    rewards, lost = [], []
    for action in actions:
        lives, reward = ale.lives(), 0
        for _ in range(atari.ACTION_REPEAT):
            reward += (
                0 if ale.game_over() else ale.act(ale.getMinimalActionSet()[action])
            )
        rewards.append(reward)
        lost.append(ale.lives() < lives)
        if ale.game_over():
            break
    return np.array(rewards), np.array(lost), ale.game_over()


# With 0 lives bank_heist plays on; pong, skiing and freeway never have any.
@pytest.mark.parametrize(
    ("game", "steps", "is_over"),
    [
        ("breakout", 190, True),
        ("james_bond", 470, True),
        ("seaquest", 320, True),
        ("montezuma_revenge", 930, True),
        ("bank_heist", 620, True),
        ("pong", 910, True),
        ("skiing", 100, False),
        ("freeway", 100, False),
    ],
)
def test_the_first_episode_is_what_ale_itself_plays(game, steps, is_over):
    environment = atari.Atari(game, seed=2, num_envs=1, threads=1)
    ale, actions = environment._open(), random_actions(environment, steps)
    rows = play(environment, actions)
    reward, lost, over = play_by_hand(
        atari.rom_id(game), ale.seeds[0], ale.noops[0], actions[:, 0]
    )
    assert over == is_over
    lost[-1] |= over
    episode = slice(1, 1 + len(reward))
    np.testing.assert_array_equal(rows.reward[episode, 0], reward)
    np.testing.assert_array_equal(rows.discount[episode, 0], 1.0 - lost)
    np.testing.assert_array_equal(
        rows.last[episode, 0], [*[False] * (len(lost) - 1), over]
    )


@pytest.mark.parametrize("game", ["breakout", "seaquest", "bank_heist"])
def test_a_lost_life_changes_the_discount_and_nothing_else(game):
    training = atari.Atari(game, seed=2, num_envs=2, protocol="impala")
    plain = atari.Atari(game, seed=2, num_envs=2, protocol="plain")
    actions = random_actions(training, 640)
    rows, without = play(training, actions), play(plain, actions)
    lost = (rows.discount == 0) & ~rows.last
    assert lost.sum() > 3
    assert (without.discount[lost] == 1).all()
    np.testing.assert_array_equal(rows.discount[~lost], without.discount[~lost])
    assert rows.last.any()
    for name in ("observation", "reward", "first", "last"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(without, name))


def test_after_a_game_over_one_row_ignores_its_action_and_begins_the_next_episode():
    one = atari.Atari("breakout", seed=3, num_envs=4)
    other = atari.Atari("breakout", seed=3, num_envs=4)
    timestep, same, random = one.reset(), other.reset(), np.random.default_rng(0)
    seen = 0
    for _ in range(300):
        before, action = timestep, random.integers(4, size=4)
        timestep = one.step(action)
        same = other.step(np.where(before.last, 3 - action, action))
        np.testing.assert_array_equal(timestep.first, before.last)
        np.testing.assert_array_equal(timestep.observation, same.observation)
        seen += before.last.sum()
        assert (timestep.reward[before.last] == 0).all()
        assert (timestep.discount[before.last] == 1).all()
        assert not timestep.last[before.last].any()
        assert (timestep.observation[before.last, :3] == 0).all()
    assert seen >= 4
    one.close(), other.close()


def test_the_frame_cap_ends_an_episode_with_discount_1():
    environment = atari.Atari("freeway", seed=0, num_envs=2, max_frames=42)
    rows = play(environment, np.zeros((24, 2), int))
    ends = [11, 23]  # ceil(42 / 4) steps, and one row for the first observation
    assert np.flatnonzero(rows.last[:, 0]).tolist() == ends
    assert np.flatnonzero(rows.first[:, 0]).tolist() == [0, 12, 24]
    np.testing.assert_array_equal(rows.last[:, 0], rows.last[:, 1])
    assert (rows.discount == 1).all()


def test_a_new_episode_with_fewer_lives_than_the_last_has_lost_none():
    environment = atari.Atari("breakout", seed=0, num_envs=1, max_frames=4)
    environment.reset()
    assert environment.step(np.zeros(1, int)).last.all()
    environment._lives += 1  # as if the episode had won one before it was cut
    timestep = environment.step(np.zeros(1, int))
    environment.close()
    assert timestep.first.all()
    assert (timestep.discount == 1).all()


def test_planes_move_up_by_one_a_step_and_are_zero_before_the_episode():
    environment = atari.Atari("breakout", seed=0, num_envs=2)
    rows = play(environment, random_actions(environment, 8)).observation
    assert rows.shape == (9, 2, 4, 84, 84)
    assert rows.dtype == np.uint8
    np.testing.assert_array_equal(rows[1:, :, :3], rows[:-1, :, 1:])
    assert not rows[0, :, :3].any()
    assert rows[0, :, 3].any()


def test_a_later_step_does_not_write_into_an_earlier_row():
    environment = atari.Atari("breakout", seed=0, num_envs=2)
    assert_rows_stay(environment, random_actions(environment, 30))


def test_rewards_are_the_game_s_own_and_float32():
    environment = atari.Atari("skiing", seed=0, num_envs=1)
    rows = play(environment, np.zeros((30, 1), int))
    assert rows.reward.min() < -1
    assert rows.reward.dtype == rows.discount.dtype == np.float32


def test_an_episode_begins_after_0_to_30_no_ops():
    environment = atari.Atari("pong", seed=0, num_envs=4)
    ale = environment._open()
    seen = set()
    for _ in range(60):
        environment.reset()
        seen |= set(ale.noops.tolist())
    environment.close()
    assert (min(seen), max(seen)) == (0, 30)


def test_the_same_seed_and_actions_give_the_same_rows_whatever_the_threads():
    environments = [
        atari.Atari("breakout", 5, 4, protocol="machado", threads=threads)
        for threads in (1, 2)
    ]
    actions = random_actions(environments[0], 60)
    one, two = (play(environment, actions) for environment in environments)
    for ours, theirs in zip(one, two, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_copies_and_seeds_have_streams_of_their_own():
    environments = [atari.Atari("breakout", seed, 8) for seed in (1, 2)]
    seeds = []
    for environment in environments:
        environment.reset()
        seeds += environment._open().seeds.tolist()
        environment.close()
    assert len(set(seeds)) == 16


def test_machado_s_actions_stick():
    sticky = atari.Atari("breakout", seed=0, num_envs=2, protocol="machado")
    obedient = atari.Atari("breakout", seed=0, num_envs=2, protocol="plain_18")
    actions = random_actions(sticky, 20)
    ours, theirs = play(sticky, actions), play(obedient, actions)
    np.testing.assert_array_equal(ours.observation[0], theirs.observation[0])
    assert (ours.observation != theirs.observation).any()


def test_machado_does_not_end_the_discount_at_a_lost_life():
    environment = atari.Atari("breakout", seed=0, num_envs=2, protocol="machado")
    rows = play(environment, random_actions(environment, 300))
    assert rows.last.any()
    np.testing.assert_array_equal(rows.discount == 0, rows.last)


@pytest.mark.parametrize(
    "actions", [[0, 4], [-1, 0], [0], [[0, 0]]], ids=["high", "low", "few", "shape"]
)
def test_an_action_that_ale_would_hang_on_is_refused(actions):
    environment = atari.Atari("breakout", seed=0, num_envs=2)
    environment.reset()
    with pytest.raises(ValueError, match="action"):
        environment.step(np.array(actions))
    environment.close()


def test_close_ends_the_threads_and_may_be_called_twice():
    before = set(os.listdir("/proc/self/task"))  # others' may be about to end
    environment = atari.Atari("pong", seed=0, num_envs=2, threads=1)
    environment.reset()
    ours = set(os.listdir("/proc/self/task")) - before
    assert len(ours) == 1
    environment.close()
    environment.close()
    assert not ours & set(os.listdir("/proc/self/task"))
    with pytest.raises(RuntimeError, match="closed"):
        environment.step(np.zeros(2, int))
