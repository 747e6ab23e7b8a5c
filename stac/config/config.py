"""The configuration: frozen dataclasses, every number with its unit and its source.

A configuration that cannot work is refused when it is built, with a `ConfigError` of
one line. Sources: "Table n", "Alg. n" and "Sec. n" are Zahavy et al. (2020); "IMPALA"
is Espeholt et al. (2018). The domains' values are in `configs/`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from stac.config import metaparameter_table
from stac.config.challenges import Challenges
from stac.config.checks import (
    AtLeastOne,
    Checked,
    Count,
    Fraction,
    NotNegative,
    Positive,
    check,
    choose,
)
from stac.config.metaparameter_table import METAPARAMETERS, RAW_LIMIT
from stac.config.soft import Soft

# Over batch and time; "batch_mean" sums over time alone, "device_mean" is the mean over
# devices of each one's sum (a reading of Sec. 8).
REDUCTIONS = ("sum", "mean", "batch_mean", "device_mean")
BEHAVIOURS = ("head_1", "random_head", "average")
WORKERS = ("auto", "serial", "processes")
SHALLOW_PIXELS = 20  # a side: the least that the shallow torso has a window for
RUNTIMES = ("launchpad", "threads", "lockstep")
_MOST_UPDATES = 2**31 - 1  # they are counted in an int32, frames in Python's integers

T = TypeVar("T")

IMAGE_TORSOS = ("deep", "shallow", "minatar", "minatar_convolution", "residual_strided")
Torso = Annotated[str, (*IMAGE_TORSOS, "mlp")]  # those that take features come second
GammaEmbedding = Annotated[str, ("none", "shared", "per_head")]
Decay = Annotated[float, "[0, 1)"]
Copies = Annotated[int, "[0, 65536]"]
RawValue = Annotated[float, f"({-RAW_LIMIT:g}, {RAW_LIMIT:g})"]


@dataclasses.dataclass(frozen=True)
class Outer(Checked, section="agent.outer."):
    """Hyperparameters of the outer loss; the inner loss starts near them (Table 3)."""

    gamma: Fraction = 0.995  # discount; Atari 0.995, control 0.99
    lambda_: Fraction = 1.0
    alpha: Fraction = 1.0  # 1 is plain V-trace, 0 untruncated importance sampling
    g_v: NotNegative = 0.25  # value loss, no 1/2 in it
    g_p: NotNegative = 1.0
    g_e: NotNegative = 0.01  # entropy, or KL to the standard normal
    g_kl: NotNegative = 1.0  # KL of the updated to the old policy, head 1 (Eq. 3)
    truncation: Positive = 1.0  # rho bar = c bar (Alg. 2, line 3)


@dataclasses.dataclass(frozen=True)
class AgentConfig(Checked, section="agent."):
    """The agent: its heads, and the metaparameters that it tunes."""

    name: str = "stacx"  # a row of stac.agents.make.VARIANTS
    heads: AtLeastOne = 3  # P
    self_tuned: str = ",".join(METAPARAMETERS)  # any of the table; "" for none
    initial_raw: RawValue = 4.6  # sigmoid(4.6) = 0.99 (Table 3)
    initial_raw_gamma: RawValue = 4.6  # gamma's own (Fig. 4(c), bottom; top sets both)
    reward_clip: NotNegative = 1.0  # to [-1, 1] in the loss only (IMPALA); 0 is off
    reduction: Annotated[str, REDUCTIONS] = "sum"  # of losses; see REDUCTIONS
    # Of the advantage: v_s+1 (line 20), or lambda v_s+1 + (1 - lambda) V(x_s+1) (rlax).
    bootstrap: Annotated[str, ("target", "mixed")] = "target"
    # The policy whose values a head learns: its own, as in the paper, or head 1's.
    evaluated: Annotated[str, ("own", "head_1")] = "own"
    # The heads whose gradients reach torso and core: all, as in the paper, or head 1.
    shaped_by: Annotated[str, ("all", "head_1")] = "all"
    behaviour: Annotated[str, BEHAVIOURS] = "head_1"  # the policy that acts (Sec. 9.3)
    gamma_embedding: GammaEmbedding = "none"  # Sec. 9.5
    outer: Outer = Outer()
    soft: Soft = Soft(temperature="fixed")  # of the soft actor-critics alone

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, usual in (("evaluated", "own"), ("shaped_by", "all")):
            value = getattr(self, name)
            check(
                value == usual or self.behaviour == "head_1",
                f"agent.{name}={value}: needs agent.behaviour=head_1, the head that"
                " acts",
            )
        names = [row.name for row in metaparameter_table.TABLE]
        for name in self.self_tuned_names:
            choose("metaparameter", name, names)

    @property
    def self_tuned_names(self) -> tuple[str, ...]:
        names = self.self_tuned.replace(",", " ").split()
        return tuple(dict.fromkeys(names))


@dataclasses.dataclass(frozen=True)
class NetworkConfig(Checked, section="network."):
    """The network (Table 2)."""

    torso: Torso = "deep"  # "deep" is the paper's; "shallow" is IMPALA's small one
    torso_dense: Count = 0  # a dense layer after the residual torso; IMPALA's has 256
    torso_bfloat16: bool = False  # its layers' arithmetic, for accelerators
    lstm_size: Count = 0  # 0: no recurrent core (Atari stacks frames)
    head_hidden: AtLeastOne = 256  # of each head, an MLP with one hidden layer
    mlp_hiddens: tuple[int, ...] = (256, 256)  # torso from features
    gamma_embedding_size: AtLeastOne = 16  # Sec. 9.5; the size is not given there
    # How a policy begins is not in the paper:
    policy_scale: NotNegative = 1.0  # of its last layer's first weights; 1 is Haiku's
    # Of a Gaussian, within the range of Sec. 9.3; 0: no bias, which makes it 0.135.
    initial_std: Annotated[float, "(0.0184, 1) or 0"] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes = f"network.mlp_hiddens={self.mlp_hiddens}: sizes of at least one layer"
        check(min(self.mlp_hiddens, default=0) >= 1, sizes)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Checked, section="optimizer."):
    """The optimizers of the inner and the outer loss (Table 3)."""

    learning_rate: Positive = 6e-4  # at frame 0; linear in frames
    end_learning_rate: NotNegative = 0.0  # at total_frames
    rms_decay: Decay = 0.99
    rms_epsilon: Positive = 0.1  # inside the root
    rms_initial: NotNegative = 0.0  # the second moment's start
    max_gradient_norm: NotNegative = 40.0  # global norm, all heads (IMPALA); 0 is off
    clip_derivative: bool = True  # false: to the metagradient its factor is constant
    meta_learning_rate: Positive = 1e-3
    meta_b1: Decay = 0.9
    meta_b2: Decay = 0.999
    meta_epsilon: Positive = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.end_learning_rate <= self.learning_rate,
            f"optimizer.end_learning_rate={self.end_learning_rate}: must be at most"
            f" optimizer.learning_rate={self.learning_rate}",
        )


@dataclasses.dataclass(frozen=True)
class BatchConfig(Checked, section="batch."):
    """The batch of one update (Table 3)."""

    batch_size: AtLeastOne = 32  # B, trajectories, over all learner devices together
    # n, observations; the last one only bootstraps.
    unroll_length: Annotated[int, "[2, inf)"] = 20
    overlap: Count = 0  # rows shared with the trajectory before; control 30
    burn_in: Count = 0  # first rows that only bring the core's state up to date

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.burn_in < self.unroll_length - 1,
            f"batch.burn_in={self.burn_in}: must leave a transition, so be less than"
            f" batch.unroll_length - 1 = {self.unroll_length - 1}",
        )
        check(
            self.overlap < self.unroll_length,
            f"batch.overlap={self.overlap}: must be less than batch.unroll_length="
            f"{self.unroll_length}",
        )

    @property
    def period(self) -> int:
        """Environment steps between the starts of two trajectories."""
        return self.unroll_length - self.overlap


@dataclasses.dataclass(frozen=True)
class EnvironmentConfig(Checked, section="environment."):
    """The task. Each domain reads the fields that it knows."""

    domain: str = "atari"  # a row of stac.environments.make.DOMAINS
    task: str = "pong"  # a ROM in snake_case, or domain.task
    protocol: str = "impala"  # Atari: a row of stac.environments.atari.PROTOCOLS
    threads: Count = 0  # of one actor's environments; 0: its share of the cores
    # Control: features, or a camera's pixels.
    observations: Annotated[str, ("features", "pixels")] = "features"
    workers: Annotated[str, WORKERS] = "auto"  # control: stepped here, or by processes
    # Control: first episodes are cut short, as with 1,000 steps each all would end at
    # once; their returns are left out.
    stagger: bool = True
    challenges: Challenges = Challenges()  # realworld
    sticky_actions: Fraction = 0.1  # MinAtar: probability of the action before
    minimal_actions: bool = False  # MinAtar: only the actions that do something
    ramping: bool = True  # MinAtar: the difficulty rises within an episode


@dataclasses.dataclass(frozen=True)
class RuntimeConfig(Checked, section="runtime."):
    """How the work is spread; nothing here changes what an update computes."""

    name: Annotated[str, RUNTIMES] = "launchpad"
    num_actors: Copies = 2  # on this machine
    envs_per_actor: Copies = 0  # E; 0: by stac.environments.make.envs_per_actor
    # Trajectories; 0: one batch. Actors wait when it is full: every batch that waits in
    # it was acted with parameters one update older.
    queue_capacity: Count = 0
    # Indices of this host's devices; (): as stac.runtime.devices.split does.
    actor_devices: tuple[int, ...] = ()
    learner_devices: tuple[int, ...] = ()
    listen: str = ""  # launchpad: HOST:PORT, where actors of other machines may join
    logger: str = "tensorboard"  # names of stac.runtime.logs.trackers, or "none"
    log_every_seconds: Positive = 5.0
    evaluate_every: Count = 0  # frames between evaluations beside training; 0: none
    evaluate_episodes: Annotated[int, "[2, inf)"] = 10  # of each, by each way of acting
    keep_best: bool = False  # the best-scoring checkpoint, in best/
    checkpoint_every_seconds: Positive = 300.0
    checkpoints_to_keep: AtLeastOne = 3
    saved_replay_mb: Count = 700  # a larger replay is not part of checkpoints; 0: none
    # Of the last 100 updates; more that are passed over, for a loss or a gradient that
    # is not finite, stop the run.
    skipped_share: Fraction = 0.1
    actor_restarts: Count = 10  # of each actor, within so many minutes; 0: none
    actor_restart_minutes: AtLeastOne = 10
    # Without a sign of life: a fault; 0: never. Lockstep waits.
    silence_seconds: NotNegative = 180.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.name == "launchpad" or not self.listen,
            f"runtime.listen={self.listen}: only --runtime=launchpad lets actors of"
            " other machines join",
        )
        check(
            self.num_actors or self.listen,
            "runtime.num_actors=0: must be in [1, 65536], or 0 where others may join by"
            " --listen",
        )
        check(
            self.evaluate_every or not self.keep_best,
            "--best: the best of no evaluations: set --evaluate_every=FRAMES too",
        )


@dataclasses.dataclass(frozen=True)
class Config(Checked):
    """The configuration of one run."""

    agent: AgentConfig = AgentConfig()
    network: NetworkConfig = NetworkConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig = BatchConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    # Environment frames, action repeats included (Table 3).
    total_frames: AtLeastOne = 200_000_000
    seed: Annotated[int, f"[0, {2**31})"] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            queue_capacity(self) >= self.batch.batch_size,
            f"runtime.queue_capacity={self.runtime.queue_capacity} cannot hold one"
            f" batch of batch.batch_size={self.batch.batch_size} trajectories",
        )
        check(
            self.network.lstm_size or not self.batch.burn_in,
            f"batch.burn_in={self.batch.burn_in}: is for a recurrent core, and"
            " network.lstm_size=0 has none",
        )
        most = frames_per_update(self, frames_per_step=1) * _MOST_UPDATES
        check(
            self.total_frames <= most,
            f"total_frames={self.total_frames}: must be at most {most}, which are"
            f" {_MOST_UPDATES} updates",
        )


def queue_capacity(config: Config) -> int:
    """Trajectories that the queue holds: one batch where nothing else is set."""
    return config.runtime.queue_capacity or config.batch.batch_size


def frames_per_update(config: Config, frames_per_step: int) -> int:
    """Environment frames between two updates: new steps of a batch, times repeats."""
    return config.batch.batch_size * config.batch.period * frames_per_step


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """Returns the configuration with {"batch.batch_size": 8, …} changed, checked whole.

    Raises:
      ConfigError: there is no such name, or the changed configuration cannot work.
    """
    names = flat(dataclasses.asdict(config))
    for name in changes:
        choose("configuration key", name, names)
    return _changed(config, "", changes)


def _changed(section: T, prefix: str, changes: Mapping[str, Any]) -> T:
    """Sections are built before the section around them, which checks them together."""
    values = {}
    for name, value in vars(section).items():
        inner = dataclasses.is_dataclass(value)
        values[name] = (
            _changed(value, f"{prefix}{name}.", changes)
            if inner
            else changes.get(prefix + name, value)
        )
    return type(section)(**values)


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"batch": {"overlap": 0}} -> {"batch.overlap": 0}."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves
