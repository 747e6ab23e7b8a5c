"""Torsos: from one observation to one feature vector (Table 2).

Images arrive as uint8 [N, C, H, W], as the environments ship them, and are turned to
float [N, H, W, C] here, on the device. Each torso maps [N, ...] to [N, features] and is
applied to a whole batch of trajectories at once, never inside a loop over time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from stac.config import NetworkConfig
from stac.networks import convolutions, pooling


def pixels(observation: Array) -> Array:
    """uint8 [N, C, H, W] to float32 [N, H, W, C] in [0, 1]."""
    return jnp.moveaxis(observation, 1, -1).astype(jnp.float32) / 255.0


class ResidualBlock(hk.Module):
    """Two 3x3 convolutions beside a skip connection; the size stays."""

    def __call__(self, x: Array) -> Array:
        channels = x.shape[-1]
        out = hk.Conv2D(channels, 3)(jax.nn.relu(x))
        out = hk.Conv2D(channels, 3)(jax.nn.relu(out))
        return x + out


@dataclasses.dataclass
class ResidualTorso(hk.Module):
    """The deep residual network of Espeholt et al. (2018), as Table 2 lists it.

    Three sections of a convolution and two residual blocks, with 16 ("13" in the table
    is a misprint), 32 and 32 channels for Atari. The size halves by a 3x3 max-pool with
    stride 2 (Atari) or by strided convolutions (control from pixels). The table has no
    dense layer between the convolutions and the heads, and so has none here unless
    `dense` gives its size: IMPALA's released network has one of 256.
    """

    channels: tuple[int, ...]
    pool: bool
    dense: int = 0
    name: str = "torso"

    def __call__(self, observation: Array) -> Array:
        x = pixels(observation)
        on_cpu = jax.default_backend() == "cpu"
        max_pool = pooling.max_pool_on_cpu if on_cpu else pooling.max_pool
        for channels in self.channels:
            x = hk.Conv2D(channels, 3, stride=1 if self.pool else 2)(x)
            if self.pool:
                x = max_pool(x)
            for _ in range(2):
                x = ResidualBlock()(x)
        x = hk.Flatten()(jax.nn.relu(x))
        return jax.nn.relu(hk.Linear(self.dense)(x)) if self.dense else x


class BlockConv2D(hk.Conv2D):
    """`hk.Conv2D` without padding, of a window of some strides, faster on a CPU.

    Blocks of s x s pixels are taken for pixels of s s C channels, so that a stride of s
    becomes 1. XLA's derivative by the input of a strided convolution is slow there.
    """

    def __init__(self, channels: int, window: int, stride: int):
        super().__init__(channels, window, stride, padding="VALID", name="conv2_d")

    def __call__(self, inputs: Array, *, precision: Any = None) -> Array:
        if jax.default_backend() != "cpu":
            return super().__call__(inputs, precision=precision)
        x, (window, _), (s, _) = inputs, self.kernel_shape, self.stride
        shape = (window, window, x.shape[-1], self.output_channels)
        scale = 1 / np.sqrt(np.prod(shape[:3]))
        w = hk.get_parameter("w", shape, init=hk.initializers.TruncatedNormal(scale))
        b = hk.get_parameter("b", shape[3:], init=jnp.zeros)
        down, right = ((size - window) // s + window // s for size in x.shape[1:3])
        x = x[:, : down * s, : right * s].reshape(len(x), down, s, right, s, -1)
        x = jnp.swapaxes(x, 2, 3).reshape(len(x), down, right, -1)
        w = w.reshape(window // s, s, window // s, s, *shape[2:])
        w = jnp.swapaxes(w, 1, 2).reshape(window // s, window // s, x.shape[-1], -1)
        return convolutions.convolution(x, w) + b


class ShallowTorso(hk.Module):
    """The small network of Espeholt et al. (2018): two convolutions, one dense."""

    def __call__(self, observation: Array) -> Array:
        x = pixels(observation)
        x = jax.nn.relu(BlockConv2D(16, 8, stride=4)(x))
        x = jax.nn.relu(BlockConv2D(32, 4, stride=2)(x))
        return jax.nn.relu(hk.Linear(256)(hk.Flatten()(x)))


@dataclasses.dataclass
class MinAtarTorso(hk.Module):
    """The network of Young and Tian (2019): a convolution and a dense layer of 128.

    Without the dense layer (0) the heads share the convolution alone, as on Atari the
    paper's heads share convolutions alone by our reading of Table 2.
    """

    dense: int
    name: str = "torso"

    def __call__(self, observation: Array) -> Array:
        x = jax.nn.relu(hk.Conv2D(16, 3, padding="VALID")(pixels(observation)))
        x = hk.Flatten()(x)
        return jax.nn.relu(hk.Linear(self.dense)(x)) if self.dense else x


@dataclasses.dataclass
class MlpTorso(hk.Module):
    """Dense layers over features (Table 2, control from features)."""

    hiddens: tuple[int, ...]
    name: str = "torso"

    def __call__(self, observation: Array) -> Array:
        image = observation.dtype == jnp.uint8
        x = pixels(observation) if image else observation.astype(jnp.float32)
        x = hk.Flatten()(x)
        return hk.nets.MLP(self.hiddens, activate_final=True)(x)


Torso = Callable[[Array], Array]

TORSOS: dict[str, Callable[[NetworkConfig], Torso]] = {
    "deep": lambda config: ResidualTorso((16, 32, 32), True, config.torso_dense),
    "shallow": lambda config: ShallowTorso(name="torso"),
    "minatar": lambda config: MinAtarTorso(128),
    "minatar_convolution": lambda config: MinAtarTorso(0),
    "mlp": lambda config: MlpTorso(config.mlp_hiddens),
    "residual_strided": lambda config: ResidualTorso(
        (32, 32, 32), False, config.torso_dense
    ),
}


def make(config: NetworkConfig) -> Torso:
    """The torso that a configuration names."""
    torso = TORSOS[config.torso](config)
    return _in_bfloat16(torso) if config.torso_bfloat16 else torso


def _in_bfloat16(torso: Torso) -> Torso:
    """Computes every layer in bfloat16; parameters and features stay float32."""

    def created(create, shape, dtype, init, context):  # type: ignore[no-untyped-def]
        return create(shape, jnp.float32, init)

    def read(get, value, context):  # type: ignore[no-untyped-def]
        return get(value.astype(jnp.bfloat16))

    def called(call, inputs, named, context):  # type: ignore[no-untyped-def]
        layer = isinstance(context.module, hk.Linear | hk.Conv2D)
        if layer and context.method_name == "__call__":
            inputs = [x.astype(jnp.bfloat16) for x in inputs]
        return call(*inputs, **named)

    def compute(observation: Array) -> Array:
        with (
            hk.custom_creator(created),
            hk.custom_getter(read),
            hk.intercept_methods(called),
        ):
            return torso(observation).astype(jnp.float32)

    return compute
