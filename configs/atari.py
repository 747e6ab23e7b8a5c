"""Atari's numbers: the Atari columns of Tables 2 and 3 of Zahavy et al. (2020).

"IMPALA" is Espeholt et al. (2018), its Atari hyperparameters: Table 3 lists only what
differs from them. What is not from either says why.
"""

from __future__ import annotations

from stac.config import (
    BatchConfig,
    Config,
    EnvironmentConfig,
    NetworkConfig,
    OptimizerConfig,
    Outer,
    choose,
)
from stac.configs import agents

NETWORKS = ("deep", "shallow")  # the paper's; IMPALA's small one, for a CPU


def config(
    game: str = "james_bond", agent: str = "stacx", network: str = "deep"
) -> Config:
    """The paper's run of one game.

    Args:
      game: the game's name as `stac.environments.atari` spells it.
      agent: a row of `stac.agents.variants`.
      network: one of `NETWORKS`.

    Raises:
      ConfigError: there is no such agent or network.
    """
    return Config(
        agent=agents.agent(
            agent,
            initial_raw=4.6,  # Table 3
            initial_raw_gamma=4.6,  # Table 3
            reward_clip=1.0,  # IMPALA
            reduction="sum",  # Alg. 1
            outer=_OUTER,
        ),
        network=NetworkConfig(
            torso=choose("network", network, NETWORKS),
            lstm_size=0,  # Table 2: stacked frames instead
            head_hidden=256,  # Table 2
        ),
        optimizer=_OPTIMIZER,
        batch=BatchConfig(
            batch_size=32,  # Table 3
            unroll_length=20,  # Table 3
            overlap=0,  # Table 3
        ),
        environment=EnvironmentConfig(
            domain="atari",
            task=game,
            protocol="impala",  # IMPALA: action set, no sticky actions, life loss
        ),
        total_frames=200_000_000,  # Table 3
    )


_OUTER = Outer(
    gamma=0.995,  # Table 3
    lambda_=1.0,  # Table 3
    alpha=1.0,  # Table 3
    g_v=0.25,  # Table 3
    g_p=1.0,  # Table 3
    g_e=0.01,  # Table 3
    g_kl=1.0,  # Table 3
    truncation=1.0,  # Alg. 2, line 3
)

_OPTIMIZER = OptimizerConfig(
    learning_rate=6e-4,  # Table 3
    end_learning_rate=0.0,  # Table 3
    rms_decay=0.99,  # Table 3
    rms_epsilon=0.1,  # Table 3
    max_gradient_norm=40.0,  # IMPALA
    meta_learning_rate=1e-3,  # Table 3
    meta_b1=0.9,  # Table 3
    meta_b2=0.999,  # Table 3
    meta_epsilon=1e-4,  # Table 3
)
