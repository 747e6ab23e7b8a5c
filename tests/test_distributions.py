"""The two policies: densities, divergences and samples against integrals and counts."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from stac import distributions

pytestmark = pytest.mark.usefixtures("double_precision")

# Outputs y of one action dimension: (for the mean, for the standard deviation).
OUTPUTS = [(0.0, 0.0), (0.7, 1.5), (-2.0, -0.3), (0.1, 4.0)]
U = np.linspace(-9.0, 9.0, 200_001)  # before the tanh; nine standard deviations


@pytest.fixture(name="normal")
def _normal() -> distributions.Distribution:
    return distributions.tanh_normal(1)


def log_density(
    normal: distributions.Distribution, y: tuple[float, float]
) -> np.ndarray:
    """Of u, on the grid."""
    outputs = jnp.broadcast_to(jnp.array(y), (len(U), 2))
    return np.asarray(normal.log_prob(outputs, jnp.array(U)[:, None]))


def integral(values: np.ndarray) -> float:
    return float(np.sum(values) * (U[1] - U[0]))


def test_mean_and_spread_are_those_of_section_9_3() -> None:
    for y in OUTPUTS:
        mean, log_std = distributions.mean_and_log_std(jnp.array(y))
        assert float(mean[0]) == pytest.approx(np.tanh(y[0]))
        assert float(log_std[0]) == pytest.approx(-4 + 0.5 * 4 * (np.tanh(y[1]) + 1))
    for extreme, bound in ((-50.0, -4.0), (50.0, 0.0)):
        _, log_std = distributions.mean_and_log_std(jnp.array([0.0, extreme]))
        assert float(log_std[0]) == bound


@pytest.mark.parametrize("y", OUTPUTS)
def test_the_density_integrates_to_one_and_has_its_moments(normal, y) -> None:
    p = np.exp(log_density(normal, y))
    mean, log_std = distributions.mean_and_log_std(jnp.array(y))
    assert integral(p) == pytest.approx(1.0, abs=1e-9)
    assert integral(U * p) == pytest.approx(float(mean[0]), abs=1e-9)
    variance = integral((U - float(mean[0])) ** 2 * p)
    assert variance == pytest.approx(float(np.exp(2 * log_std[0])), abs=1e-9)


@pytest.mark.parametrize("y", OUTPUTS)
def test_entropy_and_regulariser_are_their_integrals(normal, y) -> None:
    log_p = log_density(normal, y)
    p, log_standard = np.exp(log_p), -0.5 * (U**2 + np.log(2 * np.pi))
    entropy = -integral(p * log_p)
    assert float(normal.entropy(jnp.array(y))) == pytest.approx(entropy, abs=1e-8)
    kl = integral(p * (log_p - log_standard))
    assert float(normal.regulariser(jnp.array(y))) == pytest.approx(kl, abs=1e-8)


@pytest.mark.parametrize("y", OUTPUTS)
@pytest.mark.parametrize("other", OUTPUTS)
def test_the_kl_is_its_integral_and_the_same_for_squashed_actions(
    normal, y, other
) -> None:
    """With a = tanh u, p(a) = p(u) / (1 - a^2): integrated over a here, not over u."""
    a, grid = np.tanh(U), np.abs(U) < 8  # beyond, neither mass nor digits are left
    jacobian = np.log1p(-(a[grid] ** 2))
    log_p, log_q = (log_density(normal, z)[grid] - jacobian for z in (y, other))
    value = np.sum(np.gradient(a)[grid] * np.exp(log_p) * (log_p - log_q))
    kl = float(normal.kl(jnp.array(y), jnp.array(other)))
    assert kl == pytest.approx(float(value), rel=1e-6, abs=1e-8)


def test_the_jacobian_cancels_in_the_importance_ratio(normal) -> None:
    y, other = jnp.array(OUTPUTS[0]), jnp.array(OUTPUTS[1])
    u = jnp.array([0.3])

    def squashed(outputs: jax.Array) -> jax.Array:
        """log p(a) at a = tanh u, by differentiating the distribution function."""
        a = jnp.tanh(u[0])
        mean, log_std = distributions.mean_and_log_std(outputs)

        def distribution_function(a: jax.Array) -> jax.Array:
            z = (jnp.arctanh(a) - mean[0]) * jnp.exp(-log_std[0])
            return jax.scipy.stats.norm.cdf(z)

        return jnp.log(jax.grad(distribution_function)(a))

    ratio = normal.log_prob(y, u) - normal.log_prob(other, u)
    assert float(ratio) == pytest.approx(
        float(squashed(y) - squashed(other)), rel=1e-10
    )
    change = squashed(y) - normal.log_prob(y, u)
    assert float(change) == pytest.approx(-np.log(1 - np.tanh(0.3) ** 2), rel=1e-10)


def test_dimensions_are_independent() -> None:
    both, one = distributions.tanh_normal(2), distributions.tanh_normal(1)
    y = jnp.array([0.7, -2.0, 1.5, -0.3])  # two means, then two spreads
    apart = [jnp.array([0.7, 1.5]), jnp.array([-2.0, -0.3])]
    u = jnp.array([0.4, -1.1])
    for found, parts in (
        (both.log_prob(y, u), [one.log_prob(y, u[i : i + 1]) for i, y in pairs(apart)]),
        (both.entropy(y), [one.entropy(y) for y in apart]),
        (both.regulariser(y), [one.regulariser(y) for y in apart]),
        (both.kl(y, -y), [one.kl(y, -y) for y in apart]),
    ):
        assert float(found) == pytest.approx(float(sum(parts)), rel=1e-12)


def pairs(apart: list[jax.Array]) -> Iterator[tuple[int, jax.Array]]:
    return iter(enumerate(apart))


def test_samples_are_of_the_density_and_the_logs_say_what_it_is(normal) -> None:
    y = jnp.array([0.7, 1.5])
    mean, log_std = distributions.mean_and_log_std(y)
    outputs = jnp.broadcast_to(y, (100_000, 2))
    samples = np.asarray(normal.sample(jax.random.PRNGKey(0), outputs))
    spread = float(np.exp(log_std[0]))
    assert samples.mean() == pytest.approx(float(mean[0]), abs=4 * spread / 316)
    assert samples.std() == pytest.approx(spread, rel=0.01)
    said = {name: float(value) for name, value in normal.describe(-y).items()}
    _, other = distributions.mean_and_log_std(-y)
    assert said == pytest.approx(
        {"policy_mean": float(mean[0]), "policy_std": float(np.exp(other[0]))}
    )


@pytest.mark.parametrize("std", [0.02, 0.5, 0.99])
def test_the_bias_makes_the_asked_standard_deviation(std: float) -> None:
    normal = distributions.tanh_normal(2, std)
    mean, log_std = distributions.mean_and_log_std(jnp.asarray(normal.bias))
    np.testing.assert_allclose(np.exp(log_std), [std, std], rtol=1e-5)
    np.testing.assert_array_equal(mean, [0, 0])


def test_without_a_wish_there_is_no_bias() -> None:
    assert not distributions.tanh_normal(3).bias.any()
    assert not distributions.categorical(3).bias.any()


def test_a_softmax_counts_as_it_says() -> None:
    softmax = distributions.categorical(3)
    y, other = jnp.array([0.2, -1.0, 2.0]), jnp.array([1.0, 0.5, -0.5])
    p, q = (np.exp(v) / np.exp(v).sum() for v in (np.asarray(y), np.asarray(other)))
    logs = [float(softmax.log_prob(y, jnp.array(a))) for a in range(3)]
    np.testing.assert_allclose(np.exp(logs), p, rtol=1e-12)
    assert float(softmax.entropy(y)) == pytest.approx(-np.sum(p * np.log(p)))
    assert float(softmax.regulariser(y)) == pytest.approx(np.sum(p * np.log(p)))
    assert float(softmax.kl(y, other)) == pytest.approx(np.sum(p * np.log(p / q)))
    samples = softmax.sample(jax.random.PRNGKey(0), jnp.broadcast_to(y, (100_000, 3)))
    counted = np.bincount(np.asarray(samples), minlength=3) / 100_000
    np.testing.assert_allclose(counted, p, atol=0.006)
