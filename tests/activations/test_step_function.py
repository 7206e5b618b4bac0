"""Step functions as arrays: padding, precision, derivatives, and staircases made of them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermeval
from scipy.integrate import quad
from scipy.special import factorial
from scipy.stats import norm

import hntk
from hntk.activations.gaussian_cells import gaussian_cells
from hntk.activations.lookup import COMPARED
from hntk.activations.mehler import hermite_sums, pair_series
from hntk.activations.step_function import StepFunction, padded_alike
from tests.support.precision import precision

THRESHOLDS, LEVELS = np.array([-1.2, -0.3, 0.4, 1.9]), np.array([2.0, -0.5, 0.7, 2.0, 0.7])


def test_cells_are_the_integrals_of_the_density() -> None:
    u = np.array([-1.5, 0.2, 6.0])
    cells = gaussian_cells(u)
    edges = [-np.inf, *u, np.inf]
    for k in range(4):
        for order, value in enumerate((cells.probability, cells.first, cells.second)):
            weight = (lambda t: 1.0, lambda t: t, lambda t: t**2 - 1)[order]
            integral = quad(lambda t: weight(t) * norm.pdf(t), edges[k], edges[k + 1], epsabs=1e-14)[0]  # noqa: B023
            assert np.isclose(value[k], integral, atol=1e-12)
    # a tail of 1e-9 to its last digits
    assert np.isclose(cells.probability[-1], norm.sf(6.0), rtol=1e-13)


def test_cells_carry_complex_steps() -> None:
    u = np.array([-0.7, 0.1, 1.3])
    for i in range(3):
        moved = gaussian_cells(u + 1e-30j * np.eye(3)[i])
        ahead, behind = (gaussian_cells(u + h * np.eye(3)[i]) for h in (1e-6, -1e-6))
        for slope, high, low in zip(moved, ahead, behind, strict=True):
            np.testing.assert_allclose(np.imag(slope) / 1e-30, (high - low) / 2e-6, atol=1e-9)


def test_moments_are_the_staircases_whatever_the_precision() -> None:
    staircase = hntk.staircase(THRESHOLDS, LEVELS)
    values = quad_moments(staircase, 0.8)
    with precision(False):
        moments = StepFunction(THRESHOLDS, LEVELS, 0.0).moments(0.8)
    np.testing.assert_allclose([moments.mean, moments.e1, moments.variance], values, rtol=1e-12)
    assert moments.d == np.inf
    assert StepFunction(THRESHOLDS, np.ones(5)).moments().d == 0.0
    assert np.isclose(StepFunction(THRESHOLDS, LEVELS, 3.0).moments().mean, 3.0 + staircase.moments(1.0).mean)


def quad_moments(staircase: hntk.Staircase, tau: float) -> list[float]:
    """Mean, e1 and variance by quadrature over every cell."""
    edges = [-12.0, *np.array(staircase.thresholds) / tau, 12.0]

    def expect(values: list[float], weight) -> float:  # noqa: ANN001
        cells = zip(values, edges[:-1], edges[1:], strict=True)
        return sum(g * quad(lambda t: weight(t) * norm.pdf(t), a, b, epsabs=1e-15)[0] for g, a, b in cells)

    mean = expect(list(staircase.levels), lambda t: 1.0)
    squares = [(g - mean) ** 2 for g in staircase.levels]
    return [mean, expect(list(staircase.levels), lambda t: t) / tau, expect(squares, lambda t: 1.0)]


def test_normalised_functions_have_mean_0_and_variance_1_and_no_idle_thresholds() -> None:
    idle = StepFunction(np.array([-1.0, 0.0, 0.0, 0.5]), np.array([1.0, 1.0, 7.0, 3.0, 2.0]))
    function = idle.normalised()
    assert function.thresholds.tolist() == [0.0, 0.5]
    moments = function.moments()
    assert abs(moments.mean) < 1e-15
    assert np.isclose(moments.variance, 1.0)
    assert function.level_count == 3
    # a threshold that coincides with another is passed at once
    plain = StepFunction(np.array([0.0, 0.5]), np.array([1.0, 3.0, 2.0])).moments()
    np.testing.assert_allclose(moments.e1, plain.e1 / np.sqrt(plain.variance), rtol=1e-12)


@pytest.mark.nightly
def test_padding_changes_no_map() -> None:
    short, long = StepFunction(THRESHOLDS[:1], LEVELS[:2]), StepFunction(THRESHOLDS, LEVELS)
    padded = padded_alike([short, long])
    assert [f.thresholds.shape for f in padded] == [(8,), (8,)]
    cov = jnp.array([0.3, -0.5, 0.99, 1.0])
    for one, other in zip((short, long), padded, strict=True):
        for name in ("covariance_map", "derivative_map"):
            np.testing.assert_allclose(getattr(other, name)(cov, 1.0, 1.1), getattr(one, name)(cov, 1.0, 1.1))
        np.testing.assert_allclose(other.mean_map(1.3), one.mean_map(1.3))
    assert padded_alike([]) == []


@pytest.mark.nightly
def test_kernels_can_be_differentiated_by_thresholds_and_levels() -> None:
    function = StepFunction(jnp.asarray(THRESHOLDS), jnp.asarray(LEVELS))
    gradient = jax.grad(lambda f: f.covariance_map(0.4, 0.9, 1.2))(function)
    for field in ("thresholds", "levels"):
        for i in range(getattr(function, field).size):
            shifted = [
                StepFunction(**{"thresholds": THRESHOLDS, "levels": LEVELS, field: at}).covariance_map(0.4, 0.9, 1.2)
                for at in (np.array(getattr(function, field)) + h * np.eye(5)[i, : getattr(function, field).size]
                           for h in (1e-6, -1e-6))
            ]  # fmt: skip
            assert np.isclose(getattr(gradient, field)[i], (shifted[0] - shifted[1]) / 2e-6, atol=1e-7)


def test_a_large_offset_costs_the_kernel_no_digits_in_float32() -> None:
    near, far = (hntk.staircase([-0.5, 0.6], 1e6 + np.array([0.0, 0.25, 1.0]) if far else [0.0, 0.25, 1.0])
                 for far in (False, True))  # fmt: skip
    functions = [
        jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), layer.step_function) for layer in (near, far)
    ]
    kernels = [f.covariance_map(*map(jnp.float32, (0.4, 1.0, 1.0))) for f in functions]
    assert kernels[0] == kernels[1] != 0.0


def test_step_functions_are_pytrees_that_vmap_takes() -> None:
    stacked = StepFunction(jnp.stack([jnp.asarray(THRESHOLDS)] * 2), jnp.stack([jnp.asarray(LEVELS)] * 2), jnp.zeros(2))
    np.testing.assert_allclose(
        jax.vmap(lambda f: f.variance_map(1.0))(stacked), StepFunction(THRESHOLDS, LEVELS).variance
    )


@pytest.mark.parametrize("count", [3, COMPARED + 5])
def test_staircases_take_the_level_of_the_cell(count: int) -> None:
    rng = np.random.default_rng(0)
    thresholds, levels = np.sort(rng.normal(size=count)), rng.normal(size=count + 1)
    staircase = hntk.staircase(thresholds, levels)
    t = np.concatenate([rng.normal(size=200), thresholds, [np.nan]])
    expected = [levels[sum(s <= value for s in thresholds)] for value in t]
    np.testing.assert_array_equal(staircase(jnp.asarray(t)), expected)


def test_the_repr_of_a_staircase_is_short() -> None:
    small = hntk.staircase([0.5], [0, 2], "two")
    assert repr(small) == "Staircase(thresholds=(0.5,), levels=(0.0, 2.0), name='two')"
    large = hntk.staircase(np.arange(1000.0), np.arange(1001.0))
    assert repr(large) == "Staircase(1000 thresholds from 0 to 999, name='staircase')"


@pytest.mark.parametrize(
    ("thresholds", "levels", "name", "message"),
    [([], [1.0], "s", "N - 1 >= 1"), ([0.0], [1.0], "s", "N levels"), ([0.0], [1.0, np.inf], "s", "finite"),
     ([1.0, 0.0], [1.0, 2.0, 3.0], "s", "ascending"), ([0.0], [1.0, 2.0], 7, "name must be text")],
)  # fmt: skip
def test_bad_staircases_are_refused(thresholds: list, levels: list, name: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hntk.staircase(thresholds, levels, name)  # type: ignore[arg-type]


def test_a_constant_staircase_has_no_jump() -> None:
    flat = hntk.staircase([0.0, 1.0], [2.0, 2.0, 2.0])
    assert not flat.has_jumps
    assert flat.moments(1.0).d == 0.0
    assert hntk.staircase([0.0, 1.0], [2.0, 0.0, 2.0]).level_count == 2


def test_hermite_polynomials_are_numpys() -> None:
    xi = np.linspace(-3, 3, 7)
    for k, values in enumerate(hermite_sums(jnp.asarray(xi)[None], jnp.ones((1, xi.size)), 12)):
        np.testing.assert_allclose(values, hermeval(xi, np.eye(13)[k]) / np.sqrt(factorial(k)), atol=1e-11)


@pytest.mark.slow
def test_derivatives_of_the_pair_series_are_the_sums() -> None:
    a, b, rho = (
        jnp.asarray(np.random.default_rng(i).uniform(-1, 1, s)) for i, s in enumerate([(5, 3), (5, 4), (3, 4)])
    )
    plain = lambda a, b, rho: jnp.sum(jnp.sin(sum(a[k][:, None] * b[k] * rho**k for k in range(5))))  # noqa: E731
    slopes = jax.grad(lambda *v: jnp.sum(jnp.sin(pair_series(*v))), (0, 1, 2))(a, b, rho)
    for one, other in zip(slopes, jax.grad(plain, (0, 1, 2))(a, b, rho), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)
