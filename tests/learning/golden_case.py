"""The golden files' tiny network, and their cases as the product's own types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from stac import distributions
from stac.agents.base import no_devices
from stac.config import AgentConfig, OptimizerConfig, Outer, metaparameter_table
from stac.learning import update
from stac.types import Array, HeadOutput, Params, Trajectory, Tree
from tests.conftest import load_golden

EXTRA_METAPARAMETERS = tuple(row.name for row in metaparameter_table.TABLE if row.extra)
_COMPILED: dict[tuple[Any, ...], Callable[..., Any]] = {}


class Case(NamedTuple):
    rule: update.Rule
    state: update.State
    trajectory: Trajectory


def unroll(
    params: Params, trajectory: Trajectory, gamma: Array
) -> tuple[HeadOutput, ...]:
    """h = tanh(x W + b), then one affine policy and value a head."""
    hidden = jnp.tanh(trajectory.observation @ params["w_torso"] + params["b_torso"])
    heads = zip(
        params["w_policy"],
        params["b_policy"],
        params["w_value"],
        params["b_value"],
        strict=True,
    )
    return tuple(
        HeadOutput(policy=hidden @ wp + bp, value=hidden @ wv + bv)
        for wp, bp, wv, bv in heads
    )


@functools.cache
def tiny(name: str = "categorical_3_heads", **agent: Any) -> Case:
    """One golden file in double precision; the extra metaparameters begin at 1.5."""
    golden = load_golden(name)
    start = np.full(len(golden["case"]["raw"]["gamma"]), 1.5)
    golden["case"]["raw"] |= dict.fromkeys(EXTRA_METAPARAMETERS, start)
    return build(golden, np.float64, **agent)


def updated(case: Case) -> tuple[update.State, dict[str, Array]]:
    """What the product's update makes of a case."""
    return compiled(case.rule)(case.state, case.trajectory)


def compiled(
    rule: update.Rule, all_sum: Callable[[Tree], Tree] = no_devices
) -> Callable[..., tuple[update.State, dict[str, Array]]]:
    """The product's update of (state, trajectory), compiled once for all tests."""
    # A distribution has no hash; what is compiled keeps it, and so its identity.
    key = (*rule._replace(distribution=None), id(rule.distribution), all_sum)
    if key not in _COMPILED:
        _COMPILED[key] = jax.jit(
            lambda state, trajectory: update.update(rule, state, trajectory, all_sum)
        )
    return _COMPILED[key]


def build(golden: dict[str, Any], dtype: Any, **agent: Any) -> Case:
    """One golden file as rule, state and batch; `agent` changes the agent's row."""
    case = golden["case"]
    array = lambda value: np.asarray(value, dtype)  # noqa: E731
    outer = {"lambda_" if k == "lambda" else k: v for k, v in case["outer"].items()}
    heads = len(case["raw"]["gamma"])
    discrete = golden["kind"] == "categorical"
    action = np.asarray(case["action"], np.int32 if discrete else dtype)
    width = np.shape(case["params"]["b_policy"])[-1]
    rule = update.Rule(
        unroll=unroll,
        distribution=distributions.categorical(width)
        if discrete
        else distributions.tanh_normal(width // 2),
        agent=AgentConfig(
            **{"heads": heads, "reward_clip": 0.0, "outer": Outer(**outer), **agent}
        ),
        optimizer=_optimizer(case),
        trajectories_per_update=action.shape[0],
        transitions_per_update=action.shape[0] * action.shape[1],
        frames_per_update=1,
        total_frames=1,
    )
    params = _tree(case["params"], dtype)
    state = update.init(rule, params, np.zeros(2, np.uint32))
    raw = {name: array(case["raw"][name]) for name in state.metaparameters}
    state = state._replace(
        optimizer=state.optimizer._replace(nu=_tree(case["nu"], dtype)),
        metaparameters=raw,
        meta_optimizer=jax.tree.map(
            lambda leaf: leaf.astype(dtype) if leaf.ndim else leaf, state.meta_optimizer
        ),
    )
    boundary = np.asarray(case["valid"]) == 0
    start = np.zeros((len(boundary), 1), bool)
    trajectory = Trajectory(
        observation=array(case["x"]),
        first=np.concatenate([start, boundary], axis=1),
        action=action,
        behaviour_log_prob=array(case["behaviour_log_prob"]),
        reward=array(case["reward"]),
        discount=array(case["discount"]),
        core_state=(),
    )
    return Case(rule, state, trajectory)


def _optimizer(case: dict[str, Any]) -> OptimizerConfig:
    rms, meta = case["optimizer"], case["meta_optimizer"]
    return OptimizerConfig(
        learning_rate=rms["learning_rate"],
        end_learning_rate=rms["learning_rate"],
        rms_decay=rms["decay"],
        rms_epsilon=rms["eps"],
        max_gradient_norm=0.0,
        meta_learning_rate=meta["learning_rate"],
        meta_b1=meta["b1"],
        meta_b2=meta["b2"],
        meta_epsilon=meta["eps"],
    )


def _tree(tree: dict[str, Any], dtype: Any) -> Tree:
    return {name: np.asarray(value, dtype) for name, value in tree.items()}
