"""The network of the whole family: torso, core and P heads (Fig. 1, Table 2).

Each head is two MLPs with one hidden layer, for the policy and for the value. Head 1
acts. Modules are named for the paper's parts, so that parameters read `torso/...`,
`head_2_value/...`.

Two variations of the paper touch the network. The average ensemble (Sec. 9.3) adds a
value MLP for the policy whose outputs are the mean of all heads'. The gamma embedding
(Sec. 9.5, after Xu et al., 2018) appends to each head's input a linear map of the
discount that this head learns with.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stac.config import AgentConfig, Config
from stac.environments.base import EnvironmentSpec
from stac.networks import lstm, torsos
from stac.types import CoreState, HeadOutput, Params


class Network(NamedTuple):
    """Pure functions of parameters; gamma is [P], read by an embedding only."""

    init: Callable[[Array], Params]  # from a random key
    initial_state: Callable[[int], CoreState]
    # (params, observation [E, ...], first [E], core state, gamma)
    #   -> the acting heads' policies [E, num_outputs], core state
    step: Callable[..., tuple[tuple[Array, ...], CoreState]]
    # (params, observation [B, n, ...], first [B, n], core state, gamma)
    #   -> P heads, and the average ensemble where there is one
    unroll: Callable[..., tuple[HeadOutput, ...]]
    # (params, observation [B, k, ...], first [B, k], core state) -> core state
    warm: Callable[..., CoreState]
    acting: Callable[[Params], Params]  # the part that `step` reads


class _Modules:
    """Torso, core and heads. No Haiku module, so that its name is in no parameter's."""

    def __init__(self, config: Config, policy_bias: np.ndarray):
        self._config = config.network
        self._agent = config.agent
        self._policy_bias = policy_bias
        self._torso = torsos.make(config.network)
        self._core = lstm.Core(config.network.lstm_size)

    def step(
        self, observation: Array, first: Array, state: CoreState, gamma: Array
    ) -> tuple[tuple[Array, ...], CoreState]:
        features = self._torso(observation)
        features, state = self._core.step(features, first, state)
        inputs = self._inputs(features, gamma, _acting_heads(self._agent))
        return tuple(self._policy(x, p + 1) for p, x in enumerate(inputs)), state

    def unroll(
        self, observation: Array, first: Array, state: CoreState, gamma: Array
    ) -> tuple[HeadOutput, ...]:
        features = hk.BatchApply(self._torso)(observation)
        features = self._core.unroll(features, first, state)
        heads = [
            HeadOutput(self._policy(x, p + 1), self._value(x, f"head_{p + 1}_value"))
            for p, x in enumerate(self._inputs(features, gamma, self._agent.heads))
        ]
        if self._agent.behaviour == "average":
            policy = jnp.stack([head.policy for head in heads]).mean(axis=0)
            heads.append(HeadOutput(policy, self._value(features, "average_value")))
        return tuple(heads)

    def warm(self, observation: Array, first: Array, state: CoreState) -> CoreState:
        features = hk.BatchApply(self._torso)(observation)
        return self._core.warm(features, first, state)

    def _inputs(self, features: Array, gamma: Array, heads: int) -> list[Array]:
        """Returns each head's input: the core's features, and its embedded discount."""
        seen = [features] * heads
        if self._agent.shaped_by == "head_1":
            seen[1:] = [jax.lax.stop_gradient(features)] * (heads - 1)
        kind = self._agent.gamma_embedding
        if kind == "none":
            return seen
        size = self._config.gamma_embedding_size
        names = ["gamma_embedding"]
        if kind == "per_head":
            names = [f"head_{p + 1}_gamma_embedding" for p in range(heads)]
        embeddings = [hk.Linear(size, name=name) for name in names]
        inputs = []
        for p in range(heads):
            embedded = embeddings[p % len(embeddings)](gamma[p : p + 1])
            embedded = jnp.broadcast_to(embedded, (*features.shape[:-1], size))
            inputs.append(jnp.concatenate([seen[p], embedded], axis=-1))
        return inputs

    def _policy(self, features: Array, number: int) -> Array:
        """An MLP of two layers; `policy_scale` scales the second one's weights."""
        hidden, bias = self._config.head_hidden, self._policy_bias
        name = f"head_{number}_policy"
        first = hk.nets.MLP((hidden,), activate_final=True, name=name)
        std = self._config.policy_scale / math.sqrt(hidden)  # Haiku's at scale 1
        output = hk.Linear(
            len(bias),
            w_init=hk.initializers.TruncatedNormal(std),
            b_init=hk.initializers.Constant(bias),
            name=f"{name}_output",
        )
        return output(first(features))

    def _value(self, features: Array, name: str) -> Array:
        sizes = (self._config.head_hidden, 1)
        return hk.nets.MLP(sizes, name=name)(features)[..., 0]


def make(config: Config, policy_bias: np.ndarray, spec: EnvironmentSpec) -> Network:
    """Builds the network for one kind of observation.

    Args:
      config: of the network, and of the agent for the number and use of its heads.
      policy_bias: [num_outputs], of each policy at the start.
      spec: of the environments.
    """
    initial_state = functools.partial(lstm.initial_state, config.network.lstm_size)

    def build() -> tuple[Callable, tuple[Callable, ...]]:
        network = _Modules(config, policy_bias)
        return network.unroll, (network.step, network.unroll, network.warm)

    transformed = hk.multi_transform(build)
    step, unroll, warm = transformed.apply

    def init(key: Array) -> Params:
        observation = jnp.zeros((1, 1, *spec.observation_shape), spec.observation_dtype)
        first, gamma = jnp.ones((1, 1), bool), jnp.ones(config.agent.heads)
        return transformed.init(key, observation, first, initial_state(1), gamma)

    def acting(params: Params) -> Params:
        needed = set(range(1, _acting_heads(config.agent) + 1))
        return hk.data_structures.filter(
            lambda module, name, value: _acts(module, needed), params
        )

    return Network(
        init=init,
        initial_state=initial_state,
        step=lambda params, *inputs: step(params, None, *inputs),
        unroll=lambda params, *inputs: unroll(params, None, *inputs),
        warm=lambda params, *inputs: warm(params, None, *inputs),
        acting=acting,
    )


def _acting_heads(agent: AgentConfig) -> int:
    """How many policies `step` computes: head 1's, or all of an ensemble."""
    return 1 if agent.behaviour == "head_1" else agent.heads


def _acts(module: str, heads: set[int]) -> bool:
    """Whether `step` of these heads (counted from 1) reads parameters of `module`."""
    part = module.split("/")[0]
    if part.endswith("_value"):
        return False
    number = part.removeprefix("head_").split("_")[0]
    return not part.startswith("head_") or int(number) in heads
