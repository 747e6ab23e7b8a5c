"""One update of STACX: Algorithm 2, with IMPALA as the case of nothing to tune.

The step that trains is the step we differentiate. What flows where:

    eta --squash--> zeta --inner loss--> gradient --clip, RMSProp--> theta'
        --outer loss and KL of head 1, same batch--> metagradient --Adam--> eta

Several devices each hold a share of the batch. Losses stay local sums; the inner
gradient crosses devices inside the differentiated step, and the metagradient, a
gradient of local losses through that sum, crosses once more. The sum over the global
batch is what one device with the whole batch would have computed.

Where a loss or a gradient is not finite, on any device, the batch is passed over: it is
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
from stac.types import Array, LearnerState, Params, Trajectory, Tree

Outputs = tuple[losses.HeadOutput, ...]
Unroll = Callable[[Params, Trajectory, Array], Outputs]


class Rule(NamedTuple):
    """Everything an update depends on beside its state and its batch."""

    # (theta, batch, gamma [P]) -> P outputs, and the average ensemble where it acts.
    # gamma is for an embedding (Sec. 9.5) and an input, not a path for metagradients.
    unroll: Unroll
    distribution: Distribution
    agent: AgentConfig
    optimizer: OptimizerConfig
    transitions_per_update: int  # B (n - 1) over all devices; for means only
    frames_per_update: int  # environment frames, over all devices
    total_frames: int  # where the learning rate ends


class Step(NamedTuple):
    """What one inner step leaves behind."""

    params: Params  # theta'
    optimizer: Tree  # the new second moment
    loss: Array  # all heads', of this device's share
    reference: Outputs  # who acts, at theta: what the KL compares with
    gradient_norm: Array  # global, before clipping
    metrics: metrics.Metrics  # local sums


def init(rule: Rule, params: Params, key: Array) -> LearnerState:
    """The state before the first update."""
    raw = metaparameters.init(rule.agent)
    return LearnerState(
        params=params,
        optimizer=optimizers.rmsprop(rule.optimizer).init(params),
        metaparameters=raw,
        meta_optimizer=optimizers.meta_adam(rule.optimizer).init(raw),
        updates=jnp.zeros((), jnp.int32),
        frames=jnp.zeros((), jnp.int32),
        key=key,
    )


def update(
    rule: Rule,
    state: LearnerState,
    trajectory: Trajectory,
    all_sum: Callable[[Tree], Tree],
) -> tuple[LearnerState, metrics.Metrics]:
    """One update of theta and eta on this device's share of a batch.

    Args:
      rule: constants.
      state: replicated, the same on every device.
      trajectory: [B/k, n, ...] on each of k devices.
      all_sum: sums a tree over devices, and its transpose does too; identity for one.

    Returns:
      The new state, the same on every device, and metrics (`agents.base.Metrics`).

    Source: Zahavy et al. (2020), Algorithm 2; signs and sums as in BUILD_NOTES.md.
    """
    batch = transitions(rule.agent, trajectory)

    def loss_after_step(raw: metaparameters.Raw) -> tuple[Array, tuple[Step, Tree]]:
        step = inner_step(rule, state, raw, trajectory, batch, all_sum)
        loss, outer = outer_loss(rule, step, trajectory, batch)
        return loss, (step, outer)

    raw, meta_optimizer, meta_metrics = state.metaparameters, state.meta_optimizer, {}
    metagradient: Tree = {}
    if raw:
        metagradient, (step, outer) = jax.grad(loss_after_step, has_aux=True)(raw)
        metagradient = all_sum(metagradient)
        raw, meta_optimizer = optimizers.meta_step(
            rule.optimizer, raw, metagradient, meta_optimizer
        )
        raw = metaparameters.clamped(raw)
        meta_metrics = metrics.by_head("metagradient", metagradient)
    else:  # nothing to tune: no outer loss is computed
        step, outer = inner_step(rule, state, raw, trajectory, batch, all_sum), {}
    learned = state._replace(
        params=step.params,
        optimizer=step.optimizer,
        metaparameters=raw,
        meta_optimizer=meta_optimizer,
    )
    skipped = _not_finite(step, outer, metagradient, all_sum)
    new_state = jax.tree.map(
        lambda old, new: jnp.where(skipped, old, new), state, learned
    )
    zeta = metaparameters.named(state.metaparameters, rule.agent)
    return new_state._replace(
        updates=state.updates + 1, frames=state.frames + rule.frames_per_update
    ), {
        **metrics.reduced({**step.metrics, **outer}, batch.valid, all_sum),
        **metrics.by_head("hyperparameters", zeta),
        **metrics.by_head(
            "saturated", metaparameters.saturated(new_state.metaparameters)
        ),
        **meta_metrics,
        "gradient_norm": step.gradient_norm,
        "learning_rate": _learning_rate(rule, state),
        "skipped": skipped.astype(float),
    }


def transitions(config: AgentConfig, trajectory: Trajectory) -> losses.Transitions:
    """The columns the losses read; rewards are clipped here and only here."""
    reward = jnp.asarray(trajectory.reward)
    if config.reward_clip:
        reward = jnp.clip(reward, -config.reward_clip, config.reward_clip)
    return losses.Transitions(
        action=trajectory.action,
        behaviour_log_prob=trajectory.behaviour_log_prob,
        reward=reward,
        discount=trajectory.discount,
        valid=types.valid(trajectory),
    )


def inner_step(
    rule: Rule,
    state: LearnerState,
    raw: metaparameters.Raw,
    trajectory: Trajectory,
    batch: losses.Transitions,
    all_sum: Callable[[Tree], Tree],
) -> Step:
    """The new theta and second moment as functions of eta (Algorithm 2, 10-12)."""
    zeta = metaparameters.squash(raw, rule.agent.outer, rule.agent.heads)

    def inner_loss(params: Params) -> tuple[Array, tuple[Outputs, Tree]]:
        gamma = jax.lax.stop_gradient(jnp.asarray(zeta.gamma))
        outputs = rule.unroll(params, trajectory, gamma)
        heads, acting = outputs[: rule.agent.heads], judged(rule, outputs)
        seen = metrics.of_batch(acting[0], batch, rule.distribution)
        total = jnp.zeros(())
        for head, output in enumerate(heads):
            hyper = metaparameters.of_head(zeta, head)
            terms, inside = losses.head_loss(output, batch, hyper, rule.distribution)
            total += sum(terms) / len(heads)
            seen |= metrics.of_head(terms, inside, batch.valid, head)
        # One more output for an average ensemble (Sec. 9.3), none for STAC and STACX:
        for average in outputs[len(heads) :]:  # its policy is the heads'; V is its own
            hyper = metaparameters.outer_hyperparameters(rule.agent.outer)
            terms, _ = losses.head_loss(average, batch, hyper, rule.distribution)
            total += terms.value / len(heads)
        return total * _scale(rule), (acting, seen)

    (loss, (reference, seen)), gradient = jax.value_and_grad(inner_loss, has_aux=True)(
        state.params
    )
    gradient, norm = optimizers.clip_by_global_norm(
        all_sum(gradient), rule.optimizer.max_gradient_norm
    )
    direction, optimizer = optimizers.rmsprop(rule.optimizer).update(
        gradient, state.optimizer
    )
    params = optimizers.apply(state.params, direction, _learning_rate(rule, state))
    if rule.agent.gamma_embedding != "none":  # compare like with like: at gamma outer
        reference = _judged_at_outer_gamma(rule, state.params, trajectory)
    return Step(params, optimizer, loss, reference, norm, seen)


def outer_loss(
    rule: Rule, step: Step, trajectory: Trajectory, batch: losses.Transitions
) -> tuple[Array, metrics.Metrics]:
    """Head 1's loss at theta', outer hyperparameters, same batch, plus KL (Eq. 3).

    Of a random ensemble, the mean over its heads (Sec. 9.3).
    """
    zeta = metaparameters.outer_hyperparameters(rule.agent.outer)
    acting = _judged_at_outer_gamma(rule, step.params, trajectory)

    def head(
        new: losses.HeadOutput, old: losses.HeadOutput
    ) -> tuple[losses.Terms, Array]:
        terms, _ = losses.head_loss(new, batch, zeta, rule.distribution)
        return terms, losses.policy_kl(new, old, batch.valid, rule.distribution)

    found = [head(new, old) for new, old in zip(acting, step.reference, strict=True)]
    terms, kl = jax.tree.map(lambda *each: sum(each) / len(each), *found)
    total = sum(terms) + rule.agent.outer.g_kl * kl
    return total * _scale(rule), metrics.of_outer(terms, kl, total)


def judged(rule: Rule, outputs: Outputs) -> Outputs:
    """The outputs of who acts: what the outer loss and its KL are about."""
    heads = rule.agent.heads
    return {
        "head_1": outputs[:1],
        "random_head": outputs[:heads],
        "average": outputs[heads:],
    }[rule.agent.behaviour]


def _judged_at_outer_gamma(
    rule: Rule, params: Params, trajectory: Trajectory
) -> Outputs:
    gamma = jnp.full((rule.agent.heads,), rule.agent.outer.gamma)
    return judged(rule, rule.unroll(params, trajectory, gamma))


def _not_finite(
    step: Step, outer: metrics.Metrics, metagradient: Tree, all_sum: Callable[..., Tree]
) -> Array:
    """Whether any loss or gradient, on any device, is infinite or no number.

    Norms stand for gradients: what overflows a norm would stay in a second moment for
    ever.
    """
    norms = [step.gradient_norm, optimizers.global_norm(metagradient)]
    numbers = [*norms, step.loss, *jax.tree.leaves(outer)]
    bad = sum(1.0 - jnp.isfinite(jnp.asarray(number)) for number in numbers)
    return all_sum(bad) > 0


def _scale(rule: Rule) -> float:
    """1 for sums; one over the global number of transitions for means."""
    return 1.0 if rule.agent.reduction == "sum" else 1.0 / rule.transitions_per_update


def _learning_rate(rule: Rule, state: LearnerState) -> Array:
    return optimizers.learning_rate(rule.optimizer, state.frames, rule.total_frames)
