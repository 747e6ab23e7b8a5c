"""Leaky V-trace against its definition, against rlax, and at episode boundaries."""

from __future__ import annotations

import importlib.util
import pickle
import subprocess
import sys

import numpy as np
import pytest

from stac.learning import vtrace

pytestmark = pytest.mark.usefixtures("double_precision")


def random_case(rng, batch=5, length=9, cuts=True):
    """Inputs and hyperparameters of one call, with random boundaries and terminals."""
    shape = (batch, length)
    inputs = {
        "importance": np.exp(rng.normal(size=shape)),
        "reward": rng.normal(size=shape),
        "discount": (rng.random(shape) > 0.2 * cuts).astype(float),
        "valid": (rng.random(shape) > 0.2 * cuts).astype(float),
        "values": rng.normal(size=(batch, length + 1)),
    }
    hyper = {
        "gamma": rng.uniform(0.5, 1.0),
        "lambda": rng.uniform(0.5, 1.0),
        "alpha_rho": rng.uniform(),
        "alpha_c": rng.uniform(),
        "truncation": rng.uniform(0.5, 2.0),
    }
    return inputs, hyper


def double_loop(importance, reward, discount, valid, values, hyper, mixed=0.0):
    """Eq. (2) with the weights of Eq. (5): sums of products, one entry at a time."""
    batch, length = reward.shape
    v = np.array(values[:, :-1])
    advantage = np.zeros_like(reward)
    weight = lambda x, alpha: (1 - alpha) * x + alpha * min(hyper["truncation"], x)  # noqa: E731
    for b in range(batch):
        for s in range(length):
            for j in range(s, length):
                if not valid[b, s : j + 1].all():
                    break
                product = 1.0
                for i in range(s, j):
                    c = hyper["lambda"] * weight(importance[b, i], hyper["alpha_c"])
                    product *= c * hyper["gamma"] * discount[b, i]
                rho = weight(importance[b, j], hyper["alpha_rho"])
                bootstrap = hyper["gamma"] * discount[b, j] * values[b, j + 1]
                v[b, s] += product * rho * (reward[b, j] + bootstrap - values[b, j])
        for s in range(length):
            after = v[b, s + 1] if s + 1 < length else values[b, -1]
            share = 1 - mixed * (1 - hyper["lambda"])
            after = share * after + (1 - share) * values[b, s + 1]
            target = reward[b, s] + hyper["gamma"] * discount[b, s] * after
            advantage[b, s] = target - values[b, s]
    return v, advantage


@pytest.mark.parametrize("bootstrap", ["target", "mixed"])
@pytest.mark.parametrize("seed", range(5))
def test_targets_equal_the_double_loop_with_random_cuts(seed, bootstrap):
    inputs, hyper = random_case(np.random.default_rng(seed))
    targets = vtrace.targets(**inputs, hyper=hyper, bootstrap=bootstrap)
    v, advantage = double_loop(**inputs, hyper=hyper, mixed=bootstrap == "mixed")
    np.testing.assert_allclose(targets.value, v, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(targets.advantage, advantage, rtol=1e-12, atol=1e-12)


# In a process of its own: where TensorFlow 2.8 is loaded, rlax cannot be.
_RLAX = """
import pickle, sys, warnings
warnings.simplefilter("ignore")
import numpy, rlax
calls = pickle.load(sys.stdin.buffer)
results = [numpy.asarray(getattr(rlax, name)(*given)) for name, given in calls]
sys.stdout.buffer.write(pickle.dumps(results))
"""


def rlax_errors(calls):
    """The results of rlax's functions: (name, arguments) for each call."""
    if importlib.util.find_spec("rlax") is None:
        pytest.skip("rlax is not installed")
    ended = subprocess.run(
        [sys.executable, "-c", _RLAX],
        input=pickle.dumps(calls),
        capture_output=True,
        timeout=120,
        check=True,
    )
    return pickle.loads(ended.stdout)


def as_rlax_takes_them(name, inputs, hyper, *more):
    """One call for each sequence of a batch, for rlax has no batches."""
    return [
        (
            name,
            (
                inputs["values"][b, :-1],
                inputs["values"][b, 1:],
                inputs["reward"][b],
                hyper["gamma"] * inputs["discount"][b],
                inputs["importance"][b],
                *more,
            ),
        )
        for b in range(len(inputs["reward"]))
    ]


def our_errors(inputs, hyper):
    return vtrace.targets(**inputs, hyper=hyper).value - inputs["values"][:, :-1]


def test_value_errors_equal_those_of_rlax():
    """Leaky V-trace, and V-trace where alpha is 1."""
    ours, calls = [], []
    for seed in range(3):
        inputs, hyper = random_case(np.random.default_rng(seed), cuts=False)
        alpha = hyper["alpha_rho"]
        hyper |= {"alpha_rho": 1.0, "alpha_c": 1.0, "truncation": 1.0}
        ours.extend(our_errors(inputs, hyper))
        calls += as_rlax_takes_them("vtrace", inputs, hyper, hyper["lambda"])
        hyper |= {"alpha_rho": alpha, "alpha_c": alpha}
        inputs["discount"] *= np.random.default_rng(9).random((5, 9)) > 0.2
        ours.extend(our_errors(inputs, hyper))
        calls += as_rlax_takes_them(
            "leaky_vtrace", inputs, hyper, alpha, hyper["lambda"]
        )
    np.testing.assert_allclose(ours, rlax_errors(calls), rtol=1e-6, atol=1e-6)


def test_on_policy_targets_are_discounted_n_step_returns():
    inputs, hyper = random_case(np.random.default_rng(0), cuts=False)
    inputs["importance"] = np.ones_like(inputs["reward"])
    hyper |= {"lambda": 1.0, "truncation": 1.0}
    targets = vtrace.targets(**inputs, hyper=hyper)
    returns = inputs["values"][:, -1]
    for s in reversed(range(inputs["reward"].shape[1])):
        returns = inputs["reward"][:, s] + hyper["gamma"] * returns
        np.testing.assert_allclose(targets.value[:, s], returns, rtol=1e-12)


def test_a_time_limit_bootstraps_and_a_true_end_does_not():
    """One step, then the episode's final observation, then another episode."""
    common = {
        "importance": np.ones((1, 3)),
        "reward": np.array([[1.0, 0.0, 5.0]]),
        "valid": np.array([[1.0, 0.0, 1.0]]),
        "values": np.array([[10.0, 20.0, 30.0, 40.0]]),
        "hyper": {
            "gamma": 0.5,
            "lambda": 1.0,
            "alpha_rho": 1.0,
            "alpha_c": 1.0,
            "truncation": 1.0,
        },
    }
    limit = vtrace.targets(discount=np.array([[1.0, 1.0, 1.0]]), **common)
    end = vtrace.targets(discount=np.array([[0.0, 1.0, 1.0]]), **common)
    np.testing.assert_allclose(limit.value, [[1.0 + 0.5 * 20.0, 20.0, 5.0 + 20.0]])
    np.testing.assert_allclose(end.value, [[1.0, 20.0, 5.0 + 20.0]])
    assert limit.advantage[0, 0] == 1.0 + 0.5 * 20.0 - 10.0
    assert end.advantage[0, 0] == 1.0 - 10.0
