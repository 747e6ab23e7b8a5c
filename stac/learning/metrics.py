"""The metrics of an update: flat dictionaries of scalars.

During an update, metrics are local sums over this device's transitions; `reduced` turns
them into global sums, and those named "mean/..." into means over valid transitions.
Names ending in "_max" are left to the runtime (see stac.agents.base).
"""

from __future__ import annotations

from collections.abc import Mapping

import jax.numpy as jnp

from stac import types
from stac.distributions import Distribution
from stac.learning import losses
from stac.types import AllSum, Array, HeadOutput, Trajectory

Metrics = dict[str, Array]


def of_policy(
    acting: HeadOutput, trajectory: Trajectory, distribution: Distribution
) -> Metrics:
    """Describes the policy that acts, before the update; of several, the first."""
    policy = acting.policy[:, :-1]
    columns = {
        "entropy": distribution.entropy(policy),
        "value": acting.value[:, :-1],
        "reward": trajectory.reward,
        **distribution.describe(policy),
    }
    return {
        f"mean/{name}": jnp.sum(types.valid(trajectory) * column)
        for name, column in columns.items()
    }


def of_head(terms: losses.Terms, importance: Array, valid: Array, head: int) -> Metrics:
    """Names one head's loss terms (sums with coefficients) and importance ratios."""
    suffix = f"head_{head + 1}"
    metrics = {f"loss/{name}/{suffix}": term for name, term in terms._asdict().items()}
    metrics[f"mean/importance/{suffix}"] = jnp.sum(valid * importance)
    metrics[f"importance/{suffix}_max"] = jnp.max(valid * importance)
    return metrics


def of_outer(terms: losses.Terms, kl: Array, total: Array) -> Metrics:
    """Names the outer loss's terms, its KL (without g_kl) and their total."""
    named = {f"outer/{name}": term for name, term in terms._asdict().items()}
    return {**named, "outer/kl": kl, "outer/total": total}


def reduced(metrics: Metrics, valid: Array, all_sum: AllSum) -> Metrics:
    """Turns local sums into global sums and means."""
    local = {name: m for name, m in metrics.items() if name.endswith("_max")}
    sums = {name: m for name, m in metrics.items() if name not in local}
    sums, count = all_sum((sums, jnp.sum(valid)))
    for name in [name for name in sums if name.startswith("mean/")]:
        sums[name.removeprefix("mean/")] = sums.pop(name) / jnp.maximum(count, 1.0)
    return {**sums, **local}


def saturation_alerts(values: Mapping[str, float]) -> dict[str, str]:
    """Returns a line for each metaparameter that is at its limit, in a row of logs."""
    alerts = {}
    for name in values:
        if name.startswith("saturated/") and values[name]:
            _, metaparameter, head = name.split("/")
            value = values[f"hyperparameters/{metaparameter}/{head}"]
            alerts[name] = (
                f"{metaparameter} of {head.replace('_', ' ')} is at the end of its"
                f" range: {value:.6g}"
            )
    return alerts


def by_head(prefix: str, vectors: Mapping[str, Array]) -> Metrics:
    """Turns {"gamma": [P]} into {"<prefix>/gamma/head_1": scalar, ...}."""
    return {
        f"{prefix}/{name}/head_{head + 1}": vector[head]
        for name, vector in vectors.items()
        for head in range(vector.shape[0])
    }
