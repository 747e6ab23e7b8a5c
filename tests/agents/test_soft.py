"""The soft actor-critics as agents: who acts how, and what is refused."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from stac import config as configuration
from stac.agents import base, make, soft
from stac.config import Config, ConfigError, changed
from stac.configs import control, gymnasium, mujoco
from stac.environments.base import EnvironmentSpec

SPEC = EnvironmentSpec((3,), np.dtype(np.float32), 2, True, 1)
ENVS = 400


def config(
    agent: str = "sac", batch: dict[str, Any] | None = None, **soft: Any
) -> Config:
    changes = {f"agent.soft.{name}": value for name, value in soft.items()}
    changes |= {f"batch.{name}": value for name, value in (batch or {}).items()}
    return changed(mujoco.config(agent=agent), changes)


def acted(noise: float, updates: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squashed actions, those of the policy without noise, and log-probabilities."""
    agent = soft.build(config(first_steps=25), SPEC, noise)
    state = agent.init(jax.random.PRNGKey(1))
    observation = np.random.default_rng(1).normal(size=(ENVS, 3)).astype(np.float32)
    first = np.zeros(ENVS, bool)
    mean = soft.build(config(), SPEC, 0.0)
    actions = []
    for each, calls in ((agent, updates), (mean, 10**6)):
        params = each.actor_params(state._replace(updates=np.int32(calls)))
        output, _ = each.act(params, jax.random.PRNGKey(2), observation, first, ())
        actions.append(np.tanh(output.action))
        if each is agent:
            log_prob = np.asarray(output.log_prob)
    return actions[0], actions[1], log_prob


def test_until_the_first_steps_are_there_actions_are_uniform() -> None:
    """25 steps are two calls of ten steps, and a third for the rest."""
    action, _, log_prob = acted(noise=1.0, updates=2)
    np.testing.assert_allclose(log_prob, -2 * np.log(2.0), rtol=1e-6)
    assert abs(action).max() < 1.0
    # Of a uniform distribution in [-1, 1] the mean is 0 and the deviation 0.577.
    assert abs(action.mean()) < 0.06
    assert action.std() == pytest.approx(1 / np.sqrt(3), abs=0.03)
    policys = acted(noise=1.0, updates=3)[2]
    assert policys.std() > 0.1, "the policy's own"


def test_noise_scales_the_distance_to_the_mean_action() -> None:
    whole, mean, _ = acted(noise=1.0, updates=3)
    half, _, _ = acted(noise=0.5, updates=0)
    none, _, _ = acted(noise=0.0, updates=0)
    np.testing.assert_array_equal(none, mean)
    distance = np.arctanh(whole) - np.arctanh(mean)
    np.testing.assert_allclose(
        np.arctanh(half) - np.arctanh(mean), distance / 2, atol=1e-4
    )
    assert abs(distance).max() > 1


@pytest.mark.parametrize(
    ("config", "spec", "message"),
    [
        (config(), SPEC._replace(continuous=False), "for continuous actions"),
        (config(), SPEC._replace(observation_shape=(3, 8, 8)), "learns from features"),
        (config(batch={"overlap": 0}), SPEC, "must be 1 for --agent=sac"),
        (
            config(first_steps=500_000),
            SPEC._replace(frames_per_step=2),
            "1000000 frames",
        ),
        (config(updates_per_step=0.05), SPEC, "whole number of updates of the 10 new"),
        (config(updates_per_step=0.25), SPEC, "whole number of updates"),
    ],
)
def test_what_does_not_fit_is_refused(
    config: Config, spec: EnvironmentSpec, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make.build(config, spec)


@pytest.mark.parametrize(
    ("updates_per_step", "envs", "updates"), [(1.0, 1, 10), (0.1, 1, 1), (0.55, 10, 55)]
)
def test_a_call_makes_the_updates_that_its_steps_are_worth(
    updates_per_step: float, envs: int, updates: int
) -> None:
    """0.55 * 100 is not 55 in binary."""
    numbers = config(batch={"batch_size": envs}, updates_per_step=updates_per_step)
    replay = soft.build(numbers, SPEC).replay
    assert replay is not None
    assert replay.draws == updates * 256
    assert (replay.minibatch, replay.least, replay.initial) == (256, 10_000, 0)


def test_meta_sac_draws_twice_and_sees_how_episodes_begin() -> None:
    sizes = {
        states: soft.build(config("meta_sac", meta_states=states), SPEC).replay
        for states in ("initial", "replay")
    }
    assert sizes["initial"] == base.ReplaySize(10**6, 10_000, 2 * 10 * 256, 256, 256)
    assert sizes["replay"] == sizes["initial"]._replace(initial=0)


TUNED = {
    "sac_v1": ("fixed", "adam", 0.2),
    "sac": ("entropy", "adam", 1.0),
    "meta_sac": ("meta", "rmsprop", 1.0),
}


@pytest.mark.parametrize(
    "agent", [name for name in make.VARIANTS if make.is_soft(name)]
)
def test_every_suite_has_the_papers_numbers(agent: str) -> None:
    numbers = [
        mujoco.config(agent=agent),
        control.config(agent=agent),
        gymnasium.config("Pendulum-v1", agent),
    ]
    for each in numbers:
        assert each.runtime.evaluate_every == 10_000
        assert (each.runtime.num_actors, each.runtime.envs_per_actor) == (1, 1)
        assert each.network.mlp_hiddens == (256, 256)
        assert configuration.frames_per_update(each, frames_per_step=1) == 10
        optimizer, soft_ = each.optimizer, each.agent.soft
        assert optimizer.learning_rate == optimizer.meta_learning_rate == 3e-4
        assert (optimizer.rms_decay, optimizer.rms_epsilon) == (0.99, 1e-12)
        assert optimizer.max_gradient_norm == 0
        assert (soft_.gamma, soft_.tau, soft_.alpha_clip) == (0.99, 0.005, 0.05)
        tuned = (soft_.temperature, soft_.policy_optimizer, soft_.alpha)
        assert tuned == TUNED[agent]
        built = soft.build(each, SPEC)
        assert built.watched.best_by == "mean"
        [rule] = built.update.args  # type: ignore[attr-defined]
        assert rule.entropy_target == -2, "-1 for each of two dimensions"


@pytest.mark.parametrize(
    ("env", "alpha", "frames"),
    [
        ("Hopper-v4", 0.2, 10**6),
        ("Humanoid-v4", 0.05, 10**7),
        ("mine:Humanoid-v4", 0.05, 10**7),
        ("HumanoidStandup-v4", 0.2, 10**6),
    ],
)
def test_sac_v1_has_the_temperature_of_its_task(
    env: str, alpha: float, frames: int
) -> None:
    numbers = mujoco.config(env, "sac_v1")
    assert (numbers.agent.soft.alpha, numbers.total_frames) == (alpha, frames)
