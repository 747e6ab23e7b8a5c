"""A slow twin of SAC, SAC-v2 and Meta-SAC in plain NumPy, in double precision.

It is written from the papers, "SAC-v2" being Haarnoja et al. (2018b) and "Meta-SAC"
Wang and Ni (2020), and shares nothing with the product. Networks are MLPs with relu,
their parameters flat vectors: of each layer the weights, then the biases. Gradients are
backpropagated by hand, and the metagradient is a difference of two meta losses.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
ADAM_B1, ADAM_B2, ADAM_EPSILON = 0.9, 0.999, 1e-8
RMS_DECAY = 0.99
_APART = 1e-5  # log alphas of the two meta losses, to either side


class Numbers(NamedTuple):
    """The constants of an update."""

    sizes: tuple[int, ...]  # of the policy's layers, its inputs the first
    critic_sizes: tuple[int, ...]
    temperature: str  # "fixed", "entropy" or "meta"
    gamma: float
    tau: float
    rate: float  # of both networks
    alpha_rate: float
    entropy_target: float
    alpha_clip: float
    policy_optimizer: str  # "adam" or "rmsprop"
    rms_epsilon: float
    max_norm: float  # of either network's gradient; 0: any
    from_replay: bool  # the states of the meta loss (Meta-SAC, D.1)


class Moments(NamedTuple):
    """Of an optimizer; RMSProp has the second one alone."""

    first: np.ndarray
    second: np.ndarray
    count: int


class State(NamedTuple):
    policy: np.ndarray  # [P]
    critics: np.ndarray  # [K, 2, C]: pairs, the soft one first
    targets: np.ndarray  # [K, 2, C]
    policy_moments: Moments
    critic_moments: Moments
    log_alpha: float
    alpha_moments: Moments


class Batch(NamedTuple):
    """A minibatch of S transitions."""

    observation: np.ndarray  # [S, F]
    action: np.ndarray  # [S, A] before the tanh
    reward: np.ndarray  # [S]
    discount: np.ndarray  # [S]
    next_observation: np.ndarray  # [S, F]
    noise: np.ndarray  # [S, A] of the action in the observation
    next_noise: np.ndarray  # [S, A] of the action in the next one


def layers(
    flat: np.ndarray, sizes: tuple[int, ...]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The weights [in, out] and biases [out] of each layer."""
    found, start = [], 0
    for rows, columns in itertools.pairwise(sizes):
        middle = start + rows * columns
        weight = flat[start:middle].reshape(rows, columns)
        found.append((weight, flat[middle : middle + columns]))
        start = middle + columns
    assert start == len(flat)
    return found


def forward(
    flat: np.ndarray, sizes: tuple[int, ...], inputs: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The outputs [S, out], and the inputs of each layer."""
    seen, output = [], inputs
    for index, (weight, bias) in enumerate(layers(flat, sizes)):
        seen.append(np.maximum(output, 0.0) if index else output)
        output = seen[-1] @ weight + bias
    return output, seen


def backward(
    flat: np.ndarray,
    sizes: tuple[int, ...],
    seen: list[np.ndarray],
    slope: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by the parameters, flat, and by the inputs.

    Args:
      flat: the parameters.
      sizes: of the layers.
      seen: the inputs of each layer, of `forward`.
      slope: the gradient by the outputs, [S, out].
    """
    found: list[np.ndarray] = []
    for index, (weight, _) in reversed(list(enumerate(layers(flat, sizes)))):
        found = [(seen[index].T @ slope).ravel(), slope.sum(axis=0), *found]
        slope = slope @ weight.T
        slope = np.where(seen[index] > 0.0, slope, 0.0) if index else slope
    return np.concatenate(found), slope


def mean_and_log_std(
    numbers: Numbers, policy: np.ndarray, observation: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    outputs, _ = forward(policy, numbers.sizes, observation)
    mean, log_std = np.split(outputs, 2, axis=1)
    return mean, np.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def log_slope(action: np.ndarray) -> np.ndarray:
    """log(1 - tanh(u)^2), which is 1 / cosh(u)^2."""
    return -2.0 * np.log(np.cosh(action))


def log_prob(mean: np.ndarray, log_std: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Of the action after the tanh, [S] (SAC-v2, Eq. 26)."""
    std = np.exp(log_std)
    normal = -0.5 * ((action - mean) / std) ** 2 - np.log(std * np.sqrt(2.0 * np.pi))
    return (normal - log_slope(action)).sum(axis=1)


def values(
    numbers: Numbers, pair: np.ndarray, observation: np.ndarray, squashed: np.ndarray
) -> np.ndarray:
    """Both Q functions, [2, S]."""
    inputs = np.concatenate([observation, squashed], axis=1)
    return np.stack(
        [forward(flat, numbers.critic_sizes, inputs)[0][:, 0] for flat in pair]
    )


def goals(
    numbers: Numbers, state: State, alpha: float, batch: Batch, classic: bool
) -> np.ndarray:
    """What the Q functions should be, [S] (Meta-SAC, Eq. 4)."""
    mean, log_std = mean_and_log_std(numbers, state.policy, batch.next_observation)
    action = mean + np.exp(log_std) * batch.next_noise
    target = state.targets[1 if classic else 0]
    value = values(numbers, target, batch.next_observation, np.tanh(action)).min(axis=0)
    if not classic:
        value = value - alpha * log_prob(mean, log_std, action)
    return batch.reward + numbers.gamma * batch.discount * value


def critic_loss(
    numbers: Numbers, critics: np.ndarray, state: State, alpha: float, batch: Batch
) -> tuple[float, np.ndarray]:
    """Half the squared errors, and their gradient by `critics` [K, 2, C]."""
    inputs = np.concatenate([batch.observation, np.tanh(batch.action)], axis=1)
    loss, gradient = 0.0, np.zeros_like(critics)
    for k, pair in enumerate(critics):
        goal = goals(numbers, state, alpha, batch, classic=k == 1)
        for i, flat in enumerate(pair):
            outputs, seen = forward(flat, numbers.critic_sizes, inputs)
            error = outputs[:, 0] - goal
            loss += 0.5 * np.mean(error**2)
            slope = error[:, None] / len(error)
            gradient[k, i], _ = backward(flat, numbers.critic_sizes, seen, slope)
    return loss, gradient


class PolicyLoss(NamedTuple):
    loss: float  # of alpha log pi - min Q
    gradient: np.ndarray  # [P]
    log_pi: float  # the mean
    value: float


def policy_loss(
    numbers: Numbers, policy: np.ndarray, pair: np.ndarray, alpha: float, batch: Batch
) -> PolicyLoss:
    """The loss of Meta-SAC, Eq. 5, with the smaller Q; a = mean + std noise."""
    count, width = batch.noise.shape
    outputs, seen = forward(policy, numbers.sizes, batch.observation)
    free = outputs[:, width:]
    mean, log_std = outputs[:, :width], np.clip(free, LOG_STD_MIN, LOG_STD_MAX)
    action = mean + np.exp(log_std) * batch.noise
    log_pi = log_prob(mean, log_std, action)

    squashed, both, by_squashed = np.tanh(action), [], []
    inputs = np.concatenate([batch.observation, squashed], axis=1)
    for flat in pair:
        q, q_seen = forward(flat, numbers.critic_sizes, inputs)
        _, by_input = backward(flat, numbers.critic_sizes, q_seen, np.ones_like(q))
        both.append(q[:, 0])
        by_squashed.append(by_input[:, -width:])
    first = both[0] < both[1]
    value_slope = np.where(first[:, None], *by_squashed) * np.exp(log_slope(action))

    # The noise is what it is, so that only log(std) and the Jacobian depend on phi.
    by_mean = alpha * 2.0 * squashed - value_slope
    by_log_std = by_mean * np.exp(log_std) * batch.noise - alpha
    by_log_std = np.where((free > LOG_STD_MIN) & (free < LOG_STD_MAX), by_log_std, 0.0)
    slope = np.concatenate([by_mean, by_log_std], axis=1) / count
    gradient, _ = backward(policy, numbers.sizes, seen, slope)
    value = np.minimum(*both)
    return PolicyLoss(
        np.mean(alpha * log_pi - value), gradient, log_pi.mean(), value.mean()
    )


def adam(
    params: np.ndarray, gradient: np.ndarray, moments: Moments, rate: float
) -> tuple[np.ndarray, Moments]:
    first = ADAM_B1 * moments.first + (1.0 - ADAM_B1) * gradient
    second = ADAM_B2 * moments.second + (1.0 - ADAM_B2) * gradient**2
    count = moments.count + 1
    unbiased = first / (1.0 - ADAM_B1**count)
    root = np.sqrt(second / (1.0 - ADAM_B2**count))
    step = rate * unbiased / (root + ADAM_EPSILON)
    return params - step, Moments(first, second, count)


def rmsprop(
    params: np.ndarray,
    gradient: np.ndarray,
    moments: Moments,
    rate: float,
    epsilon: float,
) -> tuple[np.ndarray, Moments]:
    """With epsilon inside the root, as in TensorFlow."""
    second = RMS_DECAY * moments.second + (1.0 - RMS_DECAY) * gradient**2
    step = rate * gradient / np.sqrt(second + epsilon)
    return params - step, moments._replace(second=second)


def shortened(numbers: Numbers, gradient: np.ndarray) -> np.ndarray:
    norm = np.sqrt((gradient**2).sum())
    return gradient * (min(1.0, numbers.max_norm / norm) if numbers.max_norm else 1.0)


def policy_step(
    numbers: Numbers, state: State, gradient: np.ndarray
) -> tuple[np.ndarray, Moments]:
    gradient = shortened(numbers, gradient)
    if numbers.policy_optimizer == "adam":
        return adam(state.policy, gradient, state.policy_moments, numbers.rate)
    return rmsprop(
        state.policy, gradient, state.policy_moments, numbers.rate, numbers.rms_epsilon
    )


def meta_loss(
    numbers: Numbers, state: State, log_alpha: float, batch: Batch, initial: np.ndarray
) -> float:
    """After the policy's step at this temperature (Meta-SAC, Eq. 7 and 8)."""
    alpha = np.exp(log_alpha)
    learned = policy_loss(numbers, state.policy, state.critics[0], alpha, batch)
    policy, _ = policy_step(numbers, state, learned.gradient)
    states = batch.observation if numbers.from_replay else initial
    mean, _ = mean_and_log_std(numbers, policy, states)
    return -values(numbers, state.critics[-1], states, np.tanh(mean)).min(axis=0).mean()


def metagradient(
    numbers: Numbers, state: State, batch: Batch, initial: np.ndarray
) -> float:
    """d/d log alpha of the meta loss."""
    above, below = (
        meta_loss(numbers, state, state.log_alpha + shift, batch, initial)
        for shift in (_APART, -_APART)
    )
    return (above - below) / (2.0 * _APART)


def differences(function: Callable[[np.ndarray], float], at: np.ndarray) -> np.ndarray:
    """The gradient of a function of an array, by central differences."""
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[place] = _APART
        gradient[place] = function(at + shift) - function(at - shift)
    return gradient / (2.0 * _APART)


def update(
    numbers: Numbers, state: State, batches: list[Batch], initial: np.ndarray
) -> tuple[State, dict[str, float]]:
    """One update.

    Args:
      numbers: the constants.
      state: before.
      batches: the minibatch, or for Meta-SAC B and the one that it is resampled by.
      initial: states of the meta loss, [D, F].
    """
    first, last = batches[0], batches[-1]
    slope, new = 0.0, state
    if numbers.temperature == "meta":
        slope = metagradient(numbers, state, first, initial)
        clipped = np.clip(slope, -numbers.alpha_clip, numbers.alpha_clip)
        log_alpha, moments = adam(
            state.log_alpha, clipped, state.alpha_moments, numbers.alpha_rate
        )
        new = new._replace(log_alpha=min(log_alpha, 0.0), alpha_moments=moments)
    alpha = np.exp(new.log_alpha)

    loss, gradient = critic_loss(numbers, state.critics, state, alpha, last)
    critics, moments = adam(
        state.critics,
        shortened(numbers, gradient),
        state.critic_moments,
        numbers.rate,
    )
    targets = numbers.tau * critics + (1.0 - numbers.tau) * state.targets
    new = new._replace(critics=critics, critic_moments=moments, targets=targets)
    inputs = last.observation, np.tanh(last.action)
    metrics = {
        "loss/critic": loss,
        "gradient_norm/critic": np.sqrt((gradient**2).sum()),
        "value": values(numbers, state.critics[0], *inputs)[0].mean(),
    }

    learned = policy_loss(numbers, state.policy, critics[0], alpha, last)
    policy, moments = policy_step(numbers, state, learned.gradient)
    new = new._replace(policy=policy, policy_moments=moments)

    if numbers.temperature == "entropy":
        # Eq. 18 of SAC-v2 is alpha (-log pi - target): linear in alpha.
        slope = alpha * (-learned.log_pi - numbers.entropy_target)
        log_alpha, moments = adam(
            state.log_alpha, slope, state.alpha_moments, numbers.alpha_rate
        )
        new = new._replace(log_alpha=log_alpha, alpha_moments=moments)
    return new, metrics | {
        "loss/policy": learned.loss,
        "gradient_norm/policy": np.sqrt((learned.gradient**2).sum()),
        "entropy": -learned.log_pi,
        "metagradient/log_alpha/head_1": slope,
    }


def batches(
    columns: tuple[np.ndarray, ...], shape: tuple[int, int]
) -> list[list[Batch]]:
    """The minibatches of each update, from the columns of a `Batch` of them all."""
    places = np.arange(len(columns[0])).reshape(*shape, -1)
    return [
        [Batch(*(column[rows] for column in columns)) for rows in update]
        for update in places
    ]


def call(
    numbers: Numbers, state: State, batches: list[list[Batch]], initial: np.ndarray
) -> tuple[State, dict[str, float]]:
    """Several updates, and the means of their metrics."""
    rows = []
    for minibatches in batches:
        state, row = update(numbers, state, minibatches, initial)
        rows.append(row)
    return state, {name: np.mean([row[name] for row in rows]) for name in rows[0]}
