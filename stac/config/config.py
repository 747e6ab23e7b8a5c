"""The configuration: frozen dataclasses, every number with its unit and its source.

A configuration that cannot work is refused when it is built, with a `ConfigError` of
one line. Sources: "Table n", "Alg. n" and "Sec. n" are Zahavy et al. (2020); "IMPALA"
is Espeholt et al. (2018). The domains' values are in `configs/`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from stac.config import metaparameter_table
from stac.config.challenges import Challenges
from stac.config.checks import check, choose
from stac.config.metaparameter_table import METAPARAMETERS, RAW_LIMIT
from stac.config.runtime import RuntimeConfig

BEHAVIOURS = ("head_1", "random_head", "average")
GAMMA_EMBEDDINGS = ("none", "shared", "per_head")
TORSOS = ("deep", "shallow", "mlp", "residual_strided")
REDUCTIONS = ("sum", "mean")
OBSERVATIONS = ("features", "pixels")
WORKERS = ("auto", "serial", "processes")


@dataclasses.dataclass(frozen=True)
class Outer:
    """Hyperparameters of the outer loss; the inner loss starts near them (Table 3)."""

    gamma: float = 0.995  # discount; Atari 0.995, control 0.99
    lambda_: float = 1.0
    alpha: float = 1.0  # 1 is plain V-trace, 0 untruncated importance sampling
    g_v: float = 0.25  # value loss, no 1/2 in it
    g_p: float = 1.0
    g_e: float = 0.01  # entropy, or KL to the standard normal
    g_kl: float = 1.0  # KL of the updated to the old policy, head 1 (Eq. 3)
    truncation: float = 1.0  # rho bar = c bar (Alg. 2, line 3)

    def __post_init__(self) -> None:
        for row in metaparameter_table.TABLE:
            value = getattr(self, row.outer)
            in_range = value >= 0.0 if row.scaled else 0.0 <= value <= 1.0
            limits = "not be negative" if row.scaled else "be in [0, 1]"
            check(in_range, f"agent.outer.{row.name}={value}: must {limits}")
        check(self.g_kl >= 0.0, f"agent.outer.g_kl={self.g_kl}: must not be negative")
        check(
            self.truncation > 0,
            f"agent.outer.truncation={self.truncation}: must be positive",
        )


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """Which member of the family this is: heads and what is self-tuned."""

    name: str = "stacx"  # a row of stac.agents.make.FAMILIES
    heads: int = 3  # P
    self_tuned: str = ",".join(METAPARAMETERS)  # any of the table; "" for none
    initial_raw: float = 4.6  # sigmoid(4.6) = 0.99 (Table 3)
    initial_raw_gamma: float = 4.6  # gamma's own (Fig. 4(c), bottom; top sets both)
    reward_clip: float = 1.0  # clips to [-1, 1] in the loss only (IMPALA); 0 is off
    reduction: str = "sum"  # over batch and time (Alg. 1)
    behaviour: str = "head_1"  # who acts (Sec. 9.3)
    gamma_embedding: str = "none"  # Sec. 9.5
    outer: Outer = Outer()

    def __post_init__(self) -> None:
        check(self.heads >= 1, f"agent.heads={self.heads}: must be at least 1")
        self._check_self_tuned(self.self_tuned_names)
        for name in ("initial_raw", "initial_raw_gamma"):
            value = getattr(self, name)
            check(
                abs(value) < RAW_LIMIT,
                f"agent.{name}={value}: must be between -{RAW_LIMIT} and {RAW_LIMIT}",
            )
        check(self.reward_clip >= 0, "agent.reward_clip: must not be negative")
        choose("agent.reduction", self.reduction, REDUCTIONS)
        choose("agent.behaviour", self.behaviour, BEHAVIOURS)
        choose("agent.gamma_embedding", self.gamma_embedding, GAMMA_EMBEDDINGS)

    def _check_self_tuned(self, names: tuple[str, ...]) -> None:
        rows = metaparameter_table.TABLE
        for name in names:
            choose("metaparameter", name, [row.name for row in rows])
        check(
            len(set(names)) == len(names),
            f"agent.self_tuned={self.self_tuned}: names a metaparameter twice",
        )
        for whole in {row.part_of for row in rows} & set(names):
            parts = [row.name for row in rows if row.part_of == whole]
            check(
                not set(parts) & set(names),
                f"agent.self_tuned: choose {whole}, or {' and '.join(parts)}, not both",
            )

    @property
    def self_tuned_names(self) -> tuple[str, ...]:
        names = (name.strip() for name in self.self_tuned.split(","))
        return tuple(name for name in names if name)


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Table 2."""

    torso: str = "deep"  # "deep" is the paper's; "shallow" is IMPALA's small one
    lstm_size: int = 0  # 0: no recurrent core (Atari stacks frames)
    head_hidden: int = 256  # each head is an MLP of one hidden layer and the output
    mlp_hiddens: tuple[int, ...] = (256, 256)  # torso from features
    gamma_embedding_size: int = 16  # Sec. 9.5; the size is not given there
    # How a policy begins is not in the paper:
    policy_scale: float = 1.0  # of its last layer's first weights; 1 is Haiku's
    initial_std: float = 0.0  # of a Gaussian; 0: no bias, which makes it 0.135

    def __post_init__(self) -> None:
        choose("network.torso", self.torso, TORSOS)
        check(self.lstm_size >= 0, "network.lstm_size: must not be negative")
        check(self.head_hidden >= 1, "network.head_hidden: must be at least 1")
        check(
            len(self.mlp_hiddens) >= 1 and min(self.mlp_hiddens) >= 1,
            f"network.mlp_hiddens={self.mlp_hiddens}: sizes of at least one layer",
        )
        check(
            self.gamma_embedding_size >= 1,
            "network.gamma_embedding_size: must be at least 1",
        )
        check(self.policy_scale >= 0, "network.policy_scale: must not be negative")
        check(
            self.initial_std == 0 or 0.0184 < self.initial_std < 1.0,  # Sec. 9.3
            f"network.initial_std={self.initial_std}: must be between 0.0184 and 1,"
            " or 0",
        )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Table 3."""

    learning_rate: float = 6e-4  # at frame 0; linear in frames
    end_learning_rate: float = 0.0  # at total_frames
    rms_decay: float = 0.99
    rms_epsilon: float = 0.1  # inside the root
    rms_initial: float = 0.0  # the second moment's start
    max_gradient_norm: float = 40.0  # global norm, all heads (IMPALA); 0 is off
    meta_learning_rate: float = 1e-3
    meta_b1: float = 0.9
    meta_b2: float = 0.999
    meta_epsilon: float = 1e-4

    def __post_init__(self) -> None:
        check(
            self.learning_rate > 0,
            f"optimizer.learning_rate={self.learning_rate}: must be positive",
        )
        check(
            0 <= self.end_learning_rate <= self.learning_rate,
            f"optimizer.end_learning_rate={self.end_learning_rate}: must be between 0"
            f" and learning_rate={self.learning_rate}",
        )
        for name in ("rms_decay", "meta_b1", "meta_b2"):
            value = getattr(self, name)
            check(0 <= value < 1, f"optimizer.{name}={value}: must be in [0, 1)")
        for name in ("rms_epsilon", "meta_learning_rate", "meta_epsilon"):
            value = getattr(self, name)
            check(value > 0, f"optimizer.{name}={value}: must be positive")
        check(self.rms_initial >= 0, "optimizer.rms_initial: must not be negative")
        check(
            self.max_gradient_norm >= 0,
            "optimizer.max_gradient_norm: must not be negative; 0 is off",
        )


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """What one update reads (Table 3)."""

    batch_size: int = 32  # B, trajectories, over all learner devices together
    unroll_length: int = 20  # n, observations; the last one only bootstraps
    overlap: int = 0  # rows shared with the trajectory before; control 30

    def __post_init__(self) -> None:
        check(self.batch_size >= 1, "batch.batch_size: must be at least 1")
        check(self.unroll_length >= 2, "batch.unroll_length: must be at least 2")
        check(
            0 <= self.overlap < self.unroll_length,
            f"batch.overlap={self.overlap}: must be in [0, unroll_length)",
        )

    @property
    def period(self) -> int:
        """Environment steps between the starts of two trajectories."""
        return self.unroll_length - self.overlap


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """What is played. Each domain reads the fields it knows."""

    domain: str = "atari"  # a row of stac.environments.make.DOMAINS
    task: str = "pong"  # a ROM in snake_case, or domain.task
    protocol: str = "impala"  # Atari: a row of stac.environments.atari.PROTOCOLS
    threads: int = 0  # of one actor's environments; 0: its share of the cores
    observations: str = "features"  # control: features, or pixels of a camera
    workers: str = "auto"  # control: who steps the environments of one actor
    stagger: bool = True  # control: cut first episodes short, so that not all end at
    # once; their returns are left out
    challenges: Challenges = Challenges()  # realworld

    def __post_init__(self) -> None:
        choose("environment.observations", self.observations, OBSERVATIONS)
        choose("environment.workers", self.workers, WORKERS)
        check(self.threads >= 0, "environment.threads: must not be negative")


@dataclasses.dataclass(frozen=True)
class Config:
    """One run."""

    agent: AgentConfig = AgentConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig = BatchConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    total_frames: int = 200_000_000  # environment frames, action repeats included
    seed: int = 1

    def __post_init__(self) -> None:
        for name, value in flat(dataclasses.asdict(self)).items():
            number = isinstance(value, float)
            check(not number or math.isfinite(value), f"{name}={value}: must be finite")
        check(
            1 <= self.total_frames < 2**31 - 2**24,
            f"total_frames={self.total_frames}: must be in [1, 2^31 - 2^24)",
        )
        check(
            0 <= self.seed < 2**31,
            f"seed={self.seed}: must be in [0, 2^31)",
        )
        check(
            queue_capacity(self) >= self.batch.batch_size,
            f"runtime.queue_capacity={self.runtime.queue_capacity} cannot hold one"
            f" batch of batch.batch_size={self.batch.batch_size} trajectories",
        )


def queue_capacity(config: Config) -> int:
    """Trajectories that the queue holds: one batch where nothing else is set."""
    return config.runtime.queue_capacity or config.batch.batch_size


def frames_per_update(config: Config, frames_per_step: int) -> int:
    """Environment frames between two updates: new steps of a batch, times repeats."""
    return config.batch.batch_size * config.batch.period * frames_per_step


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"batch": {"overlap": 0}} -> {"batch.overlap": 0}."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
