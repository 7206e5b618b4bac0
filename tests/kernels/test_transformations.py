"""Exact kernels under JAX's transformations: against finite differences, and against the kernels computed by tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hntk

STAIRS = hntk.staircase([-0.4, 0.2, 1.1], [0.0, 0.4, 1.0, 2.2])
X = np.random.default_rng(0).standard_normal((4, 3)) / 3**0.5
# equal, opposite and proportional samples, orthogonal ones, and one that is 0
SPECIAL = np.concatenate([X, X[:1], -X[1:2], 2 * X[2:3], 0.7 * np.eye(2, 3), np.zeros((1, 3))])
CLOSED_FORMS: dict[str, list] = {
    "relu, erf": ["relu", "erf"],
    "abs, gaussian": ["abs", "gaussian"],
    "sin, cos": ["sin", "cos"],
    "leaky_relu, quadratic": ["leaky_relu", "quadratic"],
    "linear, polynomial": ["linear", hntk.activation("polynomial", coefficients=[0.3, -1.0, 0.5, 0.2])],
    "stairs, relu": [STAIRS, "relu"],
    "sign": ["sign"],
}
QUICK = ("relu, erf", "sin, cos")
REPEATED = ("abs, gaussian", "stairs, relu", "leaky_relu, quadratic", "linear, polynomial")
by_cost = [
    pytest.param(name, marks=pytest.mark.nightly if name in REPEATED else () if name in QUICK else pytest.mark.slow)
    for name in CLOSED_FORMS
]


def both(layers: Sequence, **options: object) -> Callable[[object], jax.Array]:
    """The two kernels in one array, as a function of the samples."""
    return lambda x: jnp.stack(hntk.exact_kernels(x, layers, **options))  # type: ignore[arg-type]


def central_differences(function: Callable, x: np.ndarray, step: float) -> np.ndarray:
    columns = []
    for place in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[place] = step
        with np.errstate(invalid="ignore"):
            columns.append((np.asarray(function(x + shift)) - np.asarray(function(x - shift))) / (2 * step))
    return np.stack(columns, axis=-1).reshape(*columns[0].shape, *x.shape)


@pytest.mark.often("relu, erf")
@pytest.mark.parametrize("name", by_cost)
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    """The scale at which activations are centred varies with the samples; infinite entries have the derivative 0."""
    kernels = both(CLOSED_FORMS[name])
    values, compiled = np.asarray(kernels(X)), np.asarray(jax.jit(kernels)(X))
    finite = np.isfinite(values)
    np.testing.assert_array_equal(np.isfinite(compiled), finite)
    np.testing.assert_allclose(compiled[finite], values[finite], rtol=1e-12, atol=1e-14)
    found = np.asarray(jax.jit(jax.jacrev(kernels))(X))
    expected = np.where(finite[..., None, None], central_differences(kernels, X, 1e-6), 0.0)
    np.testing.assert_allclose(found, expected, atol=2e-8)
    assert np.max(np.abs(expected)) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "relu, erf" else pytest.mark.nightly) for n in CLOSED_FORMS]
)
def test_derivatives_are_finite_where_samples_are_parallel_equal_or_zero(name: str) -> None:
    """At corners of the kernels they are the mean over opposite directions, which central differences give, too."""
    kernels = both(CLOSED_FORMS[name], tau0=1.0, kappa_sq=2.0)
    values = np.asarray(kernels(SPECIAL))
    assert not np.any(np.isnan(values))
    compiled = np.asarray(jax.jit(kernels)(SPECIAL))
    finite = np.isfinite(values)
    np.testing.assert_array_equal(compiled[~finite], values[~finite])
    np.testing.assert_allclose(compiled[finite], values[finite], rtol=1e-12, atol=1e-13)
    reverse = np.asarray(jax.jit(jax.jacrev(kernels))(SPECIAL))
    assert np.all(np.isfinite(reverse))
    # a norm of 0 has no direction; there the derivatives are finite by convention
    kept = slice(0, -1)
    expected = np.where(finite[..., None, None], central_differences(kernels, SPECIAL, 1e-5), 0.0)
    np.testing.assert_allclose(reverse[:, kept, kept, kept], expected[:, kept, kept, kept], atol=1e-4)


def test_derivatives_by_the_second_set() -> None:
    def total(x2: jax.Array) -> jax.Array:
        return hntk.exact_kernels(X, ["relu", "erf"], x2=x2).ntk.sum()

    other = X[:2] + 0.3
    expected = central_differences(total, other, 1e-6)
    for derivative in (jax.grad(total), jax.jacfwd(total)):
        np.testing.assert_allclose(derivative(jnp.asarray(other)), expected, atol=1e-8)


def test_batches_of_sample_sets() -> None:
    sets = np.stack([X, 1.5 * X[::-1], X + 0.1])
    layers = ["relu", hntk.staircase([0.1], [-1.0, 1.0])]
    found = jax.vmap(both(layers, kappa_sq=3.0))(sets)
    for mine, x in zip(found, sets, strict=True):
        np.testing.assert_allclose(mine, both(layers, kappa_sq=3.0)(x), rtol=1e-12, atol=1e-14)
    assert np.all(np.diagonal(found[:, 1], axis1=1, axis2=2) == 3.0)


@pytest.mark.often("None")
@pytest.mark.slow
@pytest.mark.parametrize("tau0", [None, 1.0])
def test_activations_known_as_functions_are_integrated_while_jax_is_tracing(tau0: float | None) -> None:
    kernels = both(["tanh", "relu"], tau0=tau0)
    np.testing.assert_allclose(jax.jit(kernels)(X), kernels(X), atol=1e-12)


def test_constants_of_a_traced_function_are_computed_by_tiles() -> None:
    product = jax.jit(lambda v: hntk.exact_kernels(X, ["relu"]).ck @ v)
    np.testing.assert_allclose(product(np.ones(4)), np.asarray(hntk.exact_kernels(X, ["relu"]).ck).sum(axis=1))


def test_shapes_and_settings_are_checked_while_jax_is_tracing() -> None:
    for x, options, message in (
        (X[0], {}, "one sample per row"),
        (X, {"x2": X[:, :2]}, "same number of columns"),
        (X, {"tile": 0}, "tile must be"),
        (X, {"tau0": -1.0}, "tau0"),
        (X + 1j, {}, "real numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            jax.jit(both(["relu"], **options))(x)  # type: ignore[arg-type]


def test_opposite_samples_of_functions_that_are_integrated() -> None:
    """An odd function of opposite samples has minus the kernels of equal ones."""
    kernels = hntk.exact_kernels(np.concatenate([X[:1], -X[:1], 2 * X[:1]]), ["tanh"], tau0=1.0)
    for kernel in map(np.asarray, kernels):
        assert kernel[0, 1] == pytest.approx(-kernel[0, 0], rel=1e-10)
        assert kernel[1, 2] == pytest.approx(-kernel[0, 2], rel=1e-10)
    xi, weight = np.polynomial.hermite_e.hermegauss(150)
    tau, weight = np.linalg.norm(X[0]), weight / weight.sum()
    slope = weight @ (1 / np.cosh(tau * xi) ** 2 / np.cosh(2 * tau * xi) ** 2)
    expected = kernels.ck[0, 2] + 2 * tau**2 * slope
    assert float(kernels.ntk[0, 2]) == pytest.approx(float(expected), rel=1e-7)
