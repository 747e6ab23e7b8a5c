"""The actor-critic loss of one head: Algorithm 1, inner and outer.

One function serves both: the inner loss differs only in that its hyperparameters carry
the metagradient. Gradients are stopped where they start: V inside targets and
advantages, and the importance ratio. What is left for theta is log pi, V in the value
term and the regulariser; what is left for eta is everything else. (The sg around the
outer advantage, line 22, changes nothing then: V is stopped and zeta constant.)
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from stac import distributions
from stac.learning import vtrace
from stac.types import Array

# An infinite ratio would make (1 - alpha) IS + alpha min(1, IS) no number. To plain
# V-trace the cut makes no difference; to leaky V-trace one huge weight is as another.
MAXIMUM_LOG_RATIO = 20.0


class Hyperparameters(NamedTuple):
    """zeta: what Algorithm 1 reads; scalars for one head, [P] for all."""

    gamma: Array | float
    lambda_: Array | float
    alpha_rho: Array | float
    alpha_c: Array | float
    truncation: Array | float  # rho bar = c bar
    g_v: Array | float
    g_p: Array | float
    g_e: Array | float


class HeadOutput(NamedTuple):
    """One head over a batch of trajectories."""

    policy: Array  # [B, n, num_outputs]
    value: Array  # [B, n]


class Transitions(NamedTuple):
    """The learner's view of a batch; columns as drawn in stac.types, [B, n-1] each."""

    action: Array  # [B, n-1] or [B, n-1, A]
    behaviour_log_prob: Array
    reward: Array  # clipped if the domain clips
    discount: Array
    valid: Array  # 0 on a boundary


class Terms(NamedTuple):
    """The three terms, each with its coefficient, summed over batch and time."""

    value: Array
    policy: Array
    regulariser: Array


class Diagnostics(NamedTuple):
    """For logs and tests; nothing here is differentiated."""

    targets: vtrace.Targets
    importance: Array  # [B, n-1]


def head_loss(
    output: HeadOutput,
    batch: Transitions,
    hyper: Hyperparameters,
    distribution: distributions.Distribution,
) -> tuple[Terms, Diagnostics]:
    """Algorithm 1 for one head: the terms to be added up, and what they were made of.

    Boundary transitions have no weight. Sums, not means: RMSProp's epsilon of 0.1 sets
    a scale, so a mean would be another algorithm.
    """
    policy = output.policy[:, :-1]
    log_pi = distribution.log_prob(policy, batch.action)
    ratio = jnp.minimum(log_pi - batch.behaviour_log_prob, MAXIMUM_LOG_RATIO)
    importance = jax.lax.stop_gradient(jnp.exp(ratio))
    targets = vtrace.targets(
        importance,
        batch.reward,
        batch.discount,
        batch.valid,
        jax.lax.stop_gradient(output.value),
        gamma=hyper.gamma,
        lambda_=hyper.lambda_,
        alpha_rho=hyper.alpha_rho,
        alpha_c=hyper.alpha_c,
        truncation=hyper.truncation,
    )
    errors = targets.value - output.value[:, :-1]
    gains = targets.rho * log_pi * targets.advantage
    regulariser = distribution.regulariser(policy)
    terms = Terms(
        value=hyper.g_v * jnp.sum(batch.valid * errors**2),
        policy=-hyper.g_p * jnp.sum(batch.valid * gains),
        # Line 18 with its sign mended: minimised, so entropy is rewarded.
        regulariser=hyper.g_e * jnp.sum(batch.valid * regulariser),
    )
    return terms, Diagnostics(targets=targets, importance=importance)


def policy_kl(
    new: HeadOutput,
    old: HeadOutput,
    valid: Array,  # [B, n-1]
    distribution: distributions.Distribution,
) -> Array:
    """KL(pi_new || sg pi_old) summed over the transitions of a batch (Eq. 3)."""
    old_policy = jax.lax.stop_gradient(old.policy[:, :-1])
    kl = distribution.kl(new.policy[:, :-1], old_policy)
    return jnp.sum(valid * kl)
