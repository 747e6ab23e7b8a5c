"""The behaviour policy: head 1, or one of the two ensembles of Sec. 9.3.

Each row takes the distribution, a random key and the acting heads' policies
([E, num_outputs] each). It returns actions and their log-probability under the whole
behaviour policy, for the denominator of importance ratios.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from stac.distributions import Distribution
from stac.types import ActorOutput, Array

Policies = tuple[jax.Array, ...]


def head_1(distribution: Distribution, key: Array, policies: Policies) -> ActorOutput:
    """Samples from head 1, as the main agents do."""
    action = distribution.sample(key, policies[0])
    return ActorOutput(action, distribution.log_prob(policies[0], action))


def random_head(
    distribution: Distribution, key: Array, policies: Policies
) -> ActorOutput:
    """Draws a head anew for every step and environment: a uniform mixture.

    The paper does not say how long a drawn head acts; one step makes the mixture's
    log-probability exact.
    """
    choice_key, sample_key = jax.random.split(key)
    stacked = jnp.stack(policies)  # [P, E, num_outputs]
    choice = jax.random.randint(choice_key, stacked.shape[1:2], 0, len(policies))
    chosen = stacked[choice, jnp.arange(len(choice))]
    action = distribution.sample(sample_key, chosen)
    log_probs = jnp.stack([distribution.log_prob(y, action) for y in policies])
    mixture = jax.nn.logsumexp(log_probs, axis=0) - jnp.log(len(policies))
    return ActorOutput(action, mixture)


def average(distribution: Distribution, key: Array, policies: Policies) -> ActorOutput:
    """Samples from the policy whose outputs are the mean of the heads'."""
    outputs = jnp.stack(policies).mean(axis=0)
    action = distribution.sample(key, outputs)
    return ActorOutput(action, distribution.log_prob(outputs, action))


BEHAVIOURS: dict[str, Callable[[Distribution, Array, Policies], ActorOutput]] = {
    "head_1": head_1,
    "random_head": random_head,
    "average": average,
}
