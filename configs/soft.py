"""Numbers of the soft actor-critics in any domain with continuous actions.

"SAC-v2" is Haarnoja et al. (2018b), Table 1; "Meta-SAC" is Wang and Ni (2020), C.1 and
C.2. Both papers have one environment and one update for each of its steps.
"""

from __future__ import annotations

import dataclasses

from stac.agents import make
from stac.config import (
    BatchConfig,
    Config,
    NetworkConfig,
    OptimizerConfig,
)

STEPS = 10  # of the environment, between two looks at new parameters; ours


def fitted(config: Config) -> Config:
    """A domain's configuration, with the numbers of its agent where that is soft."""
    if not make.is_soft(config.agent.name):
        return config
    return dataclasses.replace(
        config,
        network=NetworkConfig(torso="mlp", mlp_hiddens=(256, 256)),  # both
        optimizer=OptimizerConfig(
            learning_rate=3e-4,  # both; it is constant
            rms_epsilon=1e-12,  # Meta-SAC, of its policy
            max_gradient_norm=0.0,
            meta_learning_rate=3e-4,  # both, of log alpha
            meta_epsilon=1e-8,  # Adam's own
        ),
        batch=BatchConfig(batch_size=1, unroll_length=STEPS + 1, overlap=1),
        runtime=dataclasses.replace(
            config.runtime,
            num_actors=1,
            envs_per_actor=1,
            evaluate_every=10_000,  # Meta-SAC, 10 episodes each
        ),
        total_frames=1_000_000,  # Meta-SAC's shortest
    )
