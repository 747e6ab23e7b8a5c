"""The network of the whole family: torso, core and P heads (Fig. 1, Table 2).

Each head is two MLPs with one hidden layer, for the policy and for the value. Head 1
acts. Modules are named for the paper's parts, so that parameters read `torso/...`,
`head_2_value/...`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax.numpy as jnp
import numpy as np
from jax import Array

from stac.config import NetworkConfig
from stac.networks import core, torsos
from stac.types import CoreState, Params


class Head(NamedTuple):
    """One head over n rows."""

    policy: Array  # [B, n, num_outputs]
    value: Array  # [B, n]


class Network(NamedTuple):
    """Pure functions of parameters."""

    init: Callable[[Array], Params]  # from a random key
    initial_state: Callable[[int], CoreState]
    # (params, observation [E, ...], first [E], core state) -> policy [E, num_outputs]
    step: Callable[[Params, Array, Array, CoreState], tuple[Array, CoreState]]
    # (params, observation [B, n, ...], first [B, n], core state) -> P heads
    unroll: Callable[[Params, Array, Array, CoreState], tuple[Head, ...]]
    acting: Callable[[Params], Params]  # the part that `step` reads


class _ActorCritic:
    """Not a Haiku module itself, so that parameters are named for the parts alone."""

    def __init__(self, config: NetworkConfig, heads: int, num_outputs: int):
        self._config = config
        self._heads = heads
        self._num_outputs = num_outputs
        self._torso = torsos.TORSOS[config.torso](config)
        self._core = core.Core(config.lstm_size)

    def step(
        self, observation: Array, first: Array, state: CoreState
    ) -> tuple[Array, CoreState]:
        features = self._torso(observation)
        features, state = self._core.step(features, first, state)
        return self._mlp(features, "head_1_policy", self._num_outputs), state

    def unroll(
        self, observation: Array, first: Array, state: CoreState
    ) -> tuple[Head, ...]:
        features = hk.BatchApply(self._torso)(observation)
        features, _ = self._core.unroll(features, first, state)
        return tuple(self._head(features, p + 1) for p in range(self._heads))

    def _head(self, features: Array, number: int) -> Head:
        policy = self._mlp(features, f"head_{number}_policy", self._num_outputs)
        value = self._mlp(features, f"head_{number}_value", 1)
        return Head(policy=policy, value=value[..., 0])

    def _mlp(self, features: Array, name: str, outputs: int) -> Array:
        sizes = (self._config.head_hidden, outputs)
        return hk.nets.MLP(sizes, name=name)(features)


def make(
    config: NetworkConfig,
    heads: int,
    num_outputs: int,
    observation_shape: tuple[int, ...],
    observation_dtype: np.dtype,
) -> Network:
    """Builds the network of P = `heads` heads for one kind of observation."""

    def build() -> tuple[Callable, tuple[Callable, Callable]]:
        network = _ActorCritic(config, heads, num_outputs)
        return network.unroll, (network.step, network.unroll)

    transformed = hk.multi_transform(build)
    step, unroll = transformed.apply

    def init(key: Array) -> Params:
        observation = jnp.zeros((1, 1, *observation_shape), observation_dtype)
        state = core.initial_state(config.lstm_size, 1)
        return transformed.init(key, observation, jnp.ones((1, 1), bool), state)

    def acting(params: Params) -> Params:
        def needed(module: str, name: str, value: Array) -> bool:
            return "head_" not in module or "head_1_policy" in module

        return hk.data_structures.filter(needed, params)

    return Network(
        init=init,
        initial_state=lambda batch_size: core.initial_state(
            config.lstm_size, batch_size
        ),
        step=lambda params, *inputs: step(params, None, *inputs),
        unroll=lambda params, *inputs: unroll(params, None, *inputs),
        acting=acting,
    )
