"""From metaparameters to hyperparameters: the squash of Algorithm 2, line 10.

eta is a dictionary {name: [P]} of the self-tuned metaparameters only; zeta is one of
all hyperparameters. Both have the names of `stac.config.metaparameter_table`, which
says how each is squashed.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from stac.config import RAW_LIMIT, AgentConfig, Outer, metaparameter_table
from stac.learning.vtrace import Hyperparameters
from stac.types import Array

Raw = dict[str, Array]  # eta: {name: [P]}


def init(config: AgentConfig) -> Raw:
    """Returns eta at the start: [P] float32 for each tuned name (Table 3)."""
    starts = {
        row.name: getattr(config, row.initial) for row in metaparameter_table.TABLE
    }
    return {  # float32 and not weakly typed, so that the update compiles once
        name: jnp.full((config.heads,), starts[name], jnp.float32)
        for name in config.self_tuned_names
    }


def squash(raw: Raw, outer: Outer, heads: int) -> dict[str, Array]:
    """Returns zeta(eta), [P] each, for the inner loss (Algorithm 2, line 10)."""
    zeta: dict[str, Array] = {}
    for row in metaparameter_table.TABLE:
        value = getattr(outer, row.outer)
        if row.name in raw:
            squashed = jax.nn.sigmoid(raw[row.name])
            zeta[row.name] = squashed * value if row.scaled else squashed
        elif row.part_of:
            zeta[row.name] = zeta[row.part_of]
        else:
            zeta[row.name] = jnp.full((heads,), value)
    return zeta


def outer_hyperparameters(outer: Outer) -> Hyperparameters:
    """Returns the outer loss's zeta: Python numbers, for they are constants."""
    return {row.name: getattr(outer, row.outer) for row in metaparameter_table.TABLE}


def of_head(zeta: dict[str, Array], head: int) -> Hyperparameters:
    """Returns the scalars of one head, counted from 0."""
    return {name: vector[head] for name, vector in zeta.items()}


def clamped(raw: Raw) -> Raw:
    """Keeps eta where its squash has a gradient; Adam's steps may lead further."""
    return {
        name: jnp.clip(vector, -RAW_LIMIT, RAW_LIMIT) for name, vector in raw.items()
    }


def saturated(raw: Raw) -> dict[str, Array]:
    """Returns 1 for each entry that is at its limit, else 0; [P] each."""
    return {name: 1.0 * (jnp.abs(vector) >= RAW_LIMIT) for name, vector in raw.items()}


def logged(raw: Raw, config: AgentConfig) -> dict[str, Array]:
    """Returns the paper's six of zeta(eta) and those that are tuned, [P] each."""
    zeta = squash(raw, config.outer, config.heads)
    return {
        row.name: zeta[row.name]
        for row in metaparameter_table.TABLE
        if row.name in raw or not row.extra
    }
