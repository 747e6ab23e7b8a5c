"""The actor: every column of every row where it belongs, overlapping or not."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest

from stac.config import BatchConfig
from stac.runtime import actor
from stac.runtime.faults import heartbeat
from stac.runtime.queues import local, reverb_items
from tests.runtime import experiences, fakes
from tests.runtime.experiences import Doing

ENVS = 3
BATCH = {overlap: BatchConfig(2, 5, overlap) for overlap in (0, 1, 2, 4)}
UNROLLS = 9


def built(environment=None, overlap=0, **named):
    """An actor, of the agent whose actions can be foretold."""
    environment = environment or fakes.Counting(ENVS)
    named = {"agent": fakes.following_agent(), "seed": 1, "index": 0} | named
    return actor.Actor(environment=environment, batch=BATCH[overlap], **named)


def supplied(unrolls):
    """A store with parameters, and a queue for so many unrolls."""
    store = local.ParameterStore()
    store.publish(0, offset(0))
    return store, local.LocalQueue(unrolls * ENVS)


@pytest.fixture(name="played", scope="module", params=[0, 1, 2, 4])
def _played(request):
    """An overlap, its environment afterwards, and UNROLLS experiences."""
    environment = fakes.Counting(ENVS)
    acting = built(environment, request.param, index=5)
    unrolled = [acting.unroll(k, offset(k)) for k in range(UNROLLS)]
    return request.param, environment, unrolled


def offset(unroll):
    return {"b": np.float32(unroll)}


def rows(overlap, unroll):
    """The environment's rows that trajectory `unroll` is made of."""
    return range(unroll * (5 - overlap), unroll * (5 - overlap) + 5)


def test_an_unroll_makes_period_steps_and_the_first_one_fills_all_rows(played):
    overlap, environment, _ = played
    assert len(environment.actions) == 4 + (UNROLLS - 1) * (5 - overlap)


@pytest.mark.parametrize("overlap", BATCH)
def test_the_spec_is_the_shape_of_an_actors_trajectories(overlap):
    environment, agent = fakes.Counting(ENVS), fakes.following_agent()
    batch = BATCH[overlap]
    unrolled = built(environment, overlap).unroll(0, offset(0))
    spec = reverb_items.spec(environment.spec, batch, agent.initial_core_state(7))
    assert spec == experiences.like(unrolled, overlap)
    shapes = {
        name: np.shape(leaf)[:2] for name, leaf in unrolled.trajectory._asdict().items()
    }
    assert shapes.pop("core_state") == ()  # a dictionary of leaves
    rows, columns = (ENVS, batch.unroll_length), (ENVS, batch.unroll_length - 1)
    assert shapes == {
        **dict.fromkeys(reverb_items.ROWS, rows),
        **dict.fromkeys(reverb_items.TRANSITIONS, columns),
    }
    assert (spec.rows, spec.period) == (batch.unroll_length, batch.period)


def test_rows_hold_the_observations_in_order_and_say_which_are_first(played):
    overlap, environment, unrolled = played
    for k, (trajectory, _) in enumerate(unrolled):
        for t, row in enumerate(rows(overlap, k)):
            seen = environment.history[row]
            np.testing.assert_array_equal(
                trajectory.observation[:, t], seen.observation
            )
            np.testing.assert_array_equal(trajectory.first[:, t], seen.first)


def test_columns_hold_the_action_at_a_row_and_the_reward_of_the_next_row(played):
    overlap, environment, unrolled = played
    for k, (trajectory, _) in enumerate(unrolled):
        for t, row in enumerate(rows(overlap, k)[:-1]):
            then = environment.history[row + 1]
            np.testing.assert_array_equal(trajectory.reward[:, t], then.reward)
            np.testing.assert_array_equal(trajectory.discount[:, t], then.discount)
            taken = environment.actions[row]
            np.testing.assert_array_equal(trajectory.action[:, t], taken)
            log_prob = trajectory.behaviour_log_prob[:, t]
            np.testing.assert_array_equal(log_prob, -0.5 - taken)


def test_an_action_is_chosen_from_its_rows_observation_with_the_newest_parameters(
    played,
):
    overlap, environment, _ = played
    period = 5 - overlap
    for row, action in enumerate(environment.actions):
        unroll = max(0, math.ceil((row + 1 - 4) / period))
        where = environment.history[row].observation @ [1, 2, 3]
        np.testing.assert_array_equal(action, (where + unroll) % fakes.ACTIONS)


def test_the_core_state_of_the_first_row_travels_as_it_was_before_acting(played):
    overlap, environment, unrolled = played
    for k, (trajectory, _) in enumerate(unrolled):
        row = rows(overlap, k)[0]
        # The fake core counts rows of the episode; none were seen before row 0.
        count = environment.history[row - 1].observation[:, 2] + 1 if row else 0
        np.testing.assert_array_equal(
            trajectory.core_state["count"], count + np.zeros(3)
        )


def test_episodes_are_reported_once_with_raw_returns_and_first_ones_together(played):
    overlap, environment, unrolled = played
    seen = []
    for k, (_, report) in enumerate(unrolled):
        ended = ~np.isnan(report.episode_return)
        np.testing.assert_array_equal(report.episode_length > 0, ended)
        for env, t in np.argwhere(ended):
            pair = (report.episode_return[env, t], report.episode_length[env, t])
            seen.append((rows(overlap, k)[t], int(env), *map(int, pair)))
    ends = list(expected_ends(environment))
    late = max(row for row, _, episode, _, _ in ends if episode == 0)
    expected = [
        (row if episode else late, env, total, steps)
        for row, env, episode, total, steps in ends
        if row > late or episode == 0
    ]
    assert sorted(seen) == sorted(expected)


def test_the_first_episodes_of_staggered_environments_are_not_reported():
    environment = fakes.Counting(ENVS, staggered=True)
    acting = built(environment)
    reports = [acting.unroll(0, offset(0)).report for _ in range(UNROLLS)]
    seen = [
        int(value)
        for report in reports
        for value in report.episode_return[~np.isnan(report.episode_return)]
    ]
    ends = expected_ends(environment)
    expected = [total for _, _, episode, total, _ in ends if episode > 0]
    assert sorted(seen) == sorted(expected)
    assert sum((report.episode_length > 0).sum() for report in reports) == len(seen)


def expected_ends(environment):
    """(row, env, episode, return, steps) of every end, from the fake's own rules."""
    for row, timestep in enumerate(environment.history):
        for env in np.flatnonzero(timestep.last):
            episode = int(timestep.observation[env, 1])
            steps = fakes.episode_steps(env, episode)
            total = sum(100 * env + 10 * episode + s for s in range(1, steps + 1))
            yield row, int(env), episode, total, steps


def test_the_report_names_the_actor_and_the_age_of_the_parameters(played):
    _, _, unrolled = played
    for k, (_, report) in enumerate(unrolled):
        assert report.parameter_version.tolist() == [k] * ENVS
        assert report.actor.tolist() == [5] * ENVS


def test_the_report_counts_simulations_that_diverged_since_the_one_before():
    environment = fakes.Counting(ENVS)
    acting = built(environment, overlap=2)
    assert acting.unroll(0, offset(0)).report.diverged.tolist() == [0] * ENVS
    environment.diverged = np.array([2, *[0] * (ENVS - 1)])
    assert acting.unroll(1, offset(1)).report.diverged.tolist() == [2] + [0] * (
        ENVS - 1
    )
    environment.diverged += 1
    assert acting.unroll(2, offset(2)).report.diverged.tolist() == [1] * ENVS


def test_arrays_have_the_types_of_the_contract_and_are_never_written_again():
    acting = built(overlap=2)
    first = acting.unroll(0, offset(0))
    kept = jax.tree.map(np.copy, first)
    for k in range(1, 4):
        later = acting.unroll(k, offset(k))
        for old, new in zip(
            jax.tree.leaves(first), jax.tree.leaves(later), strict=True
        ):
            assert isinstance(new, np.ndarray)
            assert not np.shares_memory(old, new)
    for old, copy in zip(jax.tree.leaves(first), jax.tree.leaves(kept), strict=True):
        np.testing.assert_array_equal(old, copy)
    trajectory = first.trajectory
    assert trajectory.action.dtype == np.int32
    assert trajectory.first.dtype == bool
    assert trajectory.reward.dtype == trajectory.discount.dtype == np.float32


def random_actions(seed, index, unrolls=3):
    def act(params, key, observation, first, core):
        output, core = fakes.following_agent().act(
            params, key, observation, first, core
        )
        action = jax.random.randint(key, first.shape, 0, fakes.ACTIONS, np.int32)
        return output._replace(action=action), core

    agent = fakes.following_agent()._replace(act=act)
    environment = fakes.Counting(64)
    acting = built(environment, agent=agent, seed=seed, index=index)
    for k in range(unrolls):
        acting.unroll(k, offset(k))
    return np.array(environment.actions)


def test_random_keys_follow_from_seed_actor_and_step():
    actions = random_actions(seed=1, index=0)
    np.testing.assert_array_equal(actions, random_actions(seed=1, index=0))
    for other in (random_actions(2, 0), random_actions(1, 1), np.roll(actions, 1, 0)):
        assert 0.5 < np.mean(other != actions) < 1.0  # chance: 6/7


def test_actors_of_one_process_compile_once_and_never_again():
    traces = []

    def act(*arguments):
        traces.append(arguments)
        return fakes.following_agent().act(*arguments)

    agent = fakes.following_agent()._replace(act=act)
    store, queue = supplied(unrolls=1)
    actors = [built(overlap=2, agent=agent, index=i) for i in range(2)]
    running = [Doing(each.run, store, queue) for each in actors]
    for k in range(6):
        queue.get(ENVS)
        store.publish(k, offset(k))
    queue.close()
    for each in running:
        each.result()
    assert len(traces) == 1
    assert actor._compiled(act)._cache_size() == 1


def test_an_actor_runs_until_the_parameters_are_closed():
    store = local.ParameterStore()
    running = Doing(built().run, store, local.LocalQueue(100))
    assert running.waits()
    store.close()
    assert running.result() is None


def test_only_the_environment_is_timed_and_an_abandoned_actor_hands_in_nothing():
    store, queue = supplied(unrolls=10)
    living, seen = heartbeat.Heartbeat(), []

    class Slow(fakes.Counting):
        def step(self, action):
            seen.append((living.beats() is None, living.starting))
            if len(seen) == 9:  # the last of the second unroll
                assert living.close_unless_beaten(living.beats())
            assert len(seen) < 10, "it goes on"
            return super().step(action)

    assert built(Slow(ENVS)).run(store, queue, living) is None
    assert seen[:6] == [(False, True)] * 4 + [(False, False)] * 2
    assert queue.size() == ENVS


def test_an_actor_that_waits_for_another_to_compile_is_alive():
    store, queue = supplied(unrolls=1)
    living = heartbeat.Heartbeat()
    with actor._COMPILING:
        running = Doing(built().run, store, queue, living)
        assert running.waits()
        assert living.beats() is None
    queue.get(ENVS)
    queue.close()
    running.result()


def test_an_actor_that_waits_for_the_queue_is_alive():
    store, queue = supplied(unrolls=1)
    living = heartbeat.Heartbeat()
    running = Doing(built().run, store, queue, living)
    queue.get(ENVS)
    assert running.waits()
    assert living.beats() is None
    queue.close()
    running.result()


def test_an_error_of_the_environment_comes_out_of_run():
    class Broken(fakes.Counting):
        def step(self, action):
            raise OSError("the game crashed")

    with pytest.raises(OSError, match="the game crashed"):
        built(Broken(ENVS)).run(*supplied(unrolls=30))


def test_streams_differ_by_seed_actor_start_and_restart():
    some = range(5)
    streams = {
        actor.stream(seed, index, updates, restarts)
        for seed in some
        for index in some
        for updates in (0, 9)
        for restarts in some
    }
    assert len(streams) == 250
    assert all(0 <= each < 2**31 for each in streams)
    assert actor.stream(1, 2, 3) == actor.stream(1, 2, 3)


def test_another_device_acts_where_jax_has_no_cpu(monkeypatch):
    def without_a_cpu(backend=None):
        if backend == "cpu":
            raise RuntimeError("Unknown backend cpu")  # as with JAX_PLATFORMS=cuda
        return ["first GPU", "last GPU"]

    assert actor.acting_device().platform == "cpu"
    monkeypatch.setattr(jax, "local_devices", without_a_cpu)
    assert actor.acting_device() == "last GPU"


def test_a_step_gives_the_device_a_row_and_gets_actions_back(capfd):
    """Parameters on the device stay there; so does the core state."""
    environment, batch = fakes.Counting(ENVS), BatchConfig(2, 20)
    device = jax.devices()[1]
    acting = actor.Actor(
        fakes.following_agent(), environment, batch, seed=1, index=0, device=device
    )
    params = jax.device_put(offset(0), device)
    acting.unroll(0, params)
    capfd.readouterr()
    with jax.transfer_guard("log_explicit"):
        acting.unroll(1, params)
    copies = capfd.readouterr().err.splitlines()
    assert not [line for line in copies if "device-to-device" in line]
    placed = [line for line in copies if "host-to-device" in line]
    assert len(placed) == 2 * batch.unroll_length  # the observation and `first`


def test_an_environment_may_write_into_its_arrays_again_and_have_other_types():
    """Rows are copies, of the types that the spec and `Timestep` name."""

    class Reusing(fakes.Counting):
        def _timestep(self):
            fresh = super()._timestep()
            self.arrays = getattr(self, "arrays", None) or [
                np.zeros(leaf.shape, np.float64) for leaf in fresh
            ]
            for array, leaf in zip(self.arrays, fresh, strict=True):
                array[...] = leaf
            return type(fresh)(*self.arrays)

    unrolled = [
        built(game(ENVS), overlap=2).unroll(0, offset(0))
        for game in (fakes.Counting, Reusing)
    ]
    for right, other in zip(*map(jax.tree.leaves, unrolled), strict=True):
        assert right.dtype == other.dtype
        np.testing.assert_array_equal(right, other)
