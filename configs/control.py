"""Control's numbers: the control columns of Tables 2 and 3 of Zahavy et al. (2020).

"IMPALA" is Espeholt et al. (2018): Table 3 lists only what differs from it. What is not
from either says why. The paper re-tuned the learning rate and the discount for control
and kept them in all three of its setups (Sec. 4.2): features, pixels, real world.
"""

from __future__ import annotations

import dataclasses

from stac.config import (
    BatchConfig,
    Config,
    EnvironmentConfig,
    NetworkConfig,
    OptimizerConfig,
    Outer,
    RuntimeConfig,
    choose,
)
from stac.configs import agents


def config(
    task: str = "walker.walk", agent: str = "stacx", observations: str = "features"
) -> Config:
    """The paper's run of one task of the DeepMind Control Suite.

    Args:
      task: `domain.task`, as `stac.environments.control` spells it.
      agent: a row of `stac.agents.variants`.
      observations: a row of `NETWORKS`.

    Raises:
      ConfigError: there is no such agent, or nothing of the kind can be observed.
    """
    return Config(
        agent=agents.agent(
            agent,
            initial_raw=4.6,  # Table 3
            initial_raw_gamma=4.6,  # Table 3
            reward_clip=0.0,  # off: rewards are in [0, 1] as they come
            reduction="sum",  # Alg. 1
            outer=_OUTER,
        ),
        network=NETWORKS[choose("observations", observations, NETWORKS)],
        optimizer=_OPTIMIZER,
        batch=BatchConfig(
            batch_size=24,  # Table 3
            unroll_length=40,  # Table 3
            overlap=30,  # Table 3
        ),
        environment=EnvironmentConfig(
            domain="control",
            task=task,
            observations=observations,
            stagger=True,  # every episode is 1,000 steps: else all would end at once
        ),
        runtime=RuntimeConfig(
            num_actors=2,  # ours; the paper does not say
            envs_per_actor=24,  # ours: one unroll of one actor is one batch
        ),
        total_frames=30_000_000,  # Table 3
    )


_SHARED = NetworkConfig(
    lstm_size=256,  # Table 2
    head_hidden=256,  # Table 2
    # The paper does not say how a policy begins. So it hardly looks at the state, and
    # its first steps seldom are too long: docs/results_control.md.
    policy_scale=0.01,  # ours; Andrychowicz et al. (2021) found the same
    initial_std=0.5,  # ours; theirs too
)
NETWORKS = {
    "features": dataclasses.replace(
        _SHARED,
        torso="mlp",
        mlp_hiddens=(256, 256),  # Table 2
    ),
    "pixels": dataclasses.replace(_SHARED, torso="residual_strided"),  # Table 2
}

_OUTER = Outer(
    gamma=0.99,  # Table 3
    lambda_=1.0,  # Table 3
    alpha=1.0,  # Table 3
    g_v=0.25,  # Table 3
    g_p=1.0,  # Table 3
    g_e=0.01,  # Table 3; of the KL to the standard normal (Sec. 4.2)
    g_kl=1.0,  # Table 3
    truncation=1.0,  # Alg. 2, line 3
)

_OPTIMIZER = OptimizerConfig(
    learning_rate=1e-3,  # Table 3
    end_learning_rate=1e-4,  # Table 3
    rms_decay=0.99,  # Table 3
    rms_epsilon=0.1,  # Table 3
    max_gradient_norm=40.0,  # IMPALA, its Atari table; Table 3 lists no other
    meta_learning_rate=1e-3,  # Table 3
    meta_b1=0.9,  # Table 3
    meta_b2=0.999,  # Table 3
    meta_epsilon=1e-4,  # Table 3
)
