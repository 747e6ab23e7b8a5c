"""The networks of the soft actor-critics: a policy, and two Q functions.

All are MLPs with relu and the hidden layers `network.mlp_hiddens`; weights begin
uniform after Glorot and Bengio (2010), biases at zero, as in the code of Meta-SAC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax.numpy as jnp

from stac.config import NetworkConfig
from stac.environments.base import EnvironmentSpec
from stac.types import Array, Params


class Network(NamedTuple):
    """Pure functions of parameters."""

    init_policy: Callable[[Array], Params]  # from a random key
    init_critics: Callable[[Array], Params]
    policy: Callable[[Params, Array], Array]  # observation [S, F] -> outputs [S, 2A]
    # (params, observation [S, F], action in [-1, 1] [S, A]) -> both values, [S] each
    critics: Callable[[Params, Array, Array], tuple[Array, Array]]


def make(config: NetworkConfig, num_outputs: int, spec: EnvironmentSpec) -> Network:
    """Builds the networks.

    Args:
      config: for the hidden layers.
      num_outputs: of the policy.
      spec: of the environments.
    """
    uniform = hk.initializers.VarianceScaling(1.0, "fan_avg", "uniform")

    def mlp(outputs: int, name: str) -> hk.nets.MLP:
        sizes = (*config.mlp_hiddens, outputs)
        return hk.nets.MLP(sizes, w_init=uniform, name=name)

    def policy(observation: Array) -> Array:
        return mlp(num_outputs, "policy")(jnp.asarray(observation))

    def critics(observation: Array, action: Array) -> tuple[Array, Array]:
        inputs = jnp.concatenate([observation, action], axis=-1)
        first, second = (mlp(1, name)(inputs)[..., 0] for name in ("q_1", "q_2"))
        return first, second

    acting, valuing = hk.transform(policy), hk.transform(critics)
    observation = jnp.zeros((1, *spec.observation_shape))
    action = jnp.zeros((1, spec.num_actions))
    return Network(
        init_policy=lambda key: acting.init(key, observation),
        init_critics=lambda key: valuing.init(key, observation, action),
        policy=lambda params, *inputs: acting.apply(params, None, *inputs),
        critics=lambda params, *inputs: valuing.apply(params, None, *inputs),
    )
