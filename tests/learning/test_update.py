"""What flows where in one update: metagradients, boundaries, subsets, means."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac import types
from stac.agents.base import no_devices
from stac.config import (
    METAPARAMETERS,
    AgentConfig,
    OptimizerConfig,
    metaparameter_table,
)
from stac.learning import losses, metaparameters, update
from stac.types import Trajectory
from tests.conftest import load_golden
from tests.learning import golden_case, test_vtrace
from tests.learning.golden_case import EXTRA_METAPARAMETERS, tiny, updated

pytestmark = pytest.mark.usefixtures("double_precision")


def metagradient(case, metrics=None):
    """{name: [P]} as the product computes it."""
    metrics = updated(case)[1] if metrics is None else metrics
    names = METAPARAMETERS + EXTRA_METAPARAMETERS
    heads = range(1, case.rule.agent.heads + 1)
    return {
        name: np.array([metrics[f"metagradient/{name}/head_{p}"] for p in heads])
        for name in names
        if f"metagradient/{name}/head_1" in metrics
    }


@pytest.mark.parametrize("name", METAPARAMETERS + EXTRA_METAPARAMETERS)
def test_only_the_chosen_metaparameter_moves(name):
    case = tiny(self_tuned=name)
    new, metrics = updated(case)
    assert set(metagradient(case, metrics)) == {name}
    assert set(new.metaparameters) == {name}
    assert (new.metaparameters[name] != case.state.metaparameters[name]).all()
    for other in set(METAPARAMETERS) - {name, "alpha"}:
        outer = getattr(case.rule.agent.outer, {"lambda": "lambda_"}.get(other, other))
        assert metrics[f"hyperparameters/{other}/head_1"] == outer


def test_a_metaparameter_is_a_row_its_outer_value_and_its_use_in_the_loss(monkeypatch):
    """Here a row that weighs the whole loss of its head; g_v has its outer value."""
    row = metaparameter_table.Metaparameter("weight", outer="g_v", scaled=True)
    table = (*metaparameter_table.TABLE, row)
    monkeypatch.setattr(metaparameter_table, "TABLE", table)
    head_loss = losses.head_loss

    def weighted(output, trajectory, hyper, *others):
        terms, targets = head_loss(output, trajectory, hyper, *others)
        return losses.Terms(*(hyper["weight"] * t for t in terms)), targets

    monkeypatch.setattr(losses, "head_loss", weighted)
    golden = load_golden("categorical_3_heads")
    golden["case"]["raw"]["weight"] = np.full(3, 1.5)
    case = golden_case.build(golden, np.float64, self_tuned="gamma,weight")
    new, metrics = updated(case)
    for head in range(3):
        assert metrics[f"metagradient/weight/head_{head + 1}"] != 0
        squashed = jax.nn.sigmoid(1.5) * case.rule.agent.outer.g_v
        assert metrics[f"hyperparameters/weight/head_{head + 1}"] == squashed
    assert (new.metaparameters["weight"] != 1.5).all()
    _, metrics = updated(golden_case.build(golden, np.float64, self_tuned="gamma"))
    outer = case.rule.agent.outer.g_v
    assert metrics["hyperparameters/weight/head_1"] == outer


def test_logs_name_the_papers_six_and_the_extra_ones_that_are_tuned():
    def logged(tuned):
        agent = AgentConfig(self_tuned=tuned)
        return set(metaparameters.logged(metaparameters.init(agent), agent))

    six = set(METAPARAMETERS)
    assert logged("") == logged("gamma") == six
    assert logged("truncation,alpha_c") == six | {"truncation", "alpha_c"}


def test_nothing_tuned_has_no_metagradient_and_an_empty_state():
    case = tiny(self_tuned="")
    new, metrics = updated(case)
    assert new.metaparameters == {}
    assert not [name for name in metrics if name.startswith(("metagradient", "outer"))]


def step_along(case, direction, raw):
    """<direction, theta'(eta)>, theta' by the product's inner step."""
    step = update.inner_step(case.rule, case.state, raw, case.trajectory, no_devices)
    pairs = zip(jax.tree.leaves(direction), jax.tree.leaves(step.params), strict=True)
    return sum(jnp.vdot(d, p) for d, p in pairs)


@pytest.mark.parametrize("name", ["categorical_3_heads", "gaussian_3_heads"])
@pytest.mark.parametrize("evaluated", ["own", "head_1"])
def test_metagradients_equal_central_differences_of_a_clipped_step(name, evaluated):
    """The outer gradient is held fixed: its targets and ratios are stopped."""
    names = METAPARAMETERS + ("truncation",)
    case = tiny(name, self_tuned=",".join(names), evaluated=evaluated)
    optimizer = dataclasses.replace(case.rule.optimizer, max_gradient_norm=0.5)
    case = case._replace(rule=case.rule._replace(optimizer=optimizer))
    raw = case.state.metaparameters
    run = lambda raw: update.inner_step(  # noqa: E731
        case.rule, case.state, raw, case.trajectory, no_devices
    )
    step = jax.jit(run)(raw)
    outer = lambda params: update.outer_loss(  # noqa: E731
        case.rule, step._replace(params=params), case.trajectory, 1.0
    )[0]
    direction = jax.jit(jax.grad(outer))(step.params)
    actual = metagradient(case)
    along = jax.jit(lambda raw: step_along(case, direction, raw))
    for name, head in [(n, h) for n in names for h in range(3)]:
        shift = 1e-5 * np.eye(3)[head]
        above = along(raw | {name: raw[name] + shift})
        below = along(raw | {name: raw[name] - shift})
        difference = (above - below) / 2e-5
        np.testing.assert_allclose(actual[name][head], difference, atol=1e-7)
        assert abs(actual[name][head]) > 1e-9


def test_heads_learn_head_1s_values_and_weigh_policy_gradients_by_their_own_ratios():
    """Against the double loop, and sums over all transitions."""
    case = tiny(evaluated="head_1")
    rule, trajectory = case.rule, case.trajectory
    _, metrics = updated(case)
    zeta = metaparameters.squash(case.state.metaparameters, rule.agent.outer, 3)
    outputs = rule.unroll(case.state.params, trajectory, zeta["gamma"])
    log_pi = [
        np.asarray(rule.distribution.log_prob(o.policy[:, :-1], trajectory.action))
        for o in outputs
    ]
    ratios = np.exp(np.array(log_pi) - trajectory.behaviour_log_prob)
    valid = np.asarray(types.valid(trajectory))
    for head, output in enumerate(outputs):
        hyper = metaparameters.of_head(zeta, head)
        hyper = {name: float(value) for name, value in hyper.items()}
        inputs = {
            "importance": ratios[0],
            "reward": np.asarray(trajectory.reward),
            "discount": trajectory.discount,
            "valid": valid,
            "values": np.asarray(output.value),
        }
        v, advantage = test_vtrace.double_loop(**inputs, hyper=hyper)
        alpha, own = hyper["alpha_rho"], ratios[head]
        rho = (1 - alpha) * own + alpha * np.minimum(hyper["truncation"], own)
        errors = (valid * (v - inputs["values"][:, :-1]) ** 2).sum()
        gains = (valid * rho * log_pi[head] * advantage).sum()
        named = f"head_{head + 1}"
        np.testing.assert_allclose(
            metrics[f"loss/value/{named}"], hyper["g_v"] * errors, rtol=1e-9
        )
        np.testing.assert_allclose(
            metrics[f"loss/policy/{named}"], -hyper["g_p"] * gains, rtol=1e-9
        )


def two_episodes(rng, end_discount):
    """Two trajectories with an end of episode each, and the two as one."""

    def episode(n):
        return Trajectory(
            observation=rng.normal(size=(2, n, 4)),
            first=np.zeros((2, n), bool),
            action=rng.integers(0, 3, size=(2, n - 1)).astype(np.int32),
            behaviour_log_prob=rng.normal(-1.0, 0.3, size=(2, n - 1)),
            reward=rng.normal(size=(2, n - 1)),
            discount=np.ones((2, n - 1)),
            core_state=(),
        )

    before, after = episode(4), episode(5)
    before.discount[:, -1] = end_discount
    after.first[:, 0] = True
    gap = episode(2)  # what the environment says between; all of it must be ignored
    gap.reward[:] = 1e3
    joined = Trajectory(
        observation=np.concatenate([before.observation, after.observation], axis=1),
        first=np.concatenate([before.first, after.first], axis=1),
        core_state=(),
        **{
            name: np.concatenate(
                [getattr(part, name) for part in (before, gap, after)], axis=1
            )
            for name in ("action", "behaviour_log_prob", "reward", "discount")
        },
    )
    return before, after, joined


@pytest.mark.parametrize("end_discount", [0.0, 1.0])
def test_two_episodes_in_one_trajectory_are_the_two_apart(end_discount):
    case = tiny()
    before, after, joined = two_episodes(np.random.default_rng(0), end_discount)
    assert types.valid(joined).sum() == 2 * (3 + 4)

    def loss(params, raw, trajectory):
        zeta = metaparameters.squash(raw, case.rule.agent.outer, 3)
        outputs = case.rule.unroll(params, trajectory, zeta["gamma"])
        return sum(
            sum(
                losses.head_loss(
                    outputs[head],
                    trajectory,
                    metaparameters.of_head(zeta, head),
                    case.rule.distribution,
                )[0]
            )
            for head in range(3)
        )

    gradient = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    arguments = case.state.params, case.state.metaparameters
    apart = jax.tree.map(
        jnp.add, *(gradient(*arguments, part) for part in (before, after))
    )
    together = gradient(*arguments, joined)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10),
        together,
        apart,
    )


@pytest.mark.parametrize("reduction", ["mean", "batch_mean"])
def test_a_mean_is_the_sum_over_the_number_of_its_terms(reduction):
    case = tiny(self_tuned="")
    mean = tiny(self_tuned="", reduction=reduction)
    _, summed = updated(case)
    _, averaged = updated(mean)
    ratio = summed["gradient_norm"] / averaged["gradient_norm"]
    terms = (
        case.trajectory.action.size
        if reduction == "mean"
        else len(case.trajectory.action)
    )
    np.testing.assert_allclose(ratio, terms, rtol=1e-12)
    tuned, scaled = tiny(), tiny(reduction=reduction)
    step = update.inner_step(*tuned[:2], {}, tuned.trajectory, no_devices)
    losses_ = [
        update.outer_loss(
            each.rule, step, each.trajectory, update.loss_scale(each.rule, no_devices)
        )[0]
        for each in (tuned, scaled)
    ]
    np.testing.assert_allclose(losses_[0] / losses_[1], terms, rtol=1e-12)


def test_the_mean_over_two_devices_with_the_same_share_is_what_each_computes():
    def two(tree):
        return jax.tree.map(lambda leaf: 2.0 * leaf, tree)

    alone, _ = updated(tiny())
    case = tiny(reduction="device_mean")
    both, _ = golden_case.compiled(case.rule, two)(case.state, case.trajectory)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), both, alone)


def metagradient_with(case, all_sum=no_devices, **numbers):
    """{name: [P]} of one update with another optimizer."""
    optimizer = dataclasses.replace(case.rule.optimizer, **numbers)
    run = golden_case.compiled(case.rule._replace(optimizer=optimizer), all_sum)
    return metagradient(case, run(case.state, case.trajectory)[1])


def test_a_clip_that_binds_hides_a_common_factor_of_the_weights():
    """sum_i g_i d outer / d g_i is 0, as the clipped gradient does not depend on it."""
    case = tiny()
    weights = ("g_v", "g_p", "g_e")

    def along_the_factor(of):
        raw = case.state.metaparameters
        return sum(
            (of[name] / (1 - jax.nn.sigmoid(raw[name]))).sum() for name in weights
        )

    clipped = metagradient_with(case, max_gradient_norm=0.1)
    assert abs(along_the_factor(clipped)) < 1e-10
    constant = metagradient_with(case, max_gradient_norm=0.1, clip_derivative=False)
    assert abs(along_the_factor(constant)) > 1e-5


def test_a_clip_without_its_derivative_is_a_constant_factor():
    case = tiny()
    _, metrics = updated(case)
    factor = 0.1 / metrics["gradient_norm"]
    clipped = metagradient_with(case, max_gradient_norm=0.1, clip_derivative=False)
    scaled = metagradient_with(
        case, lambda tree: jax.tree.map(lambda leaf: factor * leaf, tree)
    )
    for name, values in clipped.items():
        np.testing.assert_allclose(values, scaled[name] / factor, rtol=1e-9)


@pytest.mark.parametrize("kind", ["none", "shared"])
def test_the_kl_is_zero_where_the_step_is(kind):
    """An embedding reads the same discount on both sides."""
    case = tiny(gamma_embedding=kind)

    def reads_gamma(params, trajectory, gamma):
        outputs = golden_case.unroll(params, trajectory, gamma)
        shift = jnp.arange(3.0) * (kind != "none")
        return tuple(
            output._replace(policy=output.policy + shift * gamma[head])
            for head, output in enumerate(outputs)
        )

    rule = case.rule._replace(
        unroll=reads_gamma,
        optimizer=OptimizerConfig(learning_rate=1e-12, end_learning_rate=0.0),
    )
    _, metrics = updated(case._replace(rule=rule))
    assert abs(metrics["outer/kl"]) < 1e-12


def test_the_kl_is_logged_without_its_coefficient():
    golden = load_golden("categorical_3_heads")
    golden["case"]["outer"]["g_kl"] = 0.0
    _, metrics = updated(golden_case.build(golden, np.float64))
    assert metrics["outer/kl"] > 0.1
    terms = sum(metrics[f"outer/{name}"] for name in losses.Terms._fields)
    np.testing.assert_allclose(metrics["outer/total"], terms)


def test_an_infinite_importance_ratio_leaves_the_update_finite():
    """As where a standard deviation collapsed between acting and learning."""
    case = tiny()
    trajectory = case.trajectory._replace(
        behaviour_log_prob=np.full_like(case.trajectory.behaviour_log_prob, -800.0)
    )
    state, metrics = updated(case._replace(trajectory=trajectory))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))
    assert metrics["importance/head_1_max"] > 1e8


def test_a_clip_of_rewards_is_as_if_they_had_come_clipped():
    plain, clips = tiny(), tiny(reward_clip=0.1)
    reward = np.clip(plain.trajectory.reward, -0.1, 0.1)
    trajectory = plain.trajectory._replace(reward=reward)
    state, metrics = updated(clips)
    expected = updated(plain._replace(trajectory=trajectory))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
        (state, metrics),
        expected,
    )
    unclipped = updated(plain)[1]["gradient_norm"]
    assert abs(metrics["gradient_norm"] - unclipped) > 1e-4 * unclipped
