"""The contract between agents and runtimes: an agent is five pure functions.

Runtimes know nothing else of an agent. Nothing here waits, prints or keeps state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from stac.types import (
    ActorOutput,
    Array,
    CoreState,
    LearnerState,
    Params,
    Trajectory,
    Tree,
)

# Sums a pytree over all learner devices; the identity on one. Differentiable: the
# gradient through it is again the sum over devices (see stac.runtime.devices).
AllSum = Callable[[Tree], Tree]
# Flat: {"loss/value/head_1": scalar}. The same on all devices, but for names that end
# in "_max": those are each device's own, and their maximum over devices is meant.
Metrics = dict[str, Array]
State = Any  # a LearnerState, with the family's own fields


class Act(Protocol):
    def __call__(
        self,
        actor_params: Params,
        key: Array,
        observation: Array,  # [E, ...]
        first: Array,  # [E] bool
        core_state: CoreState,  # leaves [E, ...], before a reset where `first`
    ) -> tuple[ActorOutput, CoreState]: ...


class Update(Protocol):
    def __call__(
        self, state: State, trajectory: Trajectory, all_sum: AllSum
    ) -> tuple[State, Metrics]: ...


class Agent(NamedTuple):
    """Pure functions; jit, pmap and devices are the runtime's business."""

    init: Callable[[Array], LearnerState]  # from a random key
    initial_core_state: Callable[[int], CoreState]  # for E environments
    act: Act
    update: Update  # on this device's share of the batch
    # What acting needs of the state. It selects and computes nothing: an operation
    # would queue behind the update in flight, and publishing would wait for it.
    actor_params: Callable[[State], Params]


def no_devices(tree: Tree) -> Tree:
    """The all_sum of a single device."""
    return tree
