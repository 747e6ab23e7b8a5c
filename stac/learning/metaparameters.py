"""From metaparameters to hyperparameters: the squash of Algorithm 2, line 10.

eta is a dictionary {name: [P]} of the self-tuned metaparameters only. gamma, lambda and
alpha are sigmoids themselves; the loss weights, and the truncation level where it is
learned, are sigmoids times their outer value. What is not tuned has its outer value.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from stac.config import RAW_LIMIT, AgentConfig, Outer
from stac.learning.losses import Hyperparameters
from stac.types import Array

Raw = dict[str, Array]  # eta: {name: [P]}


def init(config: AgentConfig) -> Raw:
    """Metaparameters at the start: [P] float32 for each tuned name (Table 3)."""

    def start(name: str) -> Array:
        raw = config.initial_raw_gamma if name == "gamma" else config.initial_raw
        return jnp.full(
            (config.heads,), raw, jnp.float32
        )  # strongly typed: one compile

    return {name: start(name) for name in config.self_tuned_names}


def squash(raw: Raw, outer: Outer, heads: int) -> Hyperparameters:
    """zeta(eta), [P] each: what the inner loss uses (Algorithm 2, line 10)."""

    def unit(name: str, otherwise: float) -> Array:
        if name in raw:
            return jax.nn.sigmoid(raw[name])
        return jnp.full((heads,), otherwise)

    def scaled(name: str, scale: float) -> Array:
        return unit(name, 1.0) * scale

    alpha = unit("alpha", outer.alpha)
    return Hyperparameters(
        gamma=unit("gamma", outer.gamma),
        lambda_=unit("lambda", outer.lambda_),
        alpha_rho=unit("alpha_rho", outer.alpha) if "alpha_rho" in raw else alpha,
        alpha_c=unit("alpha_c", outer.alpha) if "alpha_c" in raw else alpha,
        truncation=scaled("truncation", outer.truncation),
        g_v=scaled("g_v", outer.g_v),
        g_p=scaled("g_p", outer.g_p),
        g_e=scaled("g_e", outer.g_e),
    )


def clamped(raw: Raw) -> Raw:
    """Where their squash still has a gradient; Adam's steps may lead further."""
    return {
        name: jnp.clip(vector, -RAW_LIMIT, RAW_LIMIT) for name, vector in raw.items()
    }


def saturated(raw: Raw) -> dict[str, Array]:
    """1 for each that is at its limit, else 0, [P] each."""
    return {name: 1.0 * (jnp.abs(vector) >= RAW_LIMIT) for name, vector in raw.items()}


def outer_hyperparameters(outer: Outer) -> Hyperparameters:
    """The outer loss's zeta: Python numbers, for they are constants."""
    return Hyperparameters(
        gamma=outer.gamma,
        lambda_=outer.lambda_,
        alpha_rho=outer.alpha,
        alpha_c=outer.alpha,
        truncation=outer.truncation,
        g_v=outer.g_v,
        g_p=outer.g_p,
        g_e=outer.g_e,
    )


def of_head(hyper: Hyperparameters, head: int) -> Hyperparameters:
    """The scalars of one head, counted from 0."""
    return Hyperparameters(*(jnp.asarray(field)[head] for field in hyper))


def named(raw: Raw, config: AgentConfig) -> dict[str, Array]:
    """zeta(eta) by the names of the configuration, [P] each, for logs."""
    zeta = squash(raw, config.outer, config.heads)._asdict()
    zeta["lambda"] = zeta.pop("lambda_")
    if not {"alpha_rho", "alpha_c"} & set(raw):  # one alpha, as in the main agents
        zeta["alpha"] = zeta.pop("alpha_rho")
        del zeta["alpha_c"]
    if "truncation" not in raw:
        del zeta["truncation"]
    return zeta
