"""Theorem 1 on random tabular MDPs, with the product's own weights and targets.

The infinite-horizon operator of Eq. (6) is written out in matrices over the product's
`leaky_weight`; the product's `targets`, averaged over every trajectory of a small MDP,
equal its n-step truncation, so that what holds for the matrices holds for the code.

The paper asks for alpha_rho >= alpha_c. Its proof needs rho~ >= c~, and a leaky weight
*falls* as its alpha grows (min(rho, IS) <= IS), so what the proof needs is
alpha_rho <= alpha_c. The fixed point is the same either way; the rate is not.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
import pytest

from stac.learning import vtrace

pytestmark = pytest.mark.usefixtures("double_precision")

GAMMA = 0.9
TRUNCATION = 1.0
# (alpha_rho, alpha_c)
CONTRACTING = [(1.0, 1.0), (0.3, 1.0), (0.7, 0.7), (0.1, 0.5), (0.0, 0.2), (0.0, 0.0)]
AS_PRINTED = [(1.0, 0.3), (0.5, 0.1)]


class Mdp(NamedTuple):
    transition: np.ndarray  # [S, A, S]
    reward: np.ndarray  # [S, A]
    target: np.ndarray  # [S, A], pi
    behaviour: np.ndarray  # [S, A], mu


def random_mdp(seed, states=6, actions=3):
    rng = np.random.default_rng(seed)
    return Mdp(
        transition=rng.dirichlet(np.ones(states), size=(states, actions)),
        reward=rng.normal(size=(states, actions)),
        target=rng.dirichlet(np.ones(actions), size=states),
        behaviour=rng.dirichlet(np.ones(actions), size=states),
    )


def weights(mdp, alpha):
    """The product's leaky importance weights, [S, A]."""
    ratio = mdp.target / mdp.behaviour
    return np.asarray(vtrace.leaky_weight(ratio, alpha, TRUNCATION))


def operator(mdp, value, alpha_rho, alpha_c, gamma=GAMMA):
    """Eq. (6): V + sum over t of (gamma mu c P)^t (mu rho delta), summed exactly."""
    weighted = mdp.behaviour * weights(mdp, alpha_rho)
    error = mdp.reward + gamma * mdp.transition @ value - value[:, None]
    trace = mdp.behaviour * weights(mdp, alpha_c)
    kernel = gamma * np.einsum("sa,sat->st", trace, mdp.transition)
    return value + np.linalg.solve(
        np.eye(len(value)) - kernel, (weighted * error).sum(axis=1)
    )


def value_of(mdp, policy, gamma=GAMMA):
    chain = np.einsum("sa,sat->st", policy, mdp.transition)
    return np.linalg.solve(
        np.eye(len(chain)) - gamma * chain, (policy * mdp.reward).sum(axis=1)
    )


def mixed_policy(mdp, alpha):
    """Eq. (9), written from the paper and not from the product."""
    clipped = np.minimum(TRUNCATION * mdp.behaviour, mdp.target)
    mixed = alpha * clipped + (1 - alpha) * mdp.target
    return mixed / mixed.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alphas", CONTRACTING + AS_PRINTED)
def test_the_fixed_point_is_the_value_of_the_mixed_policy(seed, alphas):
    mdp = random_mdp(seed)
    expected = value_of(mdp, mixed_policy(mdp, alphas[0]))
    np.testing.assert_allclose(operator(mdp, expected, *alphas), expected, atol=1e-9)
    value = np.zeros(len(mdp.reward))
    for _ in range(500):
        value = operator(mdp, value, *alphas)
    np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("alphas", CONTRACTING)
def test_the_operator_contracts_at_the_rate_of_equation_8(seed, alphas):
    rate, bound = rate_and_bound(random_mdp(seed), *alphas)
    assert rate <= bound + 1e-6
    assert bound < 1


def test_the_condition_as_printed_does_not_make_a_contraction():
    """alpha_rho > alpha_c: on one of these MDPs two values move apart."""
    pairs = [rate_and_bound(random_mdp(seed), *AS_PRINTED[0]) for seed in range(3)]
    assert max(rate for rate, _ in pairs) > 1.05
    assert max(bound for _, bound in pairs) < 1


def rate_and_bound(mdp, alpha_rho, alpha_c):
    """The operator's true sup-norm factor, and what Eq. (8) allows."""
    clipped = np.minimum(TRUNCATION, mdp.target / mdp.behaviour)
    beta = (mdp.behaviour * clipped).sum(axis=1).min()  # E_mu rho_0 >= beta
    bound = 1 - (1 - GAMMA) * (alpha_rho * beta + 1 - alpha_rho)
    # The operator is affine, so its worst contraction is its matrix's sup-norm.
    units, alphas = np.eye(len(mdp.reward)), (alpha_rho, alpha_c)
    zero = operator(mdp, np.zeros(len(units)), *alphas)
    columns = [operator(mdp, unit, *alphas) - zero for unit in units]
    return np.abs(np.stack(columns, axis=1)).sum(axis=1).max(), bound


@pytest.mark.parametrize("alphas", [(1.0, 1.0), (0.7, 0.2)])
def test_targets_averaged_over_all_trajectories_are_the_n_step_operator(alphas):
    mdp, steps = random_mdp(7, states=2, actions=2), 4
    value = np.array([0.3, -1.2])
    paths = list(itertools.product(*[range(2)] * (2 * steps)))  # a_0 x_1 a_1 x_2 ...
    for start in range(2):
        states = np.array([[start, *path[1::2]] for path in paths])
        actions = np.array([path[::2] for path in paths])
        now, after = states[:, :-1], states[:, 1:]
        chance = mdp.behaviour[now, actions] * mdp.transition[now, actions, after]
        ratio = mdp.target[now, actions] / mdp.behaviour[now, actions]
        targets = vtrace.targets(
            importance=ratio,
            reward=mdp.reward[now, actions],
            discount=np.ones(now.shape),
            valid=np.ones(now.shape),
            values=value[states],
            hyper={
                "gamma": GAMMA,
                "lambda": 1.0,
                "alpha_rho": alphas[0],
                "alpha_c": alphas[1],
                "truncation": TRUNCATION,
            },
        )
        average = chance.prod(axis=1) @ targets.value[:, 0]
        expected = n_step_operator(mdp, value, *alphas, steps)[start]
        np.testing.assert_allclose(average, expected, rtol=1e-12)


def n_step_operator(mdp, value, alpha_rho, alpha_c, steps):
    """Eq. (6) cut after `steps` terms; for many steps it is `operator`."""
    weighted = mdp.behaviour * weights(mdp, alpha_rho)
    error = mdp.reward + GAMMA * mdp.transition @ value - value[:, None]
    trace = mdp.behaviour * weights(mdp, alpha_c)
    kernel = GAMMA * np.einsum("sa,sat->st", trace, mdp.transition)
    term, total = (weighted * error).sum(axis=1), np.array(value)
    for _ in range(steps):
        total = total + term
        term = kernel @ term
    return total


def test_the_n_step_operator_tends_to_the_infinite_one():
    mdp, value = random_mdp(3), np.random.default_rng(0).normal(size=6)
    cut = n_step_operator(mdp, value, 0.7, 0.3, steps=400)
    np.testing.assert_allclose(cut, operator(mdp, value, 0.7, 0.3), atol=1e-9)
