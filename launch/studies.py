"""The studies of the paper as data: which agents, with which flags.

An arm is a label, an agent and its flags; a study compares its arms on some tasks and
seeds. Sources are Zahavy et al. (2020). Fig. 4(a) and (b) perturb the outer gamma and
g_v five times; the values are in the figure alone, so those here are ours but for the
range of gamma, which is that of Fig. 4(c).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from stac.agents.make import ACTOR_CRITICS

TUNED = "--config.agent.self_tuned="
GAMMAS = (0.99, 0.992, 0.995, 0.997, 0.999)  # Fig. 4(c)
VALUE_WEIGHTS = (0.15, 0.2, 0.3, 0.35)  # 0.25, the default, is among the gammas


class Arm(NamedTuple):
    """One curve of a study."""

    label: str  # of its workdirs
    agent: str  # a row of stac.agents.make
    flags: tuple[str, ...] = ()


class Study(NamedTuple):
    """Arms that are compared."""

    source: str
    about: str
    arms: tuple[Arm, ...]


def _ablation() -> tuple[Arm, ...]:
    """Subsets that are self-tuned, with and without auxiliary heads."""
    subsets = {
        "gamma": "gamma",
        "gamma_lambda": "gamma,lambda",
        "all_but_alpha": "gamma,lambda,g_v,g_p,g_e",
    }
    arms = []
    for fixed, tuned in (("impala", "stac"), ("impala_aux", "stacx")):
        arms += [
            Arm(fixed, fixed),
            *(Arm(f"{tuned}_{n}", tuned, (TUNED + s,)) for n, s in subsets.items()),
            Arm(tuned, tuned),
        ]
    return tuple(arms)


def _outer() -> tuple[Arm, ...]:
    values = {"gamma": GAMMAS, "g_v": VALUE_WEIGHTS}
    return tuple(
        Arm(
            f"{agent}_{name}{value:g}", agent, (f"--config.agent.outer.{name}={value}",)
        )
        for name, numbers in values.items()
        for value in numbers
        for agent in ("impala", "stacx")
    )


def _initial() -> tuple[Arm, ...]:
    """Raw values are before the sigmoid."""
    arms = [Arm("stacx", "stacx")]  # from 0.99, as the paper does otherwise
    for value in GAMMAS[1:]:
        raw = f"{math.log(value / (1 - value)):.3f}"
        gamma = f"--config.agent.initial_raw_gamma={raw}"
        everything = (gamma, f"--config.agent.initial_raw={raw}")
        arms.append(Arm(f"stacx_all_from{value:g}", "stacx", everything))
        arms.append(Arm(f"stacx_gamma_from{value:g}", "stacx", (gamma,)))
    return tuple(arms)


def _heads() -> tuple[Arm, ...]:
    more = (2, 3, 5, 8)
    arms = (Arm(f"heads{n}", "stacx", (f"--config.agent.heads={n}",)) for n in more)
    return (Arm("heads1", "stac"), *arms)


def _embedding() -> tuple[Arm, ...]:
    """STAC with gamma and lambda tuned alone, as in Sec. 9.5; STACX tunes all."""
    kinds = {"stac": ("none", "shared"), "stacx": ("none", "shared", "per_head")}
    tuned = {"stac": (f"{TUNED}gamma,lambda",), "stacx": ()}
    return tuple(
        Arm(
            f"{agent}_{kind}",
            agent,
            (f"--config.agent.gamma_embedding={kind}", *tuned[agent]),
        )
        for agent, names in kinds.items()
        for kind in names
    )


def _readings() -> tuple[Arm, ...]:
    """Readings of the paper (docs/paper.md), one at a time."""
    every: dict[str, tuple[str, ...]] = {
        "": (),
        "no_clip": ("optimizer.max_gradient_norm=0",),
        "batch_mean": ("agent.reduction=batch_mean",),
        "overlap1": ("batch.overlap=1",),
        "released_optimizer": (
            "optimizer.max_gradient_norm=0",
            "optimizer.rms_epsilon=0.1",
            "optimizer.rms_initial=1",
        ),
    }
    tuned = {  # of metagradients alone, where lambda begins at 1
        "mixed_bootstrap": ("agent.bootstrap=mixed",),
        "constant_clip": ("optimizer.clip_derivative=false",),
    }
    return tuple(
        Arm(
            f"{agent}_{name}".removesuffix("_"),
            agent,
            tuple(f"--config.{field}" for field in fields),
        )
        for agent, rows in (
            ("impala", every),
            ("impala_aux", every),
            ("stac", {**every, **tuned}),
            ("stacx", {**every, **tuned}),
        )
        for name, fields in rows.items()
    )


def _of(flag: str, *values: object) -> tuple[Arm, ...]:
    """STACX with each value of a flag."""
    name = flag.rpartition(".")[2]
    return tuple(
        Arm(f"stacx_{name}_{value}", "stacx", (f"--config.agent.{flag}={value}",))
        for value in values
    )


def _with_heads(flag: str, *values: str) -> tuple[Arm, ...]:
    """Both agents with auxiliary heads, tuned and not, with each value of a flag."""
    return tuple(
        Arm(f"{agent}_{value}", agent, (f"--config.agent.{flag}={value}",))
        for agent in ("impala_aux", "stacx")
        for value in values
    )


STUDIES: Mapping[str, Study] = {
    "agents": Study(
        "Fig. 2(a), 3", "the four agents", tuple(Arm(n, n) for n in ACTOR_CRITICS)
    ),
    "ablation": Study("Fig. 2(b)", "what is self-tuned", _ablation()),
    "robustness_outer": Study("Fig. 4(a, b)", "the outer gamma and g_v", _outer()),
    "robustness_init": Study("Fig. 4(c)", "where metaparameters begin", _initial()),
    "heads": Study("Sec. 9.3", "the number of heads", _heads()),
    "behaviour": Study(
        "Sec. 9.3",
        "the policy that acts",
        _of("behaviour", "head_1", "random_head", "average"),
    ),
    "values": Study(
        "not in the paper",
        "the policy whose values auxiliary heads learn: their own, or head 1's",
        _with_heads("evaluated", "own", "head_1"),
    ),
    "shaping": Study(
        "not in the paper",
        "the heads whose gradients reach torso and core: all, or head 1",
        _with_heads("shaped_by", "all", "head_1"),
    ),
    "embedding": Study("Sec. 9.5", "an embedding of gamma", _embedding()),
    "soft": Study(
        "Meta-SAC, Fig. 1",
        "the temperature: fixed, by an entropy target, by its metagradient",
        tuple(Arm(name, name) for name in ("sac_v1", "sac", "meta_sac")),
    ),
    "soft_ablation": Study(
        "Meta-SAC, Fig. 3",
        "the meta loss: its states, its minibatch, its Q",
        (
            Arm("meta_sac", "meta_sac"),
            *(
                Arm(f"meta_sac_{label}", "meta_sac", (f"--config.agent.soft.{field}",))
                for label, field in (
                    ("replayed_states", "meta_states=replay"),
                    ("one_minibatch", "resample=false"),
                    ("classic_q", "meta_value=classic"),
                )
            ),
        ),
    ),
    "kl": Study("Sec. 9.3", "the outer loss's KL", _of("outer.g_kl", 0, 0.3, 1, 2)),
    "readings": Study(
        "docs/paper.md", "readings of the paper, one at a time", _readings()
    ),
    "alphas": Study(
        "Fig. 5(b), Sec. 4.3",
        "one alpha, two, or a learned truncation",
        (
            Arm("stacx_alpha", "stacx"),
            Arm(
                "stacx_two_alphas",
                "stacx",
                (f"{TUNED}gamma,lambda,alpha_rho,alpha_c,g_v,g_p,g_e",),
            ),
            Arm(
                "stacx_truncation",
                "stacx",
                (f"{TUNED}gamma,lambda,alpha,truncation,g_v,g_p,g_e",),
            ),
        ),
    ),
}
