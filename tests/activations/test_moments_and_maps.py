"""Gaussian moments and kernel maps of every activation, against quadrature, simulation and other closed forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import hntk
from tests.support.precision import precision

NAMES = [n for n in hntk.activation_names() if n not in ("polynomial", "staircase")]


OTHERS: dict[str, Callable[[], hntk.Activation]] = {
    "leaky_relu of another slope": lambda: hntk.activation("leaky_relu", slope=0.1),
    "polynomial": lambda: hntk.activation("polynomial", coefficients=[0.3, -1.0, 0.5, 0.2]),
    "staircase": lambda: hntk.staircase([-0.5, 0.3, 1.2], [-1.0, 0.0, 0.5, 2.0]),
    "clip": lambda: hntk.activation(lambda t: jnp.clip(t, -1, 1), breakpoints=[-1, 1], name="clip"),
    "hard shrink": lambda: hntk.activation(lambda t: jnp.where(t > 0.5, t, 0.0), breakpoints=[0.5], name="hard"),
}


@cache
def made(name: str) -> hntk.Activation:
    return OTHERS[name]() if name in OTHERS else hntk.activation(name)


@pytest.fixture(params=[*NAMES, *OTHERS])
def act(request: pytest.FixtureRequest) -> hntk.Activation:
    """Every activation of the library, and two that are integrated as a user's functions are."""
    return made(request.param)


def split_rule(breakpoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and Gaussian weights between all breakpoints, by 40-point Gauss-Legendre on short panels."""
    edges = np.unique(np.concatenate([np.linspace(-12, 12, 97), breakpoints[np.abs(breakpoints) < 12]]))
    x, w = np.polynomial.legendre.leggauss(40)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    xi = (middle[:, None] + half[:, None] * x).ravel()
    return xi, (half[:, None] * w).ravel() * norm.pdf(xi)


@pytest.mark.parametrize("tau", [0.1, pytest.param(1.0, marks=pytest.mark.nightly), 3.0])
def test_moments_against_split_quadrature_and_stein(act: hntk.Activation, tau: float) -> None:
    xi, w = split_rule(np.array(act.breakpoints) / tau)
    sigma = np.asarray(act(jnp.asarray(tau * xi)))
    mean = w @ sigma
    c = sigma - mean
    second = w * (xi**2 - 1)
    expected = [mean, (w * xi) @ c / tau, second @ c / tau**2, second @ c**2 / tau**2, w @ c**2]
    m = act.moments(tau)
    np.testing.assert_allclose([m.mean, m.e1, m.e2, m.s2, m.variance], expected, rtol=1e-10, atol=2e-10)
    slope = np.asarray(jax.vmap(jax.grad(lambda t: jnp.sum(act(t))))(jnp.asarray(tau * xi)))
    assert m.d == np.inf if act.has_jumps else np.isclose(m.d, w @ slope**2, rtol=1e-10)


@pytest.mark.parametrize("tau", [1e-6, 1e6])
def test_moments_at_extreme_scales_follow_the_scaling_of_relu(tau: float) -> None:
    relu, far = hntk.activation("relu").moments(1.0), hntk.activation("relu").moments(tau)
    np.testing.assert_allclose(far.unit_targets[:2], [relu.e1 * tau, relu.e2 * tau], rtol=1e-13)
    assert np.isclose(far.variance, relu.variance * tau**2, rtol=1e-13)


def test_small_scales_lose_no_digits() -> None:
    """Leading terms of the Taylor series at τ = 1e-4."""
    tau = 1e-4
    assert np.isclose(hntk.activation("gaussian").moments(tau).variance, tau**4 / 2, rtol=1e-7)
    assert np.isclose(hntk.activation("cos").moments(tau).s2, 2 * tau**2, rtol=1e-7)
    assert np.isclose(hntk.activation("sigmoid").moments(tau).e1, 0.25, rtol=1e-7)
    assert abs(hntk.activation("sigmoid").moments(tau).e2) < 1e-12


@pytest.mark.often("relu", "erf", "gaussian", "staircase", "clip")
@pytest.mark.slow
def test_kernel_maps_against_monte_carlo(act: hntk.Activation) -> None:
    """2e6 antithetic pairs, five standard errors, unequal variances; the wrong correlation must be told apart."""
    z = np.random.default_rng(0).standard_normal((2, 1_000_000))
    v1, v2, rho = 1.3, 0.6, 0.7
    values, kernel_map = jax.jit(act), jax.jit(act.kernel_map)
    products = []
    for sign in (1, -1):
        u, v = np.sqrt(v1) * sign * z[0], np.sqrt(v2) * sign * (rho * z[0] + np.sqrt(1 - rho**2) * z[1])
        products.append(np.asarray(values(u)) * np.asarray(values(v)))
    sample = (products[0] + products[1]) / 2
    error = 5 * sample.std() / np.sqrt(sample.size)
    cov = rho * np.sqrt(v1 * v2)
    assert abs(float(kernel_map(cov, v1, v2)) - sample.mean()) < error
    assert abs(float(kernel_map(0.9 * cov, v1, v2)) - sample.mean()) > error


@pytest.mark.often("relu", "abs", "sign", "gelu", "cos", "gaussian", "polynomial", "staircase", "hard shrink")
@pytest.mark.slow
def test_derivative_map_is_the_derivative_of_the_covariance_map(act: hntk.Activation) -> None:
    """Price's theorem, d/dcov E[σσ] = E[σ'σ'], also for jumps; both sides of the pair may be swapped."""
    v1, v2, h = 1.3, 0.6, 1e-5
    covariance_map, derivative_map = jax.jit(act.covariance_map), jax.jit(act.derivative_map)
    cov = np.array([-0.8, -0.3, 0.0, 0.4, 0.8]) * np.sqrt(v1 * v2)
    difference = (covariance_map(cov + h, v1, v2) - covariance_map(cov - h, v1, v2)) / (2 * h)
    found = derivative_map(cov, v1, v2)
    np.testing.assert_allclose(found, difference, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(derivative_map(cov, v2, v1), found, rtol=1e-10, atol=1e-12)


@pytest.mark.often("relu", "abs", "sign", "gelu", "cos", "gaussian", "polynomial", "staircase", "hard shrink")
def test_the_diagonal_is_the_variance(act: hntk.Activation) -> None:
    m = act.moments(0.9)
    assert np.isclose(float(jax.jit(act.covariance_map)(0.81, 0.81, 0.81)), m.variance, rtol=1e-10)
    assert np.isclose(float(jax.jit(act.derivative_map)(0.81, 0.81, 0.81)), m.d, rtol=1e-9)


@pytest.mark.often("relu", "tanh", "gelu", "clip")
def test_the_derivative_map_approaches_the_diagonal(act: hntk.Activation) -> None:
    """Stein's identity would divide roundings by the distance from ρ = 1; a kink's map changes with its root."""
    if act.has_jumps:
        return
    v, diagonal = 0.81, act.moments(0.9).d
    for double, gaps in ((True, [1e-14, 1e-12, 1e-9, 1e-6]), (False, [1e-5, 1e-4])):
        with precision(double):
            for gap in gaps:
                found = float(jax.jit(act.derivative_map)(v * (1 - gap), v, v))
                assert abs(found - diagonal) < 2 * diagonal * np.sqrt(gap if act.breakpoints else gap**2) + 1e-4 ** (
                    1 + double
                ), (gap, found)


@pytest.mark.slow
def test_variances_of_many_samples_have_derivatives_at_the_largest_and_the_least_too() -> None:
    act, var = hntk.activation("tanh"), jnp.linspace(0.5, 2.0, 200)
    _, slope = jax.jvp(act.variance_map, (var,), (jnp.ones_like(var),))
    np.testing.assert_allclose(slope, [act.moments(float(v) ** 0.5).s2 / 2 for v in var], rtol=1e-11)


@pytest.mark.often("-0.9999", "0.3", "0.97")
@pytest.mark.parametrize("rho", [-0.9999, -0.6, 0.0, 0.3, 0.97, 0.99999])
def test_steps_against_scipys_bivariate_normal(rho: float) -> None:
    s, t, v1, v2 = 0.4, -0.2, 1.7, 0.8
    step = hntk.staircase([s], [0.0, 1.0])
    both = hntk.staircase([t], [0.0, 1.0])
    # σ = 1{x ≥ s} + 1{x ≥ t}: expand the product of sums into four orthant probabilities
    total = hntk.staircase([t, s], [0.0, 1.0, 2.0])

    def orthant(a: float, b: float) -> float:
        bounds = [-a / np.sqrt(v1), -b / np.sqrt(v2)]
        return float(multivariate_normal.cdf(bounds, cov=[[1, rho], [rho, 1]], abseps=1e-13, releps=1e-13))  # type: ignore[arg-type]

    cov = jnp.asarray(rho * np.sqrt(v1 * v2))
    assert np.isclose(float(step.kernel_map(cov, v1, v2)), orthant(s, s), atol=1e-7)
    assert np.isclose(float(both.kernel_map(cov, v1, v2)), orthant(t, t), atol=1e-7)
    expected = sum(orthant(a, b) for a in (s, t) for b in (s, t))
    assert np.isclose(float(total.kernel_map(cov, v1, v2)), expected, atol=4e-7)


def test_sign_has_the_arcsine_kernel() -> None:
    rho = jnp.array([-1.0, -0.99, -0.5, 0.0, 0.2, 0.9, 0.999, 0.9999999, 1.0])
    found = hntk.activation("sign").kernel_map(rho, 1.0, 1.0)
    np.testing.assert_allclose(found, 2 / np.pi * np.arcsin(rho), atol=1e-12)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_users_function_equals_the_closed_form() -> None:
    own = hntk.activation(lambda t: jnp.where(t > 0, t, 0.1 * t), breakpoints=[0.0], name="own")
    closed = hntk.activation("leaky_relu", slope=0.1)
    cov = jnp.array([-0.97, -0.4, 0.0, 0.5, 0.97]) * np.sqrt(1.3 * 0.6)
    for name in ("covariance_map", "derivative_map"):
        np.testing.assert_allclose(getattr(own, name)(cov, 1.3, 0.6), getattr(closed, name)(cov, 1.3, 0.6), atol=1e-9)


@pytest.mark.parametrize("tau", [0.0, -1.0, np.nan, np.inf])
def test_scales_must_be_positive(tau: float) -> None:
    with pytest.raises(ValueError, match="positive finite"):
        hntk.activation("relu").moments(tau)
    with pytest.raises(ValueError, match="tau0"):
        hntk.coefficients(["relu"], tau)


@pytest.mark.often("gelu")
@pytest.mark.parametrize("name", ["gelu", pytest.param("softplus", marks=pytest.mark.slow)])
def test_derivatives_of_maps_where_a_variance_vanishes(name: str) -> None:
    """By Price's theorem the derivative by the covariance is σ'(0) E[σ'(v)] there; no square of it underflows."""
    sigma = hntk.activation(name)
    covariance = jax.jit(jax.grad(lambda c, v: sigma.covariance_map(c, v, 0.8)))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    slopes = jax.vmap(jax.grad(sigma))(jnp.sqrt(0.8) * nodes)
    expected = jax.grad(sigma)(0.0) * (weights @ slopes) / np.sqrt(2 * np.pi)
    for variance in (1e-12, 1e-150, 0.0):
        np.testing.assert_allclose(covariance(0.0, variance), expected, rtol=1e-9)
    both = jax.jit(jax.grad(lambda v: sigma.derivative_map(0.0, v, v)))
    assert np.isfinite(both(3e-155))
