"""Snapshots of Atari games, which are played again to where they were."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from stac import snapshots
from stac.environments import atari, atari_replay
from tests.environments import snapshotting


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Restarts at the first episode's end after 60 steps."""
    monkeypatch.setattr(atari_replay, "RESTART_STEPS", 60)


def built(game: str = "breakout", num_envs: int = 2, **named: Any):
    return functools.partial(atari_replay.RestorableAtari, game, 7, num_envs, **named)


def cap(steps: int) -> int:
    """`max_frames` of episodes that are no longer."""
    return steps * atari.ACTION_REPEAT


def ends(alone) -> np.ndarray:
    """How many episodes of each copy ended."""
    return sum(row.last for row in alone)


# impala: a lost life is discount 0; machado: sticky actions.
@pytest.mark.parametrize("protocol", ["impala", "machado"])
def test_games_go_on_over_lost_lives_episodes_and_restarts(protocol):
    here, there = (
        built(protocol=protocol, threads=threads, max_frames=cap(160))
        for threads in (2, 1)
    )
    alone = snapshotting.assert_exact(here, 340, [150, 250], there)
    assert ends(alone[:251]).all()  # and so restarts
    assert ends(alone[251:]).all()
    lost = sum((row.discount == 0) & ~row.last for row in alone[251:])
    assert lost.any() == (protocol == "impala")


def test_games_go_on_from_around_an_episodes_end():
    build = built(max_frames=cap(60))
    seen = snapshotting.rows(build(), np.zeros((130, 2), int))
    (end, *_) = [row for row, said in enumerate(seen) if said.last.any() and row > 60]
    around = range(end, end + 4)  # the newest row is before it, `last`, `first`, after
    snapshotting.assert_exact(build, end + 70, [0, *around])


def test_a_life_that_is_lost_right_after_a_snapshot_is_not_overlooked():
    build = built()
    made = build()
    seen = snapshotting.rows(made, snapshotting.actions(made, 70))
    lost, *_ = [row for row, said in enumerate(seen) if (said.discount == 0).any()]
    assert not seen[lost].last.any()
    snapshotting.assert_exact(build, lost + 1, [lost])


@pytest.mark.parametrize("game", ["seaquest", "pong"])
def test_other_games_go_on(game):
    snapshotting.assert_exact(built(game), 120, [70])


def one_that_goes_on_from_another(steps: int, played: int):
    """Two that took the first `played` of so many steps, one new, and steps to come."""
    first, second, third = (built(max_frames=cap(100))() for _ in range(3))
    first.reset()
    taken = snapshotting.actions(first, steps)
    for action in taken[:played]:
        first.step(action)
    second.restore(first.snapshot())
    return first, second, third, taken[played:]


def assert_the_same_from_now_on(second, first, taken):
    for action in taken:
        snapshotting.assert_equal(second.step(action), first.step(action), "a second")


def test_what_was_restored_can_be_snapshot_again():
    first, second, third, taken = one_that_goes_on_from_another(250, played=120)
    for action in taken[:110]:
        first.step(action), second.step(action)
    assert (second._restarts > 1).any()
    third.restore(second.snapshot())
    assert_the_same_from_now_on(third, first, taken[110:])
    for each in (first, second, third):
        each.close()


def test_what_was_restored_can_be_snapshot_before_it_steps():
    first, second, third, taken = one_that_goes_on_from_another(30, played=20)
    third.restore(second.snapshot())
    assert_the_same_from_now_on(third, first, taken)
    for each in (first, second, third):
        each.close()


def test_rows_are_as_without_restarts_but_for_their_seeds():
    once = atari.Atari("freeway", 7, 2, max_frames=cap(100))
    often = built("freeway", max_frames=cap(100))()
    taken = np.zeros((250, 2), int)  # the chicken stays, the cars go on
    plain, restarted = (snapshotting.rows(one, taken) for one in (once, often))
    for row, same in zip(plain, restarted, strict=True):
        for name in ("reward", "discount", "first", "last"):
            np.testing.assert_array_equal(getattr(row, name), getattr(same, name))
            assert getattr(row, name).dtype == getattr(same, name).dtype
    for row, said in enumerate(restarted):
        assert not said.observation[said.first, :3].any()
        if row and not said.first.any():
            np.testing.assert_array_equal(
                said.observation[:, :3], restarted[row - 1].observation[:, 1:]
            )


def test_every_restart_has_a_seed_of_its_own(monkeypatch):
    seeds = []
    plain = atari_replay._seed

    def seed(*which):
        seeds.append((which, plain(*which)))
        return seeds[-1][1]

    monkeypatch.setattr(atari_replay, "_seed", seed)
    made = built(max_frames=cap(70))()
    snapshotting.rows(made, np.zeros((300, 2), int))
    assert len(seeds) >= 8
    assert len({number for _, number in seeds}) == len(seeds)
    assert all(0 <= number < 2**31 for _, number in seeds)


def test_no_more_is_kept_than_one_needs():
    made = built(max_frames=cap(70))()
    made.reset()
    kept = []
    for _ in range(300):
        made.step(np.zeros(2, int))
        kept.append(len(made._actions))
    made.close()
    assert 60 < max(kept) <= 60 + 2 * 71


def test_a_second_reset_starts_other_episodes_and_they_go_on():
    one, other = (built(protocol="machado")() for _ in range(2))
    taken = snapshotting.actions(one, 60)
    one.reset()
    before = [one.step(action).observation for action in taken]
    assert one.reset().first.all()
    after = [one.step(action).observation for action in taken]
    assert (np.array(before) != after).any(axis=(0, 2, 3, 4)).all()
    other.restore(one.snapshot())
    for action in taken:
        snapshotting.assert_equal(one.step(action), other.step(action), "a reset")
    one.close(), other.close()


def test_other_snapshots_are_refused_and_nothing_has_changed():
    others = [built(num_envs=1), built("pong"), built(protocol="machado")]
    snapshotting.assert_refused_unchanged(built(), others)


def test_games_that_lead_elsewhere_are_refused_and_nothing_has_changed():
    made = built()()
    made.reset()
    for action in snapshotting.actions(made, 20):
        made.step(action)
    record, *rest = snapshots.unpack(made._title, made.snapshot())
    made.close()
    other = (*record[:3], record[3][::-1])  # as if ale-py were another
    refusing = built()()
    with pytest.raises(ValueError, match="lead elsewhere: another ale-py"):
        refusing.restore(snapshots.pack(refusing._title, (other, *rest)))
    snapshotting.assert_same_rows(refusing, built()())
