"""Policies over actions: a softmax, and a squashed Gaussian, behind one interface.

A distribution turns a policy head's outputs y (last axis) into samples,
log-probabilities and the two divergences of the losses. All functions work on any
leading axes.

The Gaussian's actions are the samples *before* the tanh: the density of the squashed
action differs by a Jacobian that does not depend on the parameters, so it cancels in
the importance ratio, in the policy gradient and in the KL between two policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stac.types import Array

LOG_STD_MIN, LOG_STD_MAX = -4.0, 0.0  # sigma_min, sigma_max of Sec. 9.3; values ours
SOFT_LOG_STD_MIN, SOFT_LOG_STD_MAX = -20.0, 2.0  # of SAC, by its code
SAMPLED, STILL = 1.0, 0.0  # noise: all of it, as actors act, and none
_LOG_2PI = 1.8378770664093453


class Distribution(NamedTuple):
    """One family of policies."""

    bias: np.ndarray  # [outputs], of the head's last layer at the start
    sample: Callable[[Array, Array], Array]  # (key, y) -> action
    mode: Callable[[Array], Array]  # y -> the likeliest action
    log_prob: Callable[[Array, Array], Array]  # (y, action) -> [...]
    entropy: Callable[[Array], Array]  # y -> [...]
    regulariser: Callable[[Array], Array]  # y -> [...], what g_e multiplies; minimised
    kl: Callable[[Array, Array], Array]  # (y, y') -> KL(pi_y || pi_y'), [...]
    describe: Callable[[Array], dict[str, Array]]  # y -> [...] each, for the logs


def categorical(num_actions: int) -> Distribution:
    """Softmax over `num_actions` logits; actions are int32.

    The regulariser is the negative entropy, sum_a pi log pi: the signs of Eq. (1) and
    of Algorithm 1, line 18, would punish entropy and are misprints.
    """

    def log_prob(logits: Array, action: Array) -> Array:
        log_pi = jax.nn.log_softmax(logits)
        return jnp.take_along_axis(log_pi, action[..., None], axis=-1)[..., 0]

    def negative_entropy(logits: Array) -> Array:
        log_pi = jax.nn.log_softmax(logits)
        return jnp.sum(jnp.exp(log_pi) * log_pi, axis=-1)

    def kl(logits: Array, other: Array) -> Array:
        log_pi, log_other = jax.nn.log_softmax(logits), jax.nn.log_softmax(other)
        return jnp.sum(jnp.exp(log_pi) * (log_pi - log_other), axis=-1)

    return Distribution(
        bias=np.zeros(num_actions, np.float32),
        sample=lambda key, y: jax.random.categorical(key, y).astype(jnp.int32),
        mode=lambda y: jnp.argmax(y, axis=-1).astype(jnp.int32),
        log_prob=log_prob,
        entropy=lambda logits: -negative_entropy(logits),
        regulariser=negative_entropy,
        kl=kl,
        describe=lambda logits: {},
    )


def mean_and_log_std(outputs: Array) -> tuple[Array, Array]:
    """Splits [..., 2A] outputs into mean and log std, [..., A] each (Sec. 9.3)."""
    mean, spread = jnp.split(outputs, 2, axis=-1)
    half_range = 0.5 * (LOG_STD_MAX - LOG_STD_MIN)
    return jnp.tanh(mean), LOG_STD_MIN + half_range * (jnp.tanh(spread) + 1.0)


def tanh_normal(action_size: int, initial_std: float | None = None) -> Distribution:
    """Squashed diagonal Gaussian of `action_size` dimensions; actions before the tanh.

    The regulariser is KL(N(mean, std) || N(0, 1)) of the Gaussian before the tanh.

    Args:
      action_size: A.
      initial_std: the standard deviation at the start, which the head's bias sets;
        between exp(LOG_STD_MIN) and exp(LOG_STD_MAX). None: no bias, so 0.135.
    """
    middle = 0.5 * (LOG_STD_MIN + LOG_STD_MAX)
    log_std = middle if initial_std is None else math.log(initial_std)
    spread = math.atanh((log_std - middle) / (LOG_STD_MAX - middle))

    def sample(key: Array, outputs: Array) -> Array:
        mean, log_std = mean_and_log_std(outputs)
        return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)

    def log_prob(outputs: Array, action: Array) -> Array:
        return jnp.sum(_normal_log_prob(*mean_and_log_std(outputs), action), axis=-1)

    def entropy(outputs: Array) -> Array:  # of the Gaussian before the tanh
        _, log_std = mean_and_log_std(outputs)
        return jnp.sum(log_std + 0.5 * (1.0 + _LOG_2PI), axis=-1)

    def kl(outputs: Array, other: Array) -> Array:
        mean, log_std = mean_and_log_std(outputs)
        other_mean, other_log_std = mean_and_log_std(other)
        return _normal_kl(mean, log_std, other_mean, other_log_std)

    def regulariser(outputs: Array) -> Array:
        mean, log_std = mean_and_log_std(outputs)
        return _normal_kl(mean, log_std, jnp.zeros_like(mean), jnp.zeros_like(mean))

    def describe(outputs: Array) -> dict[str, Array]:
        """Shows first where a policy saturates or stops exploring."""
        mean, log_std = mean_and_log_std(outputs)
        return {
            "policy_mean": jnp.mean(jnp.abs(mean), axis=-1),
            "policy_std": jnp.mean(jnp.exp(log_std), axis=-1),
        }

    return Distribution(
        bias=np.repeat(np.array([0.0, spread], np.float32), action_size),
        sample=sample,
        mode=lambda outputs: mean_and_log_std(outputs)[0],
        log_prob=log_prob,
        entropy=entropy,
        regulariser=regulariser,
        kl=kl,
        describe=describe,
    )


def soft_mean_and_log_std(outputs: Array) -> tuple[Array, Array]:
    """Splits [..., 2A] outputs as SAC does: any mean, and a clipped log std."""
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    return mean, jnp.clip(log_std, SOFT_LOG_STD_MIN, SOFT_LOG_STD_MAX)


def soft_log_prob(outputs: Array, action: Array) -> Array:
    """SAC's log-probability of the action after the tanh, in [-1, 1]; [...].

    Unlike an importance ratio it keeps the tanh's Jacobian, for it is the value itself
    that SAC learns from (Haarnoja et al., 2018b, Eq. 26).

    Args:
      outputs: [..., 2A], of the policy.
      action: [..., A], before the tanh.
    """
    density = _normal_log_prob(*soft_mean_and_log_std(outputs), action)
    # log(1 - tanh(u)^2), which rounds to the log of zero where |u| is large
    slope = 2.0 * (math.log(2.0) - action - jax.nn.softplus(-2.0 * action))
    return jnp.sum(density - slope, axis=-1)


def with_noise(own: Distribution, noise: float, continuous: bool) -> Distribution:
    """The same policies with another noise.

    Args:
      own: the policies with all of their noise.
      noise: 1: sampled, as actors do; 0: the likeliest action. Continuous actions also
        have what is between: a sample's distance to the mean is multiplied by it.
      continuous: whether actions are.

    Raises:
      ValueError: discrete actions with another noise than 0 or 1.
    """
    if noise == SAMPLED:
        return own
    if not continuous and noise != STILL:
        raise ValueError(f"noise={noise}: discrete actions are sampled (1) or not (0)")
    if not continuous:
        return own._replace(sample=lambda key, outputs: own.mode(outputs))

    def scaled(key: Array, outputs: Array) -> Array:
        mean = own.mode(outputs)
        return mean + noise * (own.sample(key, outputs) - mean)

    return own._replace(sample=scaled)


def _normal_log_prob(mean: Array, log_std: Array, action: Array) -> Array:
    """log N(action; mean, std) of each dimension, [..., A]."""
    z = (action - mean) * jnp.exp(-log_std)
    return -0.5 * (z * z + _LOG_2PI) - log_std


def _normal_kl(mean: Array, log_std: Array, mean2: Array, log_std2: Array) -> Array:
    """KL(N(mean, std) || N(mean2, std2)) summed over the last axis."""
    scaled = (mean - mean2) * jnp.exp(-log_std2)
    ratio = jnp.exp(2.0 * (log_std - log_std2))
    return jnp.sum(log_std2 - log_std + 0.5 * (ratio + scaled * scaled - 1.0), axis=-1)
