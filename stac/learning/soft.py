"""Updates of the soft actor-critics: SAC, SAC-v2 and Meta-SAC.

One update of Meta-SAC (Wang and Ni, 2020, Algorithm 1), on minibatches B and B':

    phi --policy loss on B, RMSProp--> phi'(log alpha)
        --(minus Q of the mean action, on D_0)--> metagradient --Adam--> log alpha
    omega --critic loss on B' at the new alpha, Adam--> omega, targets follow
    phi   --policy loss on B' at the new alpha and omega, RMSProp--> phi

SAC has no first line; SAC-v2 moves log alpha by its entropy target, after the policy.
Names are the papers': phi is the policy, omega the Q functions, and actions are before
the tanh where they are not called squashed.

Each random number belongs to a transition (its key), so several devices that share the
minibatch learn as a single one would. Losses are local sums over the global size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from stac import distributions
from stac.config import OptimizerConfig, Soft
from stac.learning import optimizers
from stac.types import AllSum, Array, Params, Sample, Transition, Tree

Metrics = dict[str, Array]
_SKIPPED = "skipped"
_TUNED = "metagradient/log_alpha/head_1"  # where log alpha is tuned


class State(NamedTuple):
    """Everything an update reads and writes; a checkpoint holds all of it."""

    policy: Params  # phi
    critics: tuple[Params, ...]  # omega: soft, and for one ablation classic values
    targets: tuple[Params, ...]  # moving averages of them
    policy_optimizer: Tree
    critic_optimizer: Tree
    log_alpha: Array  # []
    alpha_optimizer: Tree
    updates: Array  # [] int32, calls of `update`


class Rule(NamedTuple):
    """The constants of an update."""

    policy: Callable[[Params, Array], Array]  # see networks.soft
    critics: Callable[[Params, Array, Array], tuple[Array, Array]]
    soft: Soft
    optimizer: OptimizerConfig
    updates_per_call: int
    entropy_target: float  # of SAC-v2

    @property
    def minibatches(self) -> int:
        """Those of one update."""
        return 2 if self.soft.temperature == "meta" and self.soft.resample else 1

    @property
    def draws(self) -> int:
        """Transitions of a call."""
        return self.updates_per_call * self.minibatches * self.soft.minibatch


class Minibatch(NamedTuple):
    """Transitions, and the noise of the actions that an update samples for them."""

    transitions: Transition  # leaves [S, ...]
    noise: Array  # [S, A] standard normal, for the action in the observation
    next_noise: Array  # [S, A] for the one in the next observation


def init(rule: Rule, policy: Params, critics: tuple[Params, ...]) -> State:
    """Returns the state before the first update."""
    log_alpha = jnp.log(jnp.asarray(rule.soft.alpha, jnp.float32))
    return State(
        policy=policy,
        critics=critics,
        targets=critics,
        policy_optimizer=_policy_optimizer(rule).init(policy),
        critic_optimizer=optimizers.adam().init(critics),
        log_alpha=log_alpha,
        alpha_optimizer=optimizers.meta_adam(rule.optimizer).init(log_alpha),
        updates=jnp.zeros((), jnp.int32),
    )


def update(
    rule: Rule, state: State, sample: Sample, all_sum: AllSum
) -> tuple[State, Metrics]:
    """Makes `updates_per_call` updates, or none while the replay has too little.

    Args:
      rule: the constants.
      state: the same on all of k devices, before and after.
      sample: this device's share: `rule.draws / k` transitions.
      all_sum: over devices.

    Returns:
      The state, and metrics: means over the updates. Those of losses are NaN where
      there were none.
    """
    parts = (-1, rule.updates_per_call, rule.minibatches)

    def split(leaf: Array) -> Array:
        # The rows of a minibatch come first, so that each device has some of each.
        return jnp.moveaxis(jnp.reshape(leaf, parts + leaf.shape[1:]), 0, 2)

    # The same function for `learn` and `wait`, so that JAX traces it once.
    step = functools.partial(_update, rule, sample.initial, all_sum)

    def learn(state: State) -> tuple[State, Metrics]:
        drawn = jax.tree.map(split, (sample.transitions, sample.keys))
        state, metrics = jax.lax.scan(step, state, drawn)
        return state, {name: jnp.mean(value) for name, value in metrics.items()}

    def wait(state: State) -> tuple[State, Metrics]:
        names = jax.eval_shape(learn, state)[1]
        nothing = {name: jnp.full((), jnp.nan) for name in names}
        return state, {**nothing, _SKIPPED: jnp.zeros(())}

    late = all_sum(jnp.sum(~jnp.asarray(sample.ready), dtype=jnp.int32))
    learned, metrics = jax.lax.cond(late == 0, learn, wait, state)
    return learned._replace(updates=state.updates + 1), {
        **metrics,
        _SKIPPED: (metrics[_SKIPPED] > 0).astype(float),
        "hyperparameters/log_alpha/head_1": state.log_alpha,
    }


def _update(
    rule: Rule,
    initial: Array,
    all_sum: AllSum,
    state: State,
    drawn: tuple[Transition, Array],
) -> tuple[State, Metrics]:
    """One update on minibatches [M, S, ...]; where it is not finite, none."""
    first, *others = (
        minibatch(*jax.tree.map(lambda leaf, m=m: leaf[m], drawn))
        for m in range(rule.minibatches)
    )
    second = others[0] if others else first  # the ablation D.2 has no B'
    new = state
    tuned: Metrics = {}
    if rule.soft.temperature == "meta":
        tuned[_TUNED] = meta_gradient(rule, state, first, initial, all_sum)
        new = _tuned(rule, new, tuned[_TUNED])
    alpha = jnp.exp(new.log_alpha)
    new, critic = _learn_critics(rule, new, alpha, second, all_sum)
    new, policy = _learn_policy(rule, new, alpha, second, all_sum)
    if rule.soft.temperature == "entropy":
        # d/d log alpha of alpha (H - target), at the entropy of the policy before
        tuned[_TUNED] = alpha * (policy["entropy"] - rule.entropy_target)
        new = _tuned(rule, new, tuned[_TUNED])
    metrics = {**critic, **policy, **tuned}
    finite = jnp.all(jnp.isfinite(jnp.stack(list(metrics.values()))))
    new = jax.tree.map(lambda old, new: jnp.where(finite, new, old), state, new)
    return new, {**metrics, _SKIPPED: 1.0 - finite}


def _learn_critics(
    rule: Rule,
    state: State,
    alpha: Array,
    batch: Minibatch,
    all_sum: AllSum,
) -> tuple[State, Metrics]:
    def loss(critics: tuple[Params, ...]) -> tuple[Array, Array]:
        return critic_loss(rule, critics, state, alpha, batch)

    (loss_, value), gradient = jax.value_and_grad(loss, has_aux=True)(state.critics)
    gradient, loss_, value = all_sum((gradient, loss_, value))
    critics, optimizer, norm = _stepped(
        rule, optimizers.adam(), state.critics, gradient, state.critic_optimizer
    )
    tau = rule.soft.tau
    targets = jax.tree.map(lambda t, q: t + tau * (q - t), state.targets, critics)
    state = state._replace(critics=critics, critic_optimizer=optimizer, targets=targets)
    return state, {"loss/critic": loss_, "value": value, "gradient_norm/critic": norm}


def _learn_policy(
    rule: Rule,
    state: State,
    alpha: Array,
    batch: Minibatch,
    all_sum: AllSum,
) -> tuple[State, Metrics]:
    def loss(policy: Params) -> tuple[Array, Array]:
        log_pi, value = policy_terms(rule, policy, state.critics[0], batch)
        return alpha * log_pi - value, log_pi

    (loss_, log_pi), gradient = jax.value_and_grad(loss, has_aux=True)(state.policy)
    gradient, loss_, log_pi = all_sum((gradient, loss_, log_pi))
    policy, optimizer, norm = _stepped(
        rule,
        _policy_optimizer(rule),
        state.policy,
        gradient,
        state.policy_optimizer,
    )
    state = state._replace(policy=policy, policy_optimizer=optimizer)
    return state, {
        "loss/policy": loss_,
        "entropy": -log_pi,
        "gradient_norm/policy": norm,
    }


def critic_loss(
    rule: Rule,
    critics: tuple[Params, ...],
    state: State,
    alpha: Array,
    batch: Minibatch,
) -> tuple[Array, Array]:
    """Half the squared errors of both Q functions, and the mean of the first one.

    Source: Meta-SAC, Eq. 4, with the smaller of two targets (SAC-v2, Sec. 5). Classic
    values, of the ablation D.3, differ in the target alone: it has no entropy.
    """
    step = batch.transitions
    outputs = rule.policy(state.policy, step.next_observation)
    following = sampled(outputs, batch.next_noise)
    log_pi = distributions.soft_log_prob(outputs, following)
    terms, seen = [], []
    weights = (alpha, 0.0)[: len(critics)]
    for params, target, weight in zip(critics, state.targets, weights, strict=True):
        pair = rule.critics(target, step.next_observation, jnp.tanh(following))
        bootstrap = jnp.minimum(*pair) - weight * log_pi
        goal = step.reward + rule.soft.gamma * step.discount * bootstrap
        values = rule.critics(params, step.observation, jnp.tanh(step.action))
        errors = [value - jax.lax.stop_gradient(goal) for value in values]
        terms += [0.5 * _mean(rule, jnp.square(error)) for error in errors]
        seen.append(_mean(rule, values[0]))
    return sum(terms, jnp.zeros(())), seen[0]


def policy_terms(
    rule: Rule, policy: Params, critics: Params, batch: Minibatch
) -> tuple[Array, Array]:
    """The two terms of the policy's loss, alpha log pi - Q (Meta-SAC, Eq. 5).

    Returns:
      The means of log pi(a | s), and of the smaller Q, at sampled actions.
    """
    observation = batch.transitions.observation
    outputs = rule.policy(policy, observation)
    action = sampled(outputs, batch.noise)
    log_pi = distributions.soft_log_prob(outputs, action)
    value = jnp.minimum(*rule.critics(critics, observation, jnp.tanh(action)))
    return _mean(rule, log_pi), _mean(rule, value)


def meta_gradient(
    rule: Rule,
    state: State,
    batch: Minibatch,
    initial: Array,
    all_sum: AllSum,
) -> Array:
    """d/d log alpha of the meta loss after the policy's step (Meta-SAC, Eq. 7 and 8).

    The policy's gradient is alpha times that of log pi, less that of Q. Both are summed
    over devices first, so what is differentiated is arithmetic of their elements.
    """
    soft = state.critics[0]
    _, pull_back = jax.vjp(
        lambda policy: policy_terms(rule, policy, soft, batch), state.policy
    )
    (of_log_pi,), (of_value,) = pull_back((1.0, 0.0)), pull_back((0.0, 1.0))
    of_log_pi, of_value = all_sum((of_log_pi, of_value))

    def loss_after_step(log_alpha: Array) -> Array:
        alpha = jnp.exp(log_alpha)
        gradient = jax.tree.map(lambda e, q: alpha * e - q, of_log_pi, of_value)
        policy, *_ = _stepped(
            rule,
            _policy_optimizer(rule),
            state.policy,
            gradient,
            state.policy_optimizer,
        )
        return meta_loss(rule, policy, state.critics[-1], batch, initial)

    return all_sum(jax.grad(loss_after_step)(state.log_alpha))


def meta_loss(
    rule: Rule, policy: Params, critics: Params, batch: Minibatch, initial: Array
) -> Array:
    """Minus the smaller Q of the policy's mean action (Meta-SAC, Eq. 8).

    It has no entropy in it, and its states are beginnings of episodes, or for the
    ablation D.1 those of the minibatch.
    """
    states, count = initial, rule.soft.initial_states
    if rule.soft.meta_states == "replay":
        states, count = batch.transitions.observation, rule.soft.minibatch
    mean, _ = distributions.soft_mean_and_log_std(rule.policy(policy, states))
    return -jnp.sum(jnp.minimum(*rule.critics(critics, states, jnp.tanh(mean)))) / count


def sampled(outputs: Array, noise: Array) -> Array:
    """The actions before the tanh of so much standard normal noise, [S, A]."""
    mean, log_std = distributions.soft_mean_and_log_std(outputs)
    return mean + jnp.exp(log_std) * noise


def minibatch(transitions: Transition, keys: Array) -> Minibatch:
    """Adds each transition's noise, which comes from its key alone."""
    shape = (2, transitions.action.shape[-1])
    noise = jax.vmap(functools.partial(jax.random.normal, shape=shape))(keys)
    return Minibatch(transitions, noise[:, 0], noise[:, 1])


def _mean(rule: Rule, column: Array) -> Array:
    """This device's share of the mean over the minibatch."""
    return jnp.sum(column) / rule.soft.minibatch


def _policy_optimizer(rule: Rule) -> optimizers.Optimizer:
    if rule.soft.policy_optimizer == "rmsprop":
        return optimizers.rmsprop(rule.optimizer)
    return optimizers.adam()


def _stepped(
    rule: Rule,
    optimizer: optimizers.Optimizer,
    params: Tree,
    gradient: Tree,
    moments: Tree,
) -> tuple[Tree, Tree, Array]:
    """Parameters and moments after a step, and the gradient's norm."""
    gradient, norm = optimizers.clip_by_global_norm(
        gradient, rule.optimizer.max_gradient_norm, rule.optimizer.clip_derivative
    )
    direction, moments = optimizer.update(gradient, moments)
    rate = rule.optimizer.learning_rate
    return jax.tree.map(lambda p, d: p - rate * d, params, direction), moments, norm


def _tuned(rule: Rule, state: State, gradient: Array) -> State:
    """Steps log alpha; Meta-SAC clips its gradient, and its alpha is at most 1."""
    meta = rule.soft.temperature == "meta"
    if meta:
        gradient = jnp.clip(gradient, -rule.soft.alpha_clip, rule.soft.alpha_clip)
    direction, optimizer = optimizers.meta_adam(rule.optimizer).update(
        gradient, state.alpha_optimizer
    )
    log_alpha = state.log_alpha + direction
    log_alpha = jnp.minimum(log_alpha, 0.0) if meta else log_alpha
    return state._replace(log_alpha=log_alpha, alpha_optimizer=optimizer)
