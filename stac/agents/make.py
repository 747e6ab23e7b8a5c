"""The table of agents: a row for each name of `--agent`.

A family is a function that builds its agents from a configuration and the spec of their
environments. To add one, write that function and give its agents rows here. The command
line reads this table without JAX: a family is imported when it is built.

IMPALA is STACX with one head and nothing self-tuned. Fig. 2(a) compares the four
actor-critics; the bars of Fig. 2(b) are STAC and STACX with a smaller `self_tuned`.
"""

from __future__ import annotations

import pkgutil
from typing import Any, NamedTuple

from stac.agents import base
from stac.config import (
    IMAGE_TORSOS,
    METAPARAMETERS,
    SHALLOW_PIXELS,
    AgentConfig,
    Config,
    Soft,
    check,
    choose,
)
from stac.environments.base import EnvironmentSpec

_SOFT = "stac.agents.soft:build"
# Fields that the soft actor-critics do not read, but for those in the second line.
_NOT_SOFT = ("agent.", "network.", "optimizer.end_learning_rate")
_SOFT_READS = ("agent.name", "network.mlp_hiddens")


class Variant(NamedTuple):
    """One row."""

    heads: int = 1  # P: the acting head, and the auxiliary ones
    self_tuned: tuple[str, ...] = ()  # names of stac.config.metaparameter_table
    family: str = "stac.agents.actor_critic:build"  # "module:function"
    soft: Soft = AgentConfig.soft  # of a soft actor-critic


ACTOR_CRITICS = ("impala", "impala_aux", "stac", "stacx")
VARIANTS: dict[str, Variant] = {
    "impala": Variant(),
    "impala_aux": Variant(heads=3),
    "stac": Variant(self_tuned=METAPARAMETERS),
    "stacx": Variant(heads=3, self_tuned=METAPARAMETERS),
    "sac_v1": Variant(family=_SOFT, soft=Soft("fixed", alpha=0.2)),
    "sac": Variant(family=_SOFT, soft=Soft("entropy")),
    "meta_sac": Variant(family=_SOFT, soft=Soft("meta", policy_optimizer="rmsprop")),
}


def agent_config(name: str, **changes: Any) -> AgentConfig:
    """The row `name`, with a domain's numbers on top.

    Raises:
      ConfigError: there is no such row.
    """
    row = VARIANTS[choose("agent", name, VARIANTS)]
    tuned = ",".join(row.self_tuned)
    return AgentConfig(
        name=name, heads=row.heads, self_tuned=tuned, soft=row.soft, **changes
    )


def is_soft(name: str) -> bool:
    """Whether the row is a soft actor-critic's: off-policy, with a replay."""
    return VARIANTS[choose("agent", name, VARIANTS)].family == _SOFT


def reads(name: str, field: str) -> bool:
    """Whether the row reads a field of the configuration, such as "agent.heads"."""
    soft = field.startswith("agent.soft.")
    if is_soft(name):
        return soft or field in _SOFT_READS or not field.startswith(_NOT_SOFT)
    return not soft


def build(config: Config, spec: EnvironmentSpec, noise: float = 1.0) -> base.Agent:
    """Builds the configured agent for environments like `spec`.

    Args:
      config: the run.
      spec: of the environments.
      noise: with which it acts; see `distributions.with_noise`.

    Raises:
      ConfigError: there is no such agent, or it does not fit the environments.
    """
    check_fit(config, spec)
    row = VARIANTS[config.agent.name]
    agent: base.Agent = pkgutil.resolve_name(row.family)(config, spec, noise)
    return agent


def check_fit(config: Config, spec: EnvironmentSpec) -> None:
    """Checks that the agent can play these environments.

    Raises:
      ConfigError: it cannot; the message says which agent or number would.
    """
    fits = _check_soft if is_soft(config.agent.name) else _check_actor_critic
    fits(config, spec)


def _check_actor_critic(config: Config, spec: EnvironmentSpec) -> None:
    torso, shape = config.network.torso, spec.observation_shape
    image = len(shape) == 3
    large = image and min(shape[1:]) >= SHALLOW_PIXELS
    # Of a user's images, whose size is unknown before, "mlp" is but the default.
    forgotten = image and torso == "mlp" and config.environment.domain == "gymnasium"
    fits = large if torso == "shallow" else image or torso not in IMAGE_TORSOS
    cure = "shallow" if large else "minatar" if image else "mlp"
    check(
        fits and not forgotten,
        f"network.torso={torso}: observations have shape {shape}: set"
        f" --config.network.torso={cure}",
    )


def _check_soft(config: Config, spec: EnvironmentSpec) -> None:
    name = config.agent.name
    check(
        spec.continuous,
        f"--agent={name} is for continuous actions: use --agent=stacx, or a command"
        " with continuous ones (launch.mujoco, launch.control)",
    )
    check(
        len(spec.observation_shape) == 1,
        f"--agent={name} learns from features, but observations have shape"
        f" {spec.observation_shape}",
    )
    check(
        config.batch.overlap == 1,
        f"batch.overlap={config.batch.overlap}: must be 1 for --agent={name}, so that"
        " its replay gets every transition once",
    )
    first = config.agent.soft.first_steps * spec.frames_per_step
    check(
        config.total_frames > first,
        f"total_frames={config.total_frames}: --agent={name} learns after {first}"
        " frames: give it more, or set --config.agent.soft.first_steps",
    )
