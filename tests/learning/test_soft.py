"""SAC, SAC-v2 and Meta-SAC: small networks in double precision, against a slow twin."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac import distributions
from stac.agents import base
from stac.config import NetworkConfig, OptimizerConfig, Soft
from stac.environments.base import EnvironmentSpec
from stac.learning import soft
from stac.networks import soft as networks
from stac.runtime import devices
from stac.types import Params, Sample, Transition, Tree
from tests.learning import soft_twin as twin

pytestmark = pytest.mark.usefixtures("double_precision")

FEATURES, ACTIONS, HIDDENS = 3, 2, (5, 4)
UPDATES, MINIBATCH, INITIAL = 3, 6, 8
RATE = 0.018
ALPHA = 0.4

META = {"temperature": "meta", "policy_optimizer": "rmsprop"}
CASES: dict[str, dict[str, Any]] = {
    "fixed": {"temperature": "fixed", "alpha": 0.2},
    "entropy": {"temperature": "entropy"},
    "meta": {**META, "alpha_clip": 1e-5},  # less than any metagradient
    "replay": {**META, "meta_states": "replay", "max_gradient_norm": 1.0},
    "one minibatch": {**META, "resample": False},
    "classic": {**META, "meta_value": "classic"},
}


@functools.cache
def network() -> networks.Network:
    spec = EnvironmentSpec((FEATURES,), np.dtype(np.float32), ACTIONS, True, 1)
    made = networks.make(NetworkConfig(mlp_hiddens=HIDDENS), 2 * ACTIONS, spec)
    return networks.Network(*map(jax.jit, made))  # each is traced once


@functools.cache
def rule_of(case: str) -> soft.Rule:
    numbers = dict(CASES[case])
    return soft.Rule(
        policy=network().policy,
        critics=network().critics,
        optimizer=OptimizerConfig(
            learning_rate=RATE,
            rms_epsilon=1e-3,
            max_gradient_norm=numbers.pop("max_gradient_norm", 0.0),
            meta_learning_rate=0.05,
            meta_epsilon=1e-8,
        ),
        soft=Soft(
            minibatch=MINIBATCH, initial_states=INITIAL, gamma=0.9, tau=0.1, **numbers
        ),
        updates_per_call=UPDATES,
        entropy_target=-1.5,
    )


@functools.cache
def compiled(rule: soft.Rule) -> Callable[[soft.State, Sample], tuple[Any, Any]]:
    return jax.jit(functools.partial(soft.update, rule, all_sum=base.no_devices))


def started(rule: soft.Rule, spread: float = 1.0) -> soft.State:
    """As after some calls; `spread` is added to the first action's log std."""
    random = np.random.default_rng(3)

    def moved(tree: Tree, size: float) -> Tree:
        return jax.tree.map(lambda x: x + size * random.normal(size=x.shape), tree)

    def warm(moments: Any, size: float = 0.3) -> Any:  # of the gradients so far
        squares = jax.tree.map(lambda x: random.uniform(0.1, 1.0, x.shape), moments.nu)
        moments = moments._replace(nu=jax.tree.map(lambda x: size**2 * x, squares))
        if hasattr(moments, "mu"):
            count = jnp.array(4, jnp.int32)
            moments = moments._replace(mu=moved(moments.mu, size), count=count)
        return moments

    pairs = 1 + (rule.soft.meta_value == "classic")
    policy_key, *keys = jax.random.split(jax.random.PRNGKey(0), 1 + pairs)
    policy = moved(network().init_policy(policy_key), 0.5)
    policy["policy/~/linear_2"]["b"] += np.array([0.0, 0.0, spread, -0.5])
    critics = tuple(moved(network().init_critics(key), 0.3) for key in keys)
    state = soft.init(rule, policy, critics)
    adam, *rest = state.alpha_optimizer
    return state._replace(
        targets=moved(critics, 0.2),
        policy_optimizer=warm(state.policy_optimizer),
        critic_optimizer=warm(state.critic_optimizer),
        alpha_optimizer=(warm(adam, 0.01), *rest),
        log_alpha=jnp.array(np.log(ALPHA)),
        updates=jnp.array(2, jnp.int32),
    )


def drawn(rule: soft.Rule) -> Sample:
    random, count = np.random.default_rng(4), rule.draws
    return Sample(
        Transition(
            observation=random.normal(size=(count, FEATURES)),
            action=random.normal(size=(count, ACTIONS)),
            reward=random.normal(size=count),
            discount=(random.uniform(size=count) < 0.7).astype(float),
            next_observation=random.normal(size=(count, FEATURES)),
        ),
        keys=random.integers(2**32, size=(count, 2), dtype=np.uint32),
        ready=np.ones(count, bool),
        initial=random.normal(size=(INITIAL, FEATURES)),
    )


def flat(params: Params, name: str = "policy") -> np.ndarray:
    """One network's parameters as the twin has them."""
    parts = [params[f"{name}/~/linear_{i}"][part] for i in range(3) for part in "wb"]
    return np.concatenate([np.ravel(part) for part in parts])


def flat_critics(critics: tuple[Params, ...]) -> np.ndarray:
    return np.array([[flat(pair, name) for name in ("q_1", "q_2")] for pair in critics])


def as_twin(state: soft.State) -> twin.State:
    def moments(optax: Any, flatten: Callable[[Tree], np.ndarray]) -> twin.Moments:
        second = flatten(optax.nu)
        if not hasattr(optax, "mu"):
            return twin.Moments(np.zeros_like(second), second, 0)
        return twin.Moments(flatten(optax.mu), second, int(optax.count))

    return twin.State(
        policy=flat(state.policy),
        critics=flat_critics(state.critics),
        targets=flat_critics(state.targets),
        policy_moments=moments(state.policy_optimizer, flat),
        critic_moments=moments(state.critic_optimizer, flat_critics),
        log_alpha=float(state.log_alpha),
        alpha_moments=moments(state.alpha_optimizer[0], np.asarray),
    )


def numbers_of(rule: soft.Rule) -> twin.Numbers:
    same = ("temperature", "gamma", "tau", "alpha_clip", "policy_optimizer")
    return twin.Numbers(
        **{name: getattr(rule.soft, name) for name in same},
        sizes=(FEATURES, *HIDDENS, 2 * ACTIONS),
        critic_sizes=(FEATURES + ACTIONS, *HIDDENS, 1),
        rate=RATE,
        alpha_rate=rule.optimizer.meta_learning_rate,
        entropy_target=rule.entropy_target,
        rms_epsilon=rule.optimizer.rms_epsilon,
        max_norm=rule.optimizer.max_gradient_norm,
        from_replay=rule.soft.meta_states == "replay",
    )


def rows(rule: soft.Rule) -> np.ndarray:
    """[minibatches of a call, MINIBATCH] places in a sample: they take turns."""
    return np.arange(rule.draws).reshape(MINIBATCH, -1).T


def batches(rule: soft.Rule, sample: Sample) -> list[list[twin.Batch]]:
    """The minibatches of each update, with the noise of each transition's key."""
    noise = np.array([jax.random.normal(key, (2, ACTIONS)) for key in sample.keys])
    order = rows(rule).ravel()
    columns = [each[order] for each in (*sample.transitions, noise[:, 0], noise[:, 1])]
    return twin.batches(columns, (UPDATES, rule.minibatches))


def near(got: Tree, wanted: Tree, rtol: float = 1e-9, atol: float = 1e-11) -> None:
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def first_minibatch(rule: soft.Rule, sample: Sample) -> soft.Minibatch:
    places = rows(rule)[0]
    transitions = Transition(*(leaf[places] for leaf in sample.transitions))
    return soft.minibatch(transitions, sample.keys[places])


@functools.cache
def losses(rule: soft.Rule) -> Callable[[soft.State, soft.Minibatch], tuple[Any, Any]]:
    """Of the critics and of the policy: ((loss, other values), gradient)."""

    @jax.jit
    def both(state: soft.State, batch: soft.Minibatch) -> tuple[Any, Any]:
        def of_critics(critics: tuple[Params, ...]) -> tuple[Any, Any]:
            return soft.critic_loss(rule, critics, state, jnp.array(ALPHA), batch)

        def of_policy(policy: Params) -> tuple[Any, Any]:
            log_pi, value = soft.policy_terms(rule, policy, state.critics[0], batch)
            return ALPHA * log_pi - value, (log_pi, value)

        return (
            jax.value_and_grad(of_critics, has_aux=True)(state.critics),
            jax.value_and_grad(of_policy, has_aux=True)(state.policy),
        )

    return both


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_the_twins_gradients_are_differences(spread):
    rule = rule_of("classic")
    numbers, state = numbers_of(rule), as_twin(started(rule, spread))
    batch = batches(rule, drawn(rule))[0][0]

    def of_critics(critics: np.ndarray) -> tuple[float, np.ndarray]:
        return twin.critic_loss(numbers, critics, state, ALPHA, batch)

    def of_policy(policy: np.ndarray) -> tuple[float, np.ndarray]:
        return twin.policy_loss(numbers, policy, state.critics[0], ALPHA, batch)[:2]

    for loss, at in ((of_critics, state.critics), (of_policy, state.policy)):
        slopes = twin.differences(lambda params, loss=loss: loss(params)[0], at)
        near(loss(at)[1], slopes, rtol=1e-6, atol=1e-9)


# Near -20 a sample lies so close to its mean that rounding is seen in their distance.
@pytest.mark.parametrize(("spread", "rtol"), [(0.0, 1e-9), (1.0, 1e-9), (-21.0, 1e-6)])
def test_losses_and_their_gradients_are_the_twins(spread, rtol):
    rule = rule_of("classic")
    numbers, state, sample = numbers_of(rule), started(rule, spread), drawn(rule)
    batch, wanted = batches(rule, sample)[0][0], as_twin(state)
    outputs, _ = twin.forward(wanted.policy, numbers.sizes, batch.observation)
    inside = np.abs(outputs[:, 2] + 9.0) < 11.0
    assert inside.all() if spread == 0.0 else 0 < inside.sum() < MINIBATCH
    inputs = batch.observation, np.tanh(batch.action)
    both = twin.values(numbers, wanted.critics[0], *inputs)
    assert 0 < (both[0] < both[1]).sum() < MINIBATCH  # either one is the smaller

    of_critics, of_policy = losses(rule)(state, first_minibatch(rule, sample))
    loss, gradient = twin.critic_loss(numbers, wanted.critics, wanted, ALPHA, batch)
    near(of_critics[0], (loss, both[0].mean()), rtol)
    near(flat_critics(of_critics[1]), gradient, rtol)

    learned = twin.policy_loss(numbers, wanted.policy, wanted.critics[0], ALPHA, batch)
    near(of_policy[0], (learned.loss, (learned.log_pi, learned.value)), rtol)
    near(flat(of_policy[1]), learned.gradient, rtol, atol=1e-2 * rtol)


@pytest.mark.parametrize("case", CASES)
def test_a_call_makes_the_twins_updates(case):
    rule = rule_of(case)
    state, sample = started(rule), drawn(rule)
    new, metrics = compiled(rule)(state, sample)
    wanted, means = twin.call(
        numbers_of(rule), as_twin(state), batches(rule, sample), sample.initial
    )
    # The twin's metagradient is a difference.
    rtol, atol = (1e-7, 1e-10) if rule.soft.temperature == "meta" else (1e-9, 1e-11)
    near(as_twin(new), wanted, rtol, atol)
    means |= {"hyperparameters/log_alpha/head_1": np.log(ALPHA)}
    if case == "classic":
        assert abs(means["metagradient/log_alpha/head_1"]) > 0.01
    if case == "fixed":  # nothing is tuned
        del means["metagradient/log_alpha/head_1"]
    near(metrics, means | {"skipped": 0.0}, rtol, atol)
    assert new.updates == 3


def test_targets_begin_as_the_critics():
    critics = (network().init_critics(jax.random.PRNGKey(0)),)
    state = soft.init(rule_of("fixed"), {}, critics)
    near(state.targets, critics, rtol=0, atol=0)
    near(state.log_alpha, np.log(0.2), rtol=1e-6)


@pytest.mark.parametrize("late", [0, 35])
def test_before_the_replay_is_ready_nothing_is_learned(late):
    rule = rule_of("meta")
    state, sample = started(rule), drawn(rule)
    sample.ready[late] = False
    new, metrics = compiled(rule)(state, sample)
    near((new, metrics.pop("skipped")), (state._replace(updates=3), 0), 0, 0)
    assert metrics.pop("hyperparameters/log_alpha/head_1") == state.log_alpha
    assert {"loss/critic", "loss/policy", "entropy"} < set(metrics)
    assert all(map(np.isnan, metrics.values()))


@pytest.mark.parametrize("case", ["entropy", "one minibatch"])
@pytest.mark.parametrize("bad", range(UPDATES))
def test_a_bad_reward_skips_its_own_update_alone(case, bad):
    rule = rule_of(case)
    state, sample = started(rule), drawn(rule)
    good = batches(rule, sample)
    del good[bad]
    wanted, _ = twin.call(numbers_of(rule), as_twin(state), good, sample.initial)
    sample.transitions.reward[rows(rule)[bad][1]] = np.nan
    new, metrics = compiled(rule)(state, sample)
    near(as_twin(new), wanted, rtol=1e-7, atol=1e-10)
    assert metrics["skipped"] == 1
    assert new.updates == 3


@pytest.mark.parametrize(("case", "capped"), [("replay", True), ("entropy", False)])
def test_the_temperature_of_meta_sac_never_exceeds_one(case, capped):
    state = started(rule_of(case))
    adam, *rest = state.alpha_optimizer
    rising = adam._replace(mu=adam.mu - 1.0), *rest
    state = state._replace(log_alpha=np.array(-1e-3), alpha_optimizer=rising)
    new, _ = compiled(rule_of(case))(state, drawn(rule_of(case)))
    assert new.log_alpha == 0.0 if capped else new.log_alpha > 0.1


def test_the_metagradient_is_clipped_before_it_is_applied():
    rule = rule_of("meta")
    state, clip = started(rule), rule.soft.alpha_clip
    adam, *rest = state.alpha_optimizer
    fresh = adam._replace(mu=np.zeros(()), nu=np.zeros(())), *rest
    state = state._replace(alpha_optimizer=fresh)
    new, metrics = compiled(rule)(state, drawn(rule))
    assert abs(metrics["metagradient/log_alpha/head_1"]) > 10 * clip
    # All three are clipped, so their squares are the same.
    near(new.alpha_optimizer[0].nu, (1 - 0.999**UPDATES) * clip**2, atol=0)


@pytest.mark.parametrize(("discount", "bootstraps"), [(0.0, False), (1.0, True)])
def test_the_end_of_an_episode_does_not_bootstrap(discount, bootstraps):
    rule = rule_of("classic")
    state, batch = started(rule), first_minibatch(rule, drawn(rule))
    step = batch.transitions._replace(discount=np.full(MINIBATCH, discount))
    elsewhere = step._replace(next_observation=step.next_observation + 1.0)
    one, other = (
        losses(rule)(state, batch._replace(transitions=each))[0][0][0]
        for each in (step, elsewhere)
    )
    assert abs(one - other) > 0.01 if bootstraps else one == other


def test_noise_is_of_the_transition_wherever_it_stands():
    rule = rule_of("meta")
    state, sample = started(rule), drawn(rule)
    order = np.random.default_rng(5).permuted(rows(rule), axis=1).T.ravel()
    transitions = Transition(*(leaf[order] for leaf in sample.transitions))
    moved = sample._replace(transitions=transitions)
    before, after, other_noise = (
        compiled(rule)(state, each)
        for each in (sample, moved._replace(keys=sample.keys[order]), moved)
    )
    near(after, before, atol=1e-12)
    assert abs(other_noise[1]["entropy"] - before[1]["entropy"]) > 1e-3


def test_two_devices_learn_from_shares_as_one_does_from_the_whole():
    rule = rule_of("classic")
    state, sample = started(rule), drawn(rule)
    none = lambda *inputs: ()  # noqa: E731
    learn = functools.partial(soft.update, rule)
    agent = base.Agent(none, none, none, learn, none, frames_per_update=10)
    learners = devices.LearnerDevices(agent, jax.local_devices()[:2])
    bad, late = drawn(rule), drawn(rule)  # the second device alone would know
    bad.transitions.reward[-1] = np.nan
    late.ready[-1] = False
    for each, skipped in ((sample, 0), (bad, 1), (late, 0)):
        new, metrics = learners.update(learners.replicate(state), each)
        assert metrics.pop(devices.STOPPING) == 0
        assert metrics["skipped"] == skipped
        near((new, metrics), compiled(rule)(state, each), rtol=1e-8)
        for leaf in jax.tree.leaves(new):
            one, other = (shard.data for shard in leaf.addressable_shards)
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("y", [(0.0, 0.0), (0.4, -1.0), (-1.5, -0.3), (0.9, -5.0)])
def test_the_density_of_squashed_actions_integrates_to_one(y):
    squashed = (np.arange(400_000) + 0.5) / 200_000 - 1.0
    outputs = jnp.broadcast_to(jnp.array(y), (len(squashed), 2))
    log_p = distributions.soft_log_prob(outputs, jnp.arctanh(squashed)[:, None])
    assert np.exp(log_p).mean() * 2.0 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("free", "log_std"), [(-99.0, -20.0), (0.5, 0.5), (9.0, 2.0)])
@pytest.mark.parametrize("side", [-50.0, 50.0])
def test_the_log_probability_is_finite_far_out(dtype, free, log_std, side):
    outputs = np.array([[side, 0.0, free, free]], dtype)
    action = np.array([[side, 0.3 * np.exp(log_std)]], dtype)
    got = distributions.soft_log_prob(outputs, action)
    assert got.dtype == dtype
    exact = outputs[:, :2].astype(float), np.full((1, 2), log_std), action.astype(float)
    near(got, twin.log_prob(*exact), rtol=1e-9 if dtype == np.float64 else 1e-5)
