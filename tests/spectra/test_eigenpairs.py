"""Leading eigenpairs: of matrices, in memory and on disk, and of operators, against dense algebra."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np
import pytest

import hntk
from tests.support.spiked_matrix import MATRIX, VALUES, N


@dataclass
class Counted:
    """A matrix behind its products, which are counted."""

    matrix: np.ndarray
    vectors: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        return self.matrix.shape

    def matvec(self, v: np.ndarray) -> np.ndarray:
        self.vectors.append(v.ndim)
        return self.matrix @ v


def test_a_matrix_of_float32_on_disk_is_multiplied_in_float64(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "k.npy", MATRIX.astype(np.float32))
    stored = np.load(tmp_path / "k.npy", mmap_mode="r")
    monkeypatch.setattr("hntk._utils.rows.BLOCK", 8 * N * 7)  # seven rows at a time
    expected = np.linalg.eigvalsh(MATRIX.astype(np.float32).astype(np.float64))[::-1]
    np.testing.assert_allclose(hntk.leading_eigenpairs(stored, 4).values, expected[:4], rtol=1e-12)


def test_leading_eigenpairs_are_those_of_the_matrix_in_few_products() -> None:
    operator = Counted(MATRIX)
    found = hntk.leading_eigenpairs(operator, 5)
    np.testing.assert_allclose(found.values, VALUES[:5], rtol=1e-12)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(5), atol=1e-10)
    assert np.all(found.residuals < 1e-10)
    assert len(operator.vectors) < 0.8 * N
    assert set(operator.vectors) == {1}
    rough = hntk.leading_eigenpairs(Counted(MATRIX), 5, tolerance=1e-2)
    assert np.all(np.abs(rough.values - VALUES[:5]) <= rough.residuals + 1e-12)
    small = MATRIX[:40, :40]
    np.testing.assert_allclose(hntk.leading_eigenpairs(small, 39).values, np.linalg.eigvalsh(small)[:0:-1])


@pytest.mark.slow
def test_of_kernels_as_operators() -> None:
    data = hntk.reference_mixture(n=120, p=40, key=jax.random.key(0))
    kernel = hntk.equivalent_kernels(data.x, data.labels, ["relu"] * 2).ntk
    np.testing.assert_allclose(
        hntk.leading_eigenpairs(kernel, 4).values, np.linalg.eigvalsh(kernel.to_dense())[::-1][:4], rtol=1e-10
    )
    net = hntk.dense(["relu"] * 2, [50, 50], data.x, key=jax.random.key(1))
    exact = np.linalg.eigvalsh(hntk.empirical_kernels(net, data.x).ntk)[::-1]
    np.testing.assert_allclose(hntk.leading_eigenpairs(hntk.EmpiricalNTK(net, data.x), 4).values, exact[:4], rtol=1e-9)


def test_what_does_not_converge_is_said() -> None:
    with pytest.raises(ArithmeticError, match=r"of 20 eigenpairs: give more steps="):
        hntk.leading_eigenpairs(np.diag(1 + 1e-9 * np.arange(2000.0)), 20, steps=1)
    for k in (0, N):
        with pytest.raises(ValueError, match="k must"):
            hntk.leading_eigenpairs(MATRIX, k)
