"""Structured kernels: every operation against the matrix, in chunks, in float32, from a disk."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows as blocks

SIZES = [(20, 60), (64, 61), (120, 10), (301, 40)]


def kernel_of(n: int, p: int, x: np.ndarray | None = None) -> hntk.StructuredKernel:
    """An NTK's equivalent, on other samples of this size if given."""
    data = hntk.reference_mixture(n=n, p=p, key=jax.random.key(5))
    samples = np.asarray(data.x) if x is None else x
    return hntk.equivalent_kernels(samples, data.labels, ["relu"] * 2).ntk


@pytest.fixture(params=[2**25, 5000])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole, or a few rows at a time."""
    monkeypatch.setattr(blocks, "BLOCK", request.param)


@pytest.mark.usefixtures("chunk")
@pytest.mark.parametrize(("n", "p"), SIZES)
def test_everything_against_the_matrix(n: int, p: int) -> None:
    kernel, ridge = kernel_of(n, p), 0.05
    dense = kernel.to_dense()
    y = np.random.default_rng(0).standard_normal((n, 2))
    inside = dense + ridge * np.eye(n)
    np.testing.assert_allclose(kernel.matvec(y), dense @ y, atol=1e-12)
    np.testing.assert_allclose(kernel.eigvalsh(), np.linalg.eigvalsh(dense)[::-1], atol=1e-12)
    np.testing.assert_allclose(kernel.solve(y, ridge), np.linalg.solve(inside, y), atol=1e-10)
    np.testing.assert_allclose(kernel.solve(y[:, 0], ridge), np.linalg.solve(inside, y[:, 0]), atol=1e-10)
    assert kernel.log_determinant(ridge) == pytest.approx(np.linalg.slogdet(inside)[1], rel=1e-11)
    np.testing.assert_allclose(kernel.inverse_diagonal(ridge), np.diag(np.linalg.inv(inside)), rtol=1e-9)
    expected = np.trace(dense @ np.linalg.inv(inside))
    assert kernel.effective_dimension(ridge) == pytest.approx(expected, rel=1e-10)
    values, vectors = kernel.eigh(3)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-10)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-10)


@pytest.mark.parametrize(("n", "p"), [(20, 60), (50, 49), (120, 10)])
def test_structured_operator_against_dense_algebra(n: int, p: int) -> None:
    data = hntk.reference_mixture(n=n, p=p, key=jax.random.key(5))
    for kernel in hntk.equivalent_kernels(data.x, data.labels, ["relu"] * 2):
        dense = np.asarray(kernel.to_dense())
        y = np.random.default_rng(0).standard_normal((n, 2))
        np.testing.assert_allclose(kernel.matvec(y), dense @ y, atol=1e-10)
        np.testing.assert_allclose(kernel.matvec(y[:, 0]), dense @ y[:, 0], atol=1e-10)
        np.testing.assert_allclose(kernel.eigvalsh(), np.linalg.eigvalsh(dense)[::-1], atol=1e-10)
        values, vectors = kernel.eigh(3)
        np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-9)
        np.testing.assert_allclose(kernel.solve(y, 0.3), np.linalg.solve(dense + 0.3 * np.eye(n), y), atol=1e-8)
        with pytest.raises(ValueError, match="k must lie"):
            kernel.eigh(n + 1)
        with pytest.raises(ValueError, match="shape"):
            kernel.matvec(np.ones(n + 1))


def test_leave_one_out_is_leaving_one_out() -> None:
    kernel, ridge = kernel_of(64, 20), 0.02
    dense, y = kernel.to_dense(), np.random.default_rng(0).standard_normal(64)
    found = kernel.leave_one_out(y, ridge)
    for i in range(0, 64, 7):
        others = np.arange(64) != i
        fitted = np.linalg.solve(dense[np.ix_(others, others)] + ridge * np.eye(63), y[others])
        assert found[i] == pytest.approx(y[i] - dense[i, others] @ fitted, rel=1e-9)
    both = kernel.leave_one_out(np.stack([y, 2 * y], axis=1), ridge)
    np.testing.assert_allclose(both, np.stack([found, 2 * found], axis=1), rtol=1e-12)
    # residuals on samples that took part are smaller
    assert np.mean((y - dense @ kernel.solve(y, ridge)) ** 2) < 0.9 * np.mean(found**2)


@pytest.mark.usefixtures("chunk")
def test_float32_samples_lose_their_own_rounding_and_no_more(tmp_path: Path) -> None:
    exact = kernel_of(301, 40)
    rounded = exact.x.astype(np.float32)
    np.save(tmp_path / "x.npy", rounded)
    on_disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    whole = hntk.StructuredKernel(rounded.astype(np.float64), exact.weight, exact.factor, exact.core, exact.shift)
    y = np.random.default_rng(0).standard_normal(301)
    for x in (rounded, on_disk):
        kernel = hntk.StructuredKernel(x, exact.weight, exact.factor, exact.core, exact.shift)
        np.testing.assert_allclose(kernel.solve(y, 0.05), whole.solve(y, 0.05), rtol=1e-12)
        np.testing.assert_allclose(kernel.eigvalsh(), whole.eigvalsh(), rtol=1e-12)
        assert np.max(np.abs(kernel.eigvalsh() - exact.eigvalsh())) > 1e-9


def test_population_quantities_of_float32_samples_are_added_up_in_float64() -> None:
    data = hntk.reference_mixture(n=3000, p=50, key=jax.random.key(0))
    rounded = np.asarray(data.x, np.float32)
    found, expected = (hntk.estimate_population(x, data.labels) for x in (rounded, rounded.astype(np.float64)))
    for name in ("means", "traces", "overlaps"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_memory_map_is_read_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "BLOCK", 20_000)
    exact = kernel_of(301, 40)

    class Rows:
        """Samples that say how many are asked for at once."""

        shape, most = exact.x.shape, 0

        def __getitem__(self, part: slice) -> np.ndarray:
            found = exact.x[part]
            self.most = max(self.most, len(found))
            return found

    rows = Rows()
    kernel = hntk.StructuredKernel(rows, exact.weight, exact.factor, exact.core, exact.shift)  # type: ignore[arg-type]
    y = np.ones(301)
    np.testing.assert_allclose(kernel.leave_one_out(y, 0.1), exact.leave_one_out(y, 0.1), rtol=1e-12)
    assert kernel.log_determinant(0.1) == pytest.approx(exact.log_determinant(0.1), rel=1e-12)
    assert 40 < rows.most < 80


def test_singular_and_indefinite_kernels_are_said() -> None:
    kernel = kernel_of(120, 10)
    for call in (kernel.solve, kernel.leave_one_out):
        with pytest.raises(ValueError, match="use a larger ridge"):
            call(np.ones(120), -kernel.shift)
    with pytest.raises(ValueError, match="use a larger ridge"):
        kernel.log_determinant(-2 * kernel.shift)
    with pytest.raises(ValueError, match="shape"):
        kernel.solve(np.ones(5), 1.0)
