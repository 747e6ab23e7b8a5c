"""Leaky V-trace: targets and advantages of Algorithm 1, lines 4-15 and 20 (Eq. 5).

Everything here is differentiable in the hyperparameters gamma, lambda, alpha_rho,
alpha_c and (as far as a minimum is) the truncation level; the metagradient flows
through them. Callers stop the gradients of the inputs `importance` and `values`; no
gradient is stopped here. The paper's gamma is gamma times d_{s+1} here, and the last
transition's v_{s+1} is V of the last observation. Columns are transitions, as drawn in
stac.types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from stac.types import Array

# zeta: what Algorithm 1 reads, by the names of stac.config.metaparameter_table; scalars
# for one head, [P] for all.
Hyperparameters: TypeAlias = "Mapping[str, Array | float]"


class Targets(NamedTuple):
    """The results that the losses read, [B, n-1] each."""

    value: Array  # v_s, the target of V(x_s); V(x_s) itself on a boundary
    advantage: Array  # r_{s+1} + gamma d v_{s+1} - V(x_s)
    rho: Array  # weight of the policy gradient
    c: Array  # trace coefficient, lambda included
    importance: Array  # as it was given


def leaky_weight(
    importance: Array, alpha: Array | float, truncation: Array | float
) -> Array:
    """(1 - alpha) IS + alpha min(truncation, IS), lines 5 and 6; 1 is V-trace."""
    truncated = jnp.minimum(truncation, importance)
    return (1.0 - alpha) * importance + alpha * truncated


def targets(
    importance: Array,  # [B, n-1] pi(a_s|x_s) / mu(a_s|x_s)
    reward: Array,  # [B, n-1] r_{s+1}
    discount: Array,  # [B, n-1] d_{s+1}, 0 at a true end
    valid: Array,  # [B, n-1] 0 where the transition crosses into another episode
    values: Array,  # [B, n] V(x_s), the last one bootstraps
    hyper: Hyperparameters,  # of one head
    bootstrap: str = "target",  # of the advantage: v_{s+1}, or "mixed"
) -> Targets:
    """Computes the leaky V-trace targets of one head.

    A boundary transition has no error of its own and passes none back: its target is
    V(x_s), so that a time limit before it bootstraps from the final observation. The
    mixed bootstrap, lambda v_{s+1} + (1 - lambda) V(x_{s+1}), is that of
    `rlax.leaky_vtrace_td_error_and_advantage`; lambda's metagradient depends on it.

    Source: Zahavy et al. (2020), Algorithm 1 and Eq. (5); alpha_rho and alpha_c are one
    alpha in the main agents, and truncation is rho bar = c bar.
    """
    rho = leaky_weight(importance, hyper["alpha_rho"], hyper["truncation"])
    trace = leaky_weight(importance, hyper["alpha_c"], hyper["truncation"])
    c = hyper["lambda"] * trace
    continuation = hyper["gamma"] * discount
    delta = rho * (reward + continuation * values[:, 1:] - values[:, :-1])
    errors = _accumulate(valid * delta, valid * continuation * c)
    v = values[:, :-1] + errors
    v_next = jnp.concatenate([v[:, 1:], values[:, -1:]], axis=1)
    if bootstrap == "mixed":
        v_next = v_next + (1.0 - hyper["lambda"]) * (values[:, 1:] - v_next)
    advantage = reward + continuation * v_next - values[:, :-1]
    return Targets(v, advantage, rho, c, importance)


def _accumulate(delta: Array, decay: Array) -> Array:
    """e_s = delta_s + decay_s e_{s+1}, backwards in time over [B, n-1] (lines 9-12)."""

    def step(
        error: jax.Array, now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        error = now[0] + now[1] * error
        return error, error

    rows = (jnp.asarray(delta).T, jnp.asarray(decay).T)
    _, errors = jax.lax.scan(step, jnp.zeros_like(rows[0][0]), rows, reverse=True)
    return errors.T
