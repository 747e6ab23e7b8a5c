"""One update of STACX: Algorithm 2, with IMPALA as the case of nothing to tune.

The step that trains is the step we differentiate. What flows where:

    eta --squash--> zeta --inner loss--> gradient --clip, RMSProp--> theta'
        --outer loss and KL of head 1, same batch--> metagradient --Adam--> eta

Several devices each hold a share of the batch. Losses stay local sums; the inner
gradient crosses devices inside the differentiated step, and the metagradient, a
gradient of local losses through that sum, crosses once more. The sum over the global
batch is what one device with the whole batch would have computed.

Where a loss or a gradient is not finite, on any device, the batch is skipped: it is
counted, and theta, eta and both optimizers stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stac import types
from stac.config import AgentConfig, OptimizerConfig
from stac.distributions import Distribution
from stac.learning import losses, metaparameters, metrics, optimizers
from stac.learning.vtrace import Hyperparameters, Targets
from stac.types import (
    AllSum,
    Array,
    CoreState,
    HeadOutput,
    Params,
    Trajectory,
    Tree,
)

Outputs = tuple[HeadOutput, ...]
Unroll = Callable[[Params, Trajectory, Array], Outputs]


class State(NamedTuple):
    """Everything an update reads and writes; a checkpoint holds all of it."""

    params: Params  # theta
    optimizer: Tree  # RMSProp's second moment
    metaparameters: metaparameters.Raw  # eta before the squash: {name: [P]}, tuned only
    meta_optimizer: Tree  # Adam over eta
    updates: Array  # [] int32
    key: Array  # [2] uint32, for updates that need randomness


class Rule(NamedTuple):
    """The constants of an update."""

    # (theta, trajectory, gamma [P]) -> P outputs, and the average's where it acts.
    # gamma feeds the embedding of Sec. 9.5 only; no metagradient flows through it.
    unroll: Unroll
    distribution: Distribution
    agent: AgentConfig
    optimizer: OptimizerConfig
    trajectories_per_update: int  # B over all devices; for means only
    transitions_per_update: int  # B (n - 1); for means only
    frames_per_update: int  # environment frames, over all devices
    total_frames: int  # where the learning rate ends
    burn_in: int = 0  # k first rows, which bring the core's state up to date
    # (theta, observation [B, k, ...], first [B, k], core state) -> state after k rows
    warm: Callable[[Params, Array, Array, CoreState], CoreState] | None = None


class Step(NamedTuple):
    """The results of one inner step."""

    params: Params  # theta'
    optimizer: Tree  # the new second moment
    loss: Array  # of all heads, of this device's share
    reference: Outputs  # acting outputs at theta: the KL compares with them
    gradient_norm: Array  # global, before clipping
    learning_rate: Array
    metrics: metrics.Metrics  # local sums


def init(rule: Rule, params: Params, key: Array) -> State:
    """Returns the state before the first update."""
    raw = metaparameters.init(rule.agent)
    return State(
        params=params,
        optimizer=optimizers.rmsprop(rule.optimizer).init(params),
        metaparameters=raw,
        meta_optimizer=optimizers.meta_adam(rule.optimizer).init(raw),
        updates=jnp.zeros((), jnp.int32),
        key=key,
    )


def update(
    rule: Rule, state: State, trajectory: Trajectory, all_sum: AllSum
) -> tuple[State, metrics.Metrics]:
    """Updates theta and eta on this device's share of a batch.

    The trajectories are [B/k, n, ...] on each of k devices. The state is the same on
    all of them, before and after, and so are the metrics (but see `agents.base`).

    Source: Zahavy et al. (2020), Algorithm 2; signs and sums as in docs/paper.md.
    """
    trajectory = clipped(rule.agent, warmed(rule, state.params, trajectory))

    def loss_after_step(raw: metaparameters.Raw) -> tuple[Array, tuple[Step, Tree]]:
        step = inner_step(rule, state, raw, trajectory, all_sum)
        loss, outer = outer_loss(rule, step, trajectory, loss_scale(rule, all_sum))
        return loss, (step, outer)

    raw, meta_optimizer = state.metaparameters, state.meta_optimizer
    metagradient: Tree = {}
    if raw:
        metagradient, (step, outer) = jax.grad(loss_after_step, has_aux=True)(raw)
        metagradient = all_sum(metagradient)
        direction, meta_optimizer = optimizers.meta_adam(rule.optimizer).update(
            metagradient, meta_optimizer
        )
        raw = metaparameters.clamped(jax.tree.map(jnp.add, raw, direction))
    else:  # nothing to tune: no outer loss is computed
        step, outer = inner_step(rule, state, raw, trajectory, all_sum), {}
    learned = state._replace(
        params=step.params,
        optimizer=step.optimizer,
        metaparameters=raw,
        meta_optimizer=meta_optimizer,
    )
    skipped = _not_finite(step, outer, metagradient, all_sum)
    new = jax.tree.map(lambda old, new: jnp.where(skipped, old, new), state, learned)
    zeta = metaparameters.logged(state.metaparameters, rule.agent)
    saturated = metaparameters.saturated(new.metaparameters)
    return new._replace(updates=state.updates + 1), {
        **metrics.reduced({**step.metrics, **outer}, types.valid(trajectory), all_sum),
        **metrics.by_head("hyperparameters", zeta),
        **metrics.by_head("saturated", saturated),
        **metrics.by_head("metagradient", metagradient),
        "gradient_norm": step.gradient_norm,
        "learning_rate": step.learning_rate,
        "skipped": skipped.astype(float),
    }


def clipped(config: AgentConfig, trajectory: Trajectory) -> Trajectory:
    """Returns the trajectories as the losses read them: rewards are clipped."""
    if not config.reward_clip:
        return trajectory
    reward = jnp.clip(trajectory.reward, -config.reward_clip, config.reward_clip)
    return trajectory._replace(reward=reward)


def warmed(rule: Rule, params: Params, trajectory: Trajectory) -> Trajectory:
    """Returns the rows after the burn-in, from the core state that theta reaches there.

    No gradient flows through these rows, as in R2D2 (Kapturowski et al., 2019, Sec. 3).
    """
    k = rule.burn_in
    if not rule.warm or not k:
        return trajectory
    rows = jnp.asarray(trajectory.observation)[:, :k], trajectory.first[:, :k]
    core_state = rule.warm(params, *rows, trajectory.core_state)
    later = jax.tree.map(lambda leaf: leaf[:, k:], trajectory._replace(core_state=()))
    return later._replace(core_state=core_state)


def inner_step(
    rule: Rule,
    state: State,
    raw: metaparameters.Raw,
    trajectory: Trajectory,
    all_sum: AllSum,
) -> Step:
    """Computes theta' and its second moment as functions of eta (Alg. 2, 10-12)."""
    zeta = metaparameters.squash(raw, rule.agent.outer, rule.agent.heads)
    scale = loss_scale(rule, all_sum)
    (loss, (reference, inner)), gradient = jax.value_and_grad(
        lambda params: inner_loss(rule, params, zeta, trajectory, scale), has_aux=True
    )(state.params)
    gradient, norm = optimizers.clip_by_global_norm(
        all_sum(gradient),
        rule.optimizer.max_gradient_norm,
        rule.optimizer.clip_derivative,
    )
    direction, optimizer = optimizers.rmsprop(rule.optimizer).update(
        gradient, state.optimizer
    )
    frames = _frames(rule, state.updates)
    rate = optimizers.learning_rate(rule.optimizer, frames, rule.total_frames)
    params = jax.tree.map(lambda p, d: p - rate * d, state.params, direction)
    if rule.agent.gamma_embedding != "none":  # compare like with like: at gamma outer
        reference = _acting_at_outer_gamma(rule, state.params, trajectory)
    return Step(params, optimizer, loss, reference, norm, rate, inner)


def inner_loss(
    rule: Rule,
    params: Params,
    zeta: dict[str, Array],
    trajectory: Trajectory,
    scale: Array | float,  # of sums
) -> tuple[Array, tuple[Outputs, metrics.Metrics]]:
    """The mean of all heads' losses at zeta; acting outputs, and local metrics."""
    gamma = jax.lax.stop_gradient(zeta["gamma"])
    outputs = rule.unroll(params, trajectory, gamma)
    heads, acting = outputs[: rule.agent.heads], acting_outputs(rule, outputs)
    inner = metrics.of_policy(acting[0], trajectory, rule.distribution)
    evaluated = None
    if rule.agent.evaluated == "head_1":
        policy = heads[0].policy[:, :-1]
        log_pi = rule.distribution.log_prob(policy, trajectory.action)
        evaluated = losses.importance(log_pi, trajectory)
    total = jnp.zeros(())
    for head, output in enumerate(heads):
        hyper = metaparameters.of_head(zeta, head)
        terms, targets = head_loss(rule, output, trajectory, hyper, evaluated)
        total += sum(terms) / len(heads)
        valid = types.valid(trajectory)
        inner |= metrics.of_head(terms, targets.importance, valid, head)
    # An average ensemble (Sec. 9.3) has one output more; STAC and STACX have none.
    for average in outputs[len(heads) :]:  # its policy is the heads', V is its own
        hyper = metaparameters.outer_hyperparameters(rule.agent.outer)
        terms, _ = head_loss(rule, average, trajectory, hyper)
        total += terms.value / len(heads)
    return total * scale, (acting, inner)


def outer_loss(
    rule: Rule, step: Step, trajectory: Trajectory, scale: Array | float
) -> tuple[Array, metrics.Metrics]:
    """Head 1's loss at theta', outer hyperparameters, same batch, plus KL (Eq. 3).

    Of a random ensemble, the mean over its heads (Sec. 9.3).
    """
    zeta = metaparameters.outer_hyperparameters(rule.agent.outer)
    acting = _acting_at_outer_gamma(rule, step.params, trajectory)

    def head(new: HeadOutput, old: HeadOutput) -> tuple[losses.Terms, Array]:
        terms, _ = head_loss(rule, new, trajectory, zeta)
        valid = types.valid(trajectory)
        kl = losses.policy_kl(new, old, valid, rule.distribution)
        return terms, kl

    heads = [head(new, old) for new, old in zip(acting, step.reference, strict=True)]
    terms, kl = jax.tree.map(lambda *values: sum(values) / len(values), *heads)
    total = sum(terms) + rule.agent.outer.g_kl * kl
    return total * scale, metrics.of_outer(terms, kl, total)


def head_loss(
    rule: Rule,
    output: HeadOutput,
    trajectory: Trajectory,
    hyper: Hyperparameters,
    evaluated: Array | None = None,
) -> tuple[losses.Terms, Targets]:
    """See losses.head_loss."""
    return losses.head_loss(
        output, trajectory, hyper, rule.distribution, rule.agent.bootstrap, evaluated
    )


def acting_outputs(rule: Rule, outputs: Outputs) -> Outputs:
    """Selects the outputs of the policy that acts: the outer loss and KL read them."""
    heads = rule.agent.heads
    return {
        "head_1": outputs[:1],
        "random_head": outputs[:heads],
        "average": outputs[heads:],
    }[rule.agent.behaviour]


def _acting_at_outer_gamma(
    rule: Rule, params: Params, trajectory: Trajectory
) -> Outputs:
    gamma = jnp.full((rule.agent.heads,), rule.agent.outer.gamma)
    return acting_outputs(rule, rule.unroll(params, trajectory, gamma))


def _not_finite(
    step: Step, outer: metrics.Metrics, metagradient: Tree, all_sum: AllSum
) -> Array:
    """Whether any loss or gradient, on any device, is infinite or NaN.

    A gradient counts by its norm: one whose norm overflows would stay in the second
    moment for ever.
    """
    norms = [step.gradient_norm, optimizers.global_norm(metagradient)]
    numbers = [*norms, step.loss, *jax.tree.leaves(outer)]
    bad = sum(1.0 - jnp.isfinite(jnp.asarray(number)) for number in numbers)
    return all_sum(bad) > 0


def _frames(rule: Rule, updates: Array) -> Array:
    """Environment frames of so many updates, rounded once: an int32 would overflow."""
    frames = jnp.asarray(updates).astype(float) * rule.frames_per_update
    # Else XLA makes one constant of this factor and the schedule's: two roundings.
    return jax.lax.optimization_barrier(frames)


def loss_scale(rule: Rule, all_sum: AllSum) -> Array | float:
    """The factor of sums over the whole batch; see `stac.config`, REDUCTIONS."""
    match rule.agent.reduction:
        case "mean":
            return 1.0 / rule.transitions_per_update
        case "batch_mean":
            return 1.0 / rule.trajectories_per_update
        case "device_mean":
            return 1.0 / jax.lax.stop_gradient(all_sum(jnp.ones(())))
    return 1.0
