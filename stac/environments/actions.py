"""From a policy's sample to an action of the environment."""

from __future__ import annotations

import numpy as np

from stac.environments.base import BatchedEnvironment


def scaled(samples: np.ndarray, environment: BatchedEnvironment) -> np.ndarray:
    """Takes the tanh of samples and maps [-1, 1] linearly to the environment's bounds.

    Args:
      samples: [E, A], of a Gaussian.
      environment: with finite bounds.

    Returns:
      [E, A] float64, within the bounds.

    Raises:
      ValueError: the samples have another shape, or are NaN.
    """
    spec, given = environment.spec, np.asarray(samples, np.float64)
    low, high = spec.action_minimum, spec.action_maximum
    assert low is not None
    assert high is not None
    expected = (environment.num_envs, spec.num_actions)
    if given.shape != expected:
        raise ValueError(f"actions {given.shape}: must be {expected}")
    if np.isnan(given).any():
        raise ValueError(f"actions are not numbers: {samples}")
    return np.clip(low + (np.tanh(given) + 1.0) / 2.0 * (high - low), low, high)


def checked(choices: np.ndarray, environment: BatchedEnvironment) -> np.ndarray:
    """Discrete actions as int32.

    Raises:
      ValueError: they have another shape than [E], or are not in [0, num_actions).
    """
    count, given = environment.spec.num_actions, np.asarray(choices)
    within = (given >= 0) & (given < count)
    if given.shape != (environment.num_envs,) or not within.all():
        raise ValueError(
            f"actions {choices}: must be {environment.num_envs} in [0, {count})"
        )
    return given.astype(np.int32)
