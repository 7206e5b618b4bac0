"""Surrogates by name and their Gaussian means, and the maps of staircases that have them."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import hntk
from hntk.activations.straight_through import StraightThroughStep, cross_means, own_slope
from hntk.activations.surrogates import as_surrogates
from tests.support.precision import precision

STEPS = hntk.staircase([-0.3, 0.2, 1.1], [0.0, 0.5, 1.1, 3.0])
# every kind of conditional mean: constants, jumps, ramps, exponentials, and by quadrature
NAMES = ["straight_through", "clipped", "triangle", "gaussian", "relu", "tanh"]


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    with precision(True):
        yield


def stretched(name: str) -> hntk.Surrogate:
    return hntk.surrogate(name, width=1.7, height=0.6)


def expectation(function: hntk.Surrogate, mean: float, root: float) -> float:
    """Return E[φ(mean + root ξ)] by SciPy, between the points where φ has jumps or corners."""
    points = [(function.width * p - mean) / root for p in function.shape.breakpoints]
    edges = [-9.0, *sorted(np.clip(points, -9, 9)), 9.0]
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = 0.0
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        xi = (low + high) / 2 + (high - low) / 2 * nodes
        values = np.asarray(function(mean + root * xi)) * norm.pdf(xi)
        total += (high - low) / 2 * float(weights @ values)
    return total


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("straight_through", [1, 1, 1]),
        ("clipped", [1, 0, 0]),
        ("triangle", [0.5, 0, 0]),
        ("gaussian", np.exp([-0.125, -1.125, -4.5])),
        ("relu", [1, 1, 0]),
        ("sigmoid", 1 / (2 + 2 * np.cosh([0.5, 1.5, 3.0]))),
    ],
)
def test_surrogates_by_name(name: str, values: list[float]) -> None:
    t = jnp.array([0.5, 1.5, -3.0])
    np.testing.assert_allclose(hntk.surrogate(name)(t), values, rtol=1e-14)
    np.testing.assert_allclose(hntk.surrogate(name, width=2.0, height=-3.0)(2 * t), -3 * np.array(values), rtol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_means_and_maps_against_quadrature(name: str) -> None:
    function = stretched(name)
    mean, slope = function.means(0.9)
    expected = [expectation(function, 0.9 * z, np.sqrt(1e-12)) for z in (-0.5, 0.0, 0.5)]
    np.testing.assert_allclose(mean, expectation(function, 0.0, 0.9), rtol=1e-12)
    h = 1e-4
    bent = (expectation(function, h, 0.9) - expectation(function, -h, 0.9)) / (2 * h)
    np.testing.assert_allclose(slope, bent, atol=1e-8)
    np.testing.assert_allclose([function(0.9 * z) for z in (-0.5, 0.0, 0.5)], expected, atol=1e-5 + (name == "relu"))
    layer, q1, q2 = StraightThroughStep.of(STEPS.step_function, function), 1.2, 0.8
    rho = np.array([0.3, -0.6, 0.999])
    found = layer.derivative_map(jnp.asarray(rho * np.sqrt(q1 * q2)), q1, q2)
    for r, value in zip(rho, found, strict=True):
        root = np.sqrt(q2 * (1 - r * r))
        means = [expectation(function, r * s * np.sqrt(q2 / q1), root) for s in STEPS.thresholds]
        wanted = np.sum(STEPS.jumps * norm.pdf(STEPS.thresholds, 0, np.sqrt(q1)) * means)
        np.testing.assert_allclose(value, wanted, rtol=1e-11)
    own = np.sum(STEPS.jumps * norm.pdf(STEPS.thresholds, 0, 0.9) * np.asarray(function(jnp.array(STEPS.thresholds))))
    np.testing.assert_allclose(own_slope(STEPS, function, 0.9), own, rtol=1e-12)


@pytest.mark.nightly
def test_many_pairs_through_the_series() -> None:
    layer = StraightThroughStep.of(STEPS.step_function, stretched("tanh"))
    left, right = layer.side(jnp.array([1.2, 0.7])), layer.side(jnp.array([0.8, 1.5, 1.0]))
    rows, columns = jax.tree.map(lambda a: a[..., :, None], left), jax.tree.map(lambda a: a[..., None, :], right)
    cov = 0.2 * jnp.array([[1.0, -1.0, 0.3], [0.5, 1.2, -0.7]])
    maps = layer.pairs(rows, columns, cov)
    assert maps.certain is not None
    assert bool(maps.certain.all())
    np.testing.assert_allclose(maps.derivative, layer.derivative_map(cov, rows.var, columns.var), rtol=1e-12)
    np.testing.assert_allclose(maps.covariance, STEPS.covariance_map(cov, rows.var, columns.var), rtol=1e-11)


def test_cross_means_are_derivatives_of_the_map() -> None:
    function, q, c, h = stretched("clipped"), 1.1, 0.4, 1e-3
    layer = StraightThroughStep.of(STEPS.step_function, function)
    means = cross_means(STEPS, function, q, c)

    def at(c: float, q1: float, q2: float) -> float:
        return float(layer.derivative_map(jnp.asarray(c), q1, q2))

    np.testing.assert_allclose(means[1, 1], at(c, q, q), rtol=1e-12)
    np.testing.assert_allclose(means[2, 2], (at(c + h, q, q) - at(c - h, q, q)) / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(means[3, 1] / 2, (at(c, q + h, q) - at(c, q - h, q)) / (2 * h), rtol=1e-4)
    np.testing.assert_allclose(means[1, 3] / 2, (at(c, q, q + h) - at(c, q, q - h)) / (2 * h), rtol=1e-4)


def test_widths_relative_to_the_scale_of_a_layer() -> None:
    relative = hntk.surrogate("clipped", width=1.5, relative=True)
    assert relative.at(0.4) == hntk.surrogate("clipped", width=0.6000000000000001)
    assert hntk.surrogate(relative, height=2.0) == hntk.surrogate("clipped", width=1.5, height=2.0, relative=True)


def test_refusals() -> None:
    relu = hntk.activation("relu")
    with pytest.raises(ValueError, match="delta functions"):
        hntk.surrogate("sign")
    with pytest.raises(ValueError, match="width"):
        hntk.surrogate("clipped", width=0.0)
    with pytest.raises(ValueError, match="hntk.surrogate, got 3"):
        hntk.surrogate(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown activation 'cliped'"):
        hntk.surrogate("cliped")
    with pytest.raises(ValueError, match="layer 1 \\(relu\\) is no staircase.*None"):
        as_surrogates(["clipped", "clipped"], [relu, STEPS])
    with pytest.raises(ValueError, match="hntk.staircase"):
        as_surrogates("clipped", [hntk.activation(jnp.sign, breakpoints=[0.0])])
    with pytest.raises(ValueError, match="got 1 of them"):
        as_surrogates(["clipped"], [STEPS, STEPS])
    with pytest.raises(ValueError, match="no layer jumps"):
        as_surrogates("clipped", [relu])
    assert as_surrogates("clipped", [relu, STEPS]) == (None, hntk.surrogate("clipped"))
