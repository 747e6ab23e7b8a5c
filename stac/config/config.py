"""The configuration: frozen dataclasses, every number with its unit and its source.

A configuration that cannot work is refused when it is built, with a `ConfigError` of
one line. Sources: "Table n", "Alg. n" and "Sec. n" are Zahavy et al. (2020); "IMPALA"
is Espeholt et al. (2018). The domains' values are in `configs/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from stac.config import metaparameter_table
from stac.config.challenges import Challenges
from stac.config.checks import check, check_ranges, choose
from stac.config.metaparameter_table import METAPARAMETERS, RAW_LIMIT

BEHAVIOURS = ("head_1", "random_head", "average")
GAMMA_EMBEDDINGS = ("none", "shared", "per_head")
TORSOS = ("deep", "shallow", "mlp", "residual_strided")
REDUCTIONS = ("sum", "mean")
OBSERVATIONS = ("features", "pixels")
WORKERS = ("auto", "serial", "processes")
RUNTIMES = ("launchpad", "threads", "lockstep")


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
        ranges = {
            "[0, 1]": "gamma lambda_ alpha",
            "[0, inf)": "g_v g_p g_e g_kl",
            "(0, inf)": "truncation",
        }
        check_ranges("agent.outer.", self, ranges)


@dataclasses.dataclass(frozen=True)
class AgentConfig:
    """The agent: its heads, and the metaparameters that it tunes."""

    name: str = "stacx"  # a row of stac.agents.make.FAMILIES
    heads: int = 3  # P
    self_tuned: str = ",".join(METAPARAMETERS)  # any of the table; "" for none
    initial_raw: float = 4.6  # sigmoid(4.6) = 0.99 (Table 3)
    initial_raw_gamma: float = 4.6  # gamma's own (Fig. 4(c), bottom; top sets both)
    reward_clip: float = 1.0  # clips to [-1, 1] in the loss only (IMPALA); 0 is off
    reduction: str = "sum"  # over batch and time (Alg. 1)
    behaviour: str = "head_1"  # the policy that acts (Sec. 9.3)
    gamma_embedding: str = "none"  # Sec. 9.5
    outer: Outer = Outer()

    def __post_init__(self) -> None:
        ranges = {
            "[1, inf)": "heads",
            f"({-RAW_LIMIT:g}, {RAW_LIMIT:g})": "initial_raw initial_raw_gamma",
            "[0, inf)": "reward_clip",
        }
        check_ranges("agent.", self, ranges)
        choose("agent.reduction", self.reduction, REDUCTIONS)
        choose("agent.behaviour", self.behaviour, BEHAVIOURS)
        choose("agent.gamma_embedding", self.gamma_embedding, GAMMA_EMBEDDINGS)
        self._check_self_tuned(self.self_tuned_names)

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
    """The network (Table 2)."""

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
        sizes = f"network.mlp_hiddens={self.mlp_hiddens}: sizes of at least one layer"
        check(min(self.mlp_hiddens, default=0) >= 1, sizes)
        ranges = {
            "[0, inf)": "lstm_size policy_scale",
            "[1, inf)": "head_hidden gamma_embedding_size",
            "(0.0184, 1) or 0": "initial_std",  # Sec. 9.3
        }
        check_ranges("network.", self, ranges)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The optimizers of the inner and the outer loss (Table 3)."""

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
        ranges = {
            "(0, inf)": "learning_rate rms_epsilon meta_learning_rate meta_epsilon",
            f"[0, {self.learning_rate}]": "end_learning_rate",
            "[0, 1)": "rms_decay meta_b1 meta_b2",
            "[0, inf)": "rms_initial max_gradient_norm",
        }
        check_ranges("optimizer.", self, ranges)


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """The batch of one update (Table 3)."""

    batch_size: int = 32  # B, trajectories, over all learner devices together
    unroll_length: int = 20  # n, observations; the last one only bootstraps
    overlap: int = 0  # rows shared with the trajectory before; control 30

    def __post_init__(self) -> None:
        ranges = {
            "[1, inf)": "batch_size",
            "[2, inf)": "unroll_length",
            f"[0, {self.unroll_length})": "overlap",
        }
        check_ranges("batch.", self, ranges)

    @property
    def period(self) -> int:
        """Environment steps between the starts of two trajectories."""
        return self.unroll_length - self.overlap


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig:
    """The task. Each domain reads the fields that it knows."""

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
        check_ranges("environment.", self, {"[0, inf)": "threads"})


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    """How the work is spread; nothing here changes what an update computes."""

    name: str = "launchpad"
    num_actors: int = 2
    envs_per_actor: int = 32  # E
    queue_capacity: int = 0  # trajectories; 0: one batch. Actors wait when the queue is
    # full: every batch that waits in it was acted with parameters one update older
    # Indices of this host's devices; (): as stac.runtime.devices.split does
    actor_devices: tuple[int, ...] = ()
    learner_devices: tuple[int, ...] = ()
    log_every_seconds: float = 5.0
    checkpoint_every_seconds: float = 300.0
    checkpoints_to_keep: int = 3
    skipped_share: float = 0.1  # of the last 100 updates; more that are passed over,
    # for a loss or a gradient that is not finite, stop the run
    actor_restarts: int = 10  # of each actor, within so many minutes; 0: none
    actor_restart_minutes: int = 10
    silence_seconds: float = 180.0  # no sign of life for so long is a fault; 0: none is

    def __post_init__(self) -> None:
        choose("runtime", self.name, RUNTIMES)
        ranges = {
            "[1, inf)": "num_actors envs_per_actor checkpoints_to_keep"
            " actor_restart_minutes",
            "[0, inf)": "queue_capacity actor_restarts silence_seconds",
            "[0, 1]": "skipped_share",
            "(0, inf)": "log_every_seconds checkpoint_every_seconds",
        }
        check_ranges("runtime.", self, ranges)
        check(
            not (self.name == "launchpad" and self.actor_devices),
            "runtime.actor_devices: launchpad's actors are processes on the CPU: leave"
            " it out, or use --runtime=threads",
        )


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of one run."""

    agent: AgentConfig = AgentConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig = BatchConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    total_frames: int = 200_000_000  # environment frames, action repeats included
    seed: int = 1

    def __post_init__(self) -> None:
        below = {f"[1, {2**31 - 2**24})": "total_frames", f"[0, {2**31})": "seed"}
        check_ranges("", self, below)
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
