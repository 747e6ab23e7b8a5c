"""Hyperparameters of the soft actor-critics: SAC, SAC-v2 and Meta-SAC.

Sources: "SAC-v2" is Haarnoja et al. (2018b), its Appendix D; "Meta-SAC" is Wang and Ni
(2020). The learning rates, RMSProp's constants and those of the temperature's Adam are
in `OptimizerConfig`; the hidden layers are `network.mlp_hiddens`.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated

from stac.config.checks import AtLeastOne, Checked, Count, Fraction, Positive, check

TEMPERATURES = ("fixed", "entropy", "meta")


@dataclasses.dataclass(frozen=True)
class Soft(Checked, section="agent.soft."):
    """The temperature, its tuning, and the replay."""

    # How it is tuned: not at all, by an entropy target (SAC-v2), or by its metagradient
    # (Meta-SAC).
    temperature: Annotated[str, TEMPERATURES] = "fixed"
    alpha: Positive = 1.0  # the temperature, or where it starts
    # SAC-v2's target for each action dimension.
    entropy_per_action: Annotated[float, "(-inf, inf)"] = -1.0
    gamma: Fraction = 0.99  # discount
    tau: Fraction = 0.005  # of the targets' moving average (SAC-v2, Table 1)
    minibatch: AtLeastOne = 256  # transitions; Meta-SAC draws two for each update
    updates_per_step: Positive = 1.0  # of an environment
    first_steps: Count = 10_000  # before the first update (Meta-SAC, C.1); at random
    replay_capacity: AtLeastOne = 1_000_000  # transitions
    policy_optimizer: Annotated[str, ("adam", "rmsprop")] = "adam"  # meta: rmsprop
    alpha_clip: Positive = 0.05  # of the metagradient (Meta-SAC, C.2)
    initial_states: AtLeastOne = 256  # D_0 (Meta-SAC, C.2)
    # The ablations of Meta-SAC:
    meta_states: Annotated[str, ("initial", "replay")] = "initial"  # D.1
    resample: bool = True  # D.2: another minibatch for the policy and Q than for alpha
    meta_value: Annotated[str, ("soft", "classic")] = "soft"  # D.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            self.temperature != "meta" or self.policy_optimizer == "rmsprop",
            "agent.soft.policy_optimizer=adam: the metagradient goes through rmsprop:"
            " use --config.agent.soft.policy_optimizer=rmsprop",
        )
        check(
            self.temperature != "meta" or self.alpha <= 1.0,
            f"agent.soft.alpha={self.alpha}: must be at most 1, the largest"
            " temperature of Meta-SAC",
        )
