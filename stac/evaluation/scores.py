"""Scores of a policy, and the rows that say them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping

import jax
import numpy as np

from stac import references
from stac.config import Config
from stac.environments import make
from stac.evaluation import episodes, policies, protocols
from stac.evaluation.episodes import Returns, Tell
from stac.evaluation.policies import Policy
from stac.runtime import actor
from stac.runtime.evaluator import Play
from stac.types import Params

MOST_ENVIRONMENTS = 32  # that play at the same time
_EVALUATION = 2**31 - 1  # in the place of an actor's index, for seeds of its own


def score(
    policy: Policy,
    noise: float,
    num_episodes: int,
    seed: int = 0,
    tell: Tell = lambda ended, steps: None,
    config: Config | None = None,
) -> np.ndarray:
    """Plays N episodes; returns their raw returns, [N].

    The same seed begins with the same starts, whatever the policy and the noise.

    Args:
      policy: that acts.
      noise: see Policy.
      num_episodes: N.
      seed: of environments and samples.
      tell: see episodes.returns.
      config: of the environments; by default that of `protocols`.
    """
    num_envs = min(num_episodes, MOST_ENVIRONMENTS)
    factory = make.factory(config or protocols.evaluated(policy.config))
    with (
        jax.default_device(actor.acting_device()),
        contextlib.closing(factory(seed, num_envs)) as environment,
    ):
        act = policy.act(num_envs, noise, seed)
        return episodes.returns(environment, act, num_episodes, tell)


def row(config: Config, scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    """`evaluation/WAY/return` and the like, from returns by the way of acting."""
    values: dict[str, float] = {}
    for way, returns in scores.items():
        mean, error = Returns.of(returns)
        values[f"evaluation/{way}/return"] = mean
        values[f"evaluation/{way}/error"] = error
        human = human_normalised(config, mean)
        if human is not None:
            values[f"evaluation/{way}/human_normalised"] = human
        values["evaluation/episodes"] = len(returns)
    return values


def human_normalised(config: Config, mean: float) -> float | None:
    """A game's score where 0 is random play's and 1 a human's; None elsewhere."""
    if config.environment.domain != "atari":
        return None
    return references.human_normalised(config.environment.task, mean)


def beside(config: Config) -> Play:
    """Evaluations beside training play every way of acting, from the same starts.

    Other updates have other starts.
    """
    played = protocols.evaluated(config, beside=True)
    policy = Policy(config, make.spec(played), (), 0)

    def play(
        updates: int, params: Params, check: Callable[[], object]
    ) -> dict[str, float]:
        newest = policy.of(params, updates)
        seed = actor.stream(config.seed, _EVALUATION, updates)
        count = config.runtime.evaluate_episodes
        scores = {
            way: score(newest, noise, count, seed, lambda *_: check(), played)
            for way, noise in policies.ways(config, policy.spec).items()
        }
        return row(config, scores)

    return play
