"""The data that travel between the rooms: time steps, trajectories, learner state.

The picture of time. An actor sees ``x_t``, acts ``a_t``, and the environment answers
with ``r_{t+1}``, ``d_{t+1}`` and ``x_{t+1}``:

    row           0            1            2        ...     n-1
    observation   x_0          x_1          x_2      ...     x_{n-1}
    first         f_0          f_1          f_2      ...     f_{n-1}
    action            a_0          a_1      ...  a_{n-2}
    reward            r_1          r_2      ...  r_{n-1}
    discount          d_1          d_2      ...  d_{n-1}

Column ``t`` of action, behaviour_log_prob, reward and discount is the transition from
``x_t`` to ``x_{t+1}``: ``reward[:, t]`` is the paper's ``r_{t+1}``. The last
observation only bootstraps, so n observations hold n - 1 transitions (Algorithm 1).

``discount`` is 0 where the episode truly ended (or, in Atari training, a life was lost)
and 1 elsewhere, a time limit included. When an episode ends, its final observation has
a row of its own, and the next row is the first of the next episode (``first`` is True
there). The "transition" into such a row is none: it has no weight in any sum and no
trace crosses it (`valid`).

Axis letters: B trajectories in a batch, n observations in a trajectory, E environments
of one actor, P heads, A actions (discrete) or action dimensions (continuous).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:  # a command line is read without the seconds that JAX takes
    import jax

Array: TypeAlias = "jax.Array | np.ndarray"
Tree = Any  # a pytree of arrays
Params = Tree
CoreState = Tree  # () for a feed-forward network
# Sums a tree over all learner devices; the identity on one. Differentiable: the
# gradient through it is again the sum over devices (see stac.runtime.devices).
AllSum = Callable[[Tree], Tree]


class Timestep(NamedTuple):
    """The row t of E batched environments, after a reset or a step."""

    observation: Array  # [E, ...] x_t; images are uint8 [E, C, H, W]
    reward: Array  # [E] float32, r_t: raw, never clipped; 0 where `first`
    discount: Array  # [E] float32, d_t: 0 at a true end (or a lost life in training)
    first: Array  # [E] bool, x_t begins an episode; the action before it was ignored
    last: Array  # [E] bool, x_t ends an episode, by a true end or by a time limit


class ActorOutput(NamedTuple):
    """The policy's decision for one row."""

    action: Array  # [E] int32, or [E, A] float32: the sample before the tanh
    log_prob: Array  # [E] float32, log mu(a_t | x_t)


class Trajectory(NamedTuple):
    """A batch of fixed-length trajectories, as the learner reads it."""

    observation: Array  # [B, n, ...]
    first: Array  # [B, n] bool
    action: Array  # [B, n-1] int32, or [B, n-1, A] float32 before the tanh
    behaviour_log_prob: Array  # [B, n-1] float32, of head 1 at the actor's parameters
    reward: Array  # [B, n-1] raw; clipped only in the loss
    discount: Array  # [B, n-1]
    core_state: CoreState  # leaves [B, ...]: the state acted from at row 0


class Transition(NamedTuple):
    """Single steps, as a replay keeps them: none crosses into another episode."""

    observation: Array  # [S, F] x_t
    action: Array  # [S, A] before the tanh
    reward: Array  # [S] r_{t+1}, raw
    discount: Array  # [S] d_{t+1}: 0 at a true end, 1 at a time limit
    next_observation: Array  # [S, F] x_{t+1}


class Sample(NamedTuple):
    """A batch that a replay has drawn, as the learner reads it."""

    transitions: Transition  # leaves [S, ...]
    keys: Array  # [S, 2] uint32: a random key for each transition
    ready: Array  # [S] bool: whether the replay holds enough to learn from
    initial: Array  # [D, F] the first observations of D episodes


class Report(NamedTuple):
    """An actor's notes on a trajectory: for logs, never for the loss."""

    episode_return: Array  # [B, n] float32: raw return of an episode that ended, in the
    # row where it ended (first episodes later: stac.runtime.logs.episodes); else NaN
    episode_length: Array  # [B, n] int32, in environment steps; 0 where the return is
    # NaN
    parameter_version: Array  # [B] int32, learner updates behind the parameters of the
    # newest rows; rows shared with earlier trajectories are of older parameters
    actor: Array  # [B] int32, the actor's number
    diverged: Array  # [B] int32, simulations of this environment that diverged since
    # its trajectory before


class Experience(NamedTuple):
    """Trajectories and their reports, as they go through a queue."""

    trajectory: Any  # a Trajectory; behind a replay a Sample, with reports of new ones
    report: Report


class HeadOutput(NamedTuple):
    """The outputs of one head for a batch of trajectories."""

    policy: Array  # [B, n, num_outputs]
    value: Array  # [B, n]


class LearnerState(Protocol):
    """A family's own pytree. Runtimes read only this field."""

    @property
    def updates(self) -> Array:
        """[] int32, updates since the run began."""


def valid(trajectory: Trajectory) -> Array:
    """[B, n-1] float32: 0 where the transition would cross into another episode."""
    return 1.0 - trajectory.first[:, 1:].astype(np.float32)
