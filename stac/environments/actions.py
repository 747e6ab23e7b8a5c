"""From a policy's sample to an action within the environment's bounds."""

from __future__ import annotations

import numpy as np


def squashed(
    samples: np.ndarray, num_envs: int, minimum: np.ndarray, maximum: np.ndarray
) -> np.ndarray:
    """Takes the tanh of samples and maps [-1, 1] linearly to the bounds.

    Args:
      samples: [E, A], of a Gaussian.
      num_envs: E.
      minimum: [A] finite.
      maximum: [A] finite.

    Returns:
      [E, A] float64, within the bounds.

    Raises:
      ValueError: the samples have another shape, or are NaN.
    """
    given = np.asarray(samples, np.float64)
    expected = (num_envs, len(minimum))
    if given.shape != expected:
        raise ValueError(f"actions {given.shape}: must be {expected}")
    if np.isnan(given).any():
        raise ValueError(f"actions are not numbers: {samples}")
    share_of_range = (np.tanh(given) + 1.0) / 2.0
    return np.clip(minimum + share_of_range * (maximum - minimum), minimum, maximum)
