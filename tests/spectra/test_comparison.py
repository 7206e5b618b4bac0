"""Distances and spectra: of operators as of their matrices, and of kernels that are none, zero or empty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

import hntk
from tests.support.samples import two_classes

N = 90
X, LABELS = two_classes(N, 20)


@cache
def kernel() -> hntk.StructuredKernel:
    return hntk.equivalent_kernels(X, LABELS, ["relu"]).ck


class Products:
    """A matrix of which products with vectors are known alone."""

    def __init__(self, matrix: np.ndarray) -> None:
        self.matrix, self.shape, self.count = matrix, matrix.shape, 0

    def matvec(self, v: np.ndarray) -> np.ndarray:
        self.count += 1
        return self.matrix @ v


OPERATORS: dict[str, Callable[[], Any]] = {
    "structured": kernel,
    "ntk": lambda: hntk.EmpiricalNTK(hntk.dense(["relu"], [16], X, key=jax.random.key(1)), X),
    "products": lambda: Products(kernel().to_dense()),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_taken_in_a_matrix_s_place(name: str) -> None:
    operator = OPERATORS[name]()
    matrix = np.asarray(operator.matrix if isinstance(operator, Products) else operator.to_dense(), float)
    assert hntk.operator_norm(operator) == pytest.approx(hntk.operator_norm(matrix), rel=1e-6)
    mine, theirs = hntk.spectrum(operator, 3), hntk.spectrum(matrix, 3)
    np.testing.assert_allclose(mine.values, theirs.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(np.abs(np.sum(mine.leading * theirs.leading, axis=0)), 1.0, rtol=1e-6)
    other = matrix + 0.1 * np.diag(np.arange(N))
    expected = astuple(hntk.compare_kernels(matrix, other))
    np.testing.assert_allclose(astuple(hntk.compare_kernels(operator, other)), expected, rtol=1e-4, atol=1e-9)
    turned = astuple(hntk.compare_kernels(other, matrix))
    np.testing.assert_allclose(astuple(hntk.compare_kernels(other, operator)), turned, rtol=1e-4, atol=1e-9)


def test_comparison_against_dense_algebra() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((90, 90))
    b = a + 0.1 * rng.standard_normal((90, 90))
    a, b = a @ a.T, b @ b.T
    found = hntk.compare_kernels(a, b, spikes=3)
    assert np.isclose(found.operator, np.linalg.norm(a - b, 2) / np.linalg.norm(a, 2), rtol=1e-8)
    assert np.isclose(found.frobenius, np.linalg.norm(a - b) / np.linalg.norm(a))
    assert found.eigenvalue_mismatch <= found.operator
    assert hntk.compare_kernels(a, a).alignment > 1 - 1e-12
    with pytest.raises(ValueError, match="kappa_sq"):
        hntk.compare_kernels(a, np.where(np.eye(90) > 0, np.inf, b))


def test_operators_stay_operators_where_that_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    products = Products(kernel().to_dense())
    hntk.operator_norm(products)
    assert 0 < products.count < N
    expected = hntk.spectrum(kernel().to_dense(), 2)
    monkeypatch.setattr(hntk.StructuredKernel, "to_dense", lambda _: pytest.fail("a matrix was made"))
    assert hntk.operator_norm(kernel()) == pytest.approx(expected.values[0])
    np.testing.assert_allclose(hntk.spectrum(kernel(), 2).values, expected.values, atol=1e-9)
    monkeypatch.setattr("hntk._utils.memory.SMALL", 0)
    monkeypatch.setattr("hntk._utils.memory.available_memory", lambda: 10_000)
    for call in (lambda: hntk.compare_kernels(kernel(), kernel()), lambda: hntk.spectrum(products, 2)):
        with pytest.raises(MemoryError, match="leading_eigenpairs"):
            call()


def test_eigenvalues_beyond_those_that_stand_out_are_found_too() -> None:
    """Of rank 2 above the bulk: the third leading eigenvector is any of the rest."""
    few = hntk.StructuredKernel(X[:, :1], 1.0, X[:, 1:2], np.eye(1), 0.5)
    found = hntk.spectrum(few, 3)
    assert found.values[2] == pytest.approx(0.5)
    assert found.leading.shape == (N, 3)


@pytest.mark.parametrize(("kernel", "said"), [
    (0, "square matrix, not empty"), (np.zeros((0, 0)), "not empty"), (np.ones((3, 2)), r"shape \(3, 2\)"),
    (np.triu(np.ones((70, 70))), "not symmetric: entries differ from their mirror images by up to 1"),
    (np.triu(np.ones((3, 3))), "not symmetric"), (np.full((3, 3), np.nan), "kappa_sq="),
    (np.eye(3) + 1j, "real numbers"), ("text", "real numbers"),
    (None, "no real numbers"), (np.ma.masked_array(np.eye(2), mask=np.eye(2)), "masked"),
])  # fmt: skip
def test_what_is_no_kernel_is_refused(kernel: Any, said: str) -> None:
    for call in (
        lambda: hntk.spectrum(kernel, 1),
        lambda: hntk.compare_kernels(kernel, kernel),
        *(() if "symmetric" in said else (lambda: hntk.operator_norm(kernel),)),
    ):
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_is_no_asymmetry(dtype: type) -> None:
    features = np.random.default_rng(0).normal(size=(100, 300)).astype(dtype)
    kernel = features @ features.T
    kernel[3, 4] *= 1 + 8 * np.finfo(dtype).eps
    assert hntk.operator_norm(kernel) == pytest.approx(np.linalg.norm(features.astype(float), 2) ** 2, rel=1e-4)
    hntk.spectral_density(kernel, probes=1, degree=3)
    # differences of kernels that agree are nothing but rounding
    noise = kernel - features @ features.T
    assert hntk.operator_norm(noise) == pytest.approx(np.linalg.norm(noise.astype(float), 2), rel=1e-6)
    assert hntk.compare_kernels(kernel, features @ features.T).operator < 1e-6
    with pytest.raises(ValueError, match="not symmetric"):
        hntk.spectral_density(kernel + np.triu(kernel), probes=1, degree=3)
    with pytest.raises(ValueError, match="not symmetric"):
        hntk.leading_eigenpairs(kernel + np.triu(kernel), 2)


@pytest.mark.parametrize("n", [5, 100])
def test_the_norm_of_a_matrix_that_is_not_symmetric_is_its_largest_singular_value(n: int) -> None:
    matrix = np.random.default_rng(0).normal(size=(n, n))
    assert hntk.operator_norm(matrix) == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-7)


@pytest.mark.parametrize("spikes", [0, -1, 4, 2.5, None, True, "2"])
def test_spikes_are_from_one_to_n(spikes: Any) -> None:
    with pytest.raises(ValueError, match="spikes must"):
        hntk.compare_kernels(np.eye(3), np.eye(3), spikes=spikes)


def test_nothing_is_relative_to_a_zero_kernel() -> None:
    with pytest.raises(ValueError, match="reference kernel is zero"):
        hntk.compare_kernels(np.zeros((3, 3)), np.eye(3), spikes=1)
    assert hntk.compare_kernels(np.eye(3), np.zeros((3, 3)), spikes=1).operator == 1.0


def test_leading_eigenvalues_that_vanish_have_a_finite_mismatch() -> None:
    one = np.outer(np.ones(4), np.ones(4))
    found = hntk.compare_kernels(one, 2 * one, spikes=3)
    assert found.spike_mismatch == pytest.approx(1.0)
    assert hntk.compare_kernels(one, one, spikes=3).spike_mismatch == 0.0


def test_lists_and_arrays_of_jax_have_a_density() -> None:
    matrix = np.diag(np.arange(5.0))
    for given in (matrix.tolist(), jax.numpy.asarray(matrix), matrix.astype(np.float32)):
        assert hntk.spectral_density(given, degree=5).moment(1)[0] == pytest.approx(2.0)
        assert hntk.leading_eigenpairs(given, 1).values == pytest.approx([4.0])
    found = hntk.spectral_density(matrix, degree=5)
    for call, said in (
        (lambda: found.density([1.0], 0.0), "width"), (lambda: found.counts([2.0, 1.0]), "ascending"),
        (lambda: found.counts([2.0]), "at least two"), (lambda: found.cdf([np.nan]), "NaN"),
        (lambda: found.mean(lambda t: np.log(t - 9)), "finite there"), (lambda: found.mean(lambda t: 1.0), "shape"),
        (lambda: found.moment(-1), "order"), (lambda: found.log_determinant(np.nan), "ridge"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said), np.errstate(all="ignore"):
            call()
