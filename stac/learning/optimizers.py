"""The optimizers: RMSProp over theta, through which we differentiate, and Adam.

RMSProp's epsilon stands inside the root, as in TensorFlow: with an accumulator at zero
and epsilon outside, its derivative at a zero gradient is not finite.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from stac.config import OptimizerConfig
from stac.types import Array, Tree

Optimizer = optax.GradientTransformation


def rmsprop(config: OptimizerConfig) -> optax.GradientTransformation:
    """Scales gradients by 1 / sqrt(second moment + epsilon); no learning rate in it."""
    return optax.scale_by_rms(
        decay=config.rms_decay,
        eps=config.rms_epsilon,
        initial_scale=config.rms_initial,
        eps_in_sqrt=True,
    )


def meta_adam(config: OptimizerConfig) -> optax.GradientTransformation:
    """Adam over the metaparameters (Table 3)."""
    return optax.adam(
        config.meta_learning_rate,
        b1=config.meta_b1,
        b2=config.meta_b2,
        eps=config.meta_epsilon,
    )


def adam() -> optax.GradientTransformation:
    """Adam's directions with its usual constants; no learning rate in it."""
    return optax.scale_by_adam()


def learning_rate(config: OptimizerConfig, frames: Array, total_frames: int) -> Array:
    """Linear in environment frames, constant after `total_frames` (Table 3).

    `frames` are [] floating-point: a run may have more than an int32 holds.
    """
    share = jnp.clip(frames / float(total_frames), 0.0, 1.0)
    slope = config.end_learning_rate - config.learning_rate
    return config.learning_rate + slope * share


def clip_by_global_norm(
    gradient: Tree, maximum: float, derivative: bool = True
) -> tuple[Tree, Array]:
    """Scales the whole tree down to norm `maximum` if it is longer; 0 does nothing.

    Without `derivative` the factor is a constant under differentiation. With it, a clip
    that binds hides the gradient's length: metagradients of a common factor are zero.

    Returns the tree and its norm before.
    """
    norm = global_norm(gradient)
    if maximum == 0:
        return gradient, norm
    scale = jnp.minimum(1.0, maximum / norm)
    scale = scale if derivative else jax.lax.stop_gradient(scale)
    return jax.tree.map(lambda leaf: scale * leaf, gradient), norm


def global_norm(tree: Tree) -> Array:
    """Returns the norm of all leaves together; 1e-15 where there is no leaf.

    It is differentiable everywhere: a tiny floor keeps the root's derivative finite at
    zero.
    """
    squares = sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(tree))
    return jnp.sqrt(jnp.maximum(squares, 1e-30))
