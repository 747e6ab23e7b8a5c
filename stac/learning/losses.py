"""The actor-critic loss of one head: Algorithm 1, inner and outer.

One function serves both losses. They differ only in the hyperparameters: those of the
inner loss carry the metagradient, those of the outer loss are constants.

Gradients are stopped where they start: V inside targets and advantages, and the
importance ratio. So theta has a gradient through log pi, V in the value term and the
regulariser, and eta has one through everything else. (The sg around the outer
advantage, line 22, then changes nothing: V is stopped and zeta is constant.)
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from stac import distributions, types
from stac.learning import vtrace
from stac.learning.vtrace import Hyperparameters
from stac.types import Array, HeadOutput, Trajectory

# An infinite ratio would make (1 - alpha) IS + alpha min(1, IS) NaN. The cut changes
# nothing for plain V-trace; to leaky V-trace, e^20 is as good as any larger weight.
MAXIMUM_LOG_RATIO = 20.0


class Terms(NamedTuple):
    """The three terms, each with its coefficient, summed over batch and time."""

    value: Array
    policy: Array
    regulariser: Array


def importance(log_pi: Array, trajectory: Trajectory) -> Array:
    """pi(a_s|x_s) / mu(a_s|x_s), [B, n-1], without a gradient."""
    ratio = jnp.minimum(log_pi - trajectory.behaviour_log_prob, MAXIMUM_LOG_RATIO)
    return jax.lax.stop_gradient(jnp.exp(ratio))


def head_loss(
    output: HeadOutput,
    trajectory: Trajectory,  # rewards clipped where the domain clips
    hyper: Hyperparameters,
    distribution: distributions.Distribution,
    bootstrap: str = "target",  # of advantages, see vtrace.targets
    evaluated: Array | None = None,  # importance of the policy whose values are learned
) -> tuple[Terms, vtrace.Targets]:
    """Computes Algorithm 1 for one head: the terms of its loss, and its targets.

    Boundary transitions have no weight. Sums, not means: RMSProp's epsilon of 0.1 sets
    a scale, so a mean would be another algorithm. The head learns the values of its own
    policy, or with `evaluated` those of another one: targets and advantages are then
    that one's, and only rho, the weight of the policy gradient, is the head's own.
    """
    policy, valid = output.policy[:, :-1], types.valid(trajectory)
    log_pi = distribution.log_prob(policy, trajectory.action)
    own = importance(log_pi, trajectory)
    targets = vtrace.targets(
        own if evaluated is None else evaluated,
        trajectory.reward,
        trajectory.discount,
        valid,
        jax.lax.stop_gradient(output.value),
        hyper,
        bootstrap,
    )
    if evaluated is not None:
        rho = vtrace.leaky_weight(own, hyper["alpha_rho"], hyper["truncation"])
        targets = targets._replace(rho=rho, importance=own)
    errors = targets.value - output.value[:, :-1]
    gains = targets.rho * log_pi * targets.advantage
    regulariser = distribution.regulariser(policy)
    terms = Terms(
        value=hyper["g_v"] * jnp.sum(valid * errors**2),
        policy=-hyper["g_p"] * jnp.sum(valid * gains),
        # Line 18 with its sign mended: minimised, so entropy is rewarded.
        regulariser=hyper["g_e"] * jnp.sum(valid * regulariser),
    )
    return terms, targets


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
