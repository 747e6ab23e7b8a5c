"""The contract between agents and runtimes: an agent is five pure functions.

A family of agents is a function that builds an `Agent` from a configuration
(`stac.agents.make` has the table of them). The runtimes know nothing else of a family:
its state is a pytree of its own, of which they read `updates`
(`stac.types.LearnerState`); they move the metrics without knowing their names, but for
those in `Watched`; and the family says whether a replay lies before its updates.
Nothing here waits, prints or keeps state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from stac.types import (
    ActorOutput,
    AllSum,
    Array,
    CoreState,
    LearnerState,
    Params,
    Tree,
)

# Flat: {"loss/value/head_1": scalar}. The same on all devices, but for names that end
# in "_max": each device has its own, and the runtime takes their maximum.
Metrics = dict[str, Array]
State = Any  # a LearnerState, with the family's own fields


class ReplaySize(NamedTuple):
    """The store between the trajectories that are taken and an update's batch.

    Each update takes the new trajectories, as it does without a replay, keeps their
    transitions in the place of the oldest, and learns from others, drawn at random.
    """

    capacity: int  # transitions
    least: int  # steps that it has seen before its samples are `ready`
    draws: int  # transitions in a sample: uniform, with replacement
    minibatch: int  # of these, those that all devices share in an update
    initial: int = 0  # first observations of episodes, seen once for the run


class Watched(NamedTuple):
    """The metrics that mean something to a runtime or to the person at the terminal."""

    skipped: str = ""  # is 1 where an update left its batch out, else 0; "": none is
    # {"gamma": metric}: in the live table, and the first one in the progress line.
    shown: Mapping[str, str] = {}
    best_by: str = "sampled"  # the way of acting whose return makes a policy the best
    # A row of metrics -> {key: line}. Each line is printed once, when its key appears.
    alerts: Callable[[Mapping[str, float]], Mapping[str, str]] = lambda row: {}


class Agent(NamedTuple):
    """Pure functions; jit, pmap and devices are the runtime's business."""

    init: Callable[[Array], LearnerState]  # from a random key
    initial_core_state: Callable[[int], CoreState]  # for E environments
    # (actor_params, key, observation [E, ...], first [E], core state, leaves [E, ...],
    # from before a reset where `first`)
    act: Callable[
        [Params, Array, Array, Array, CoreState], tuple[ActorOutput, CoreState]
    ]
    # On this device's share of the batch: trajectories, or a Sample where there is a
    # replay.
    update: Callable[[State, Any, AllSum], tuple[State, Metrics]]
    # Selects what acting needs of the state. It computes nothing: an operation would
    # queue behind the update in flight, and publishing would wait for it.
    actor_params: Callable[[State], Params]
    frames_per_update: int  # environment frames that an update consumes
    watched: Watched = Watched()
    replay: ReplaySize | None = None


def no_devices(tree: Tree) -> Tree:
    """The all_sum of a single device."""
    return tree
