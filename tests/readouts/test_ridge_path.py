"""Solutions at many ridges, against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from hntk.readouts.ridge_path import ridge_path

RIDGES = (1e-4, 0.1, 1e3)


@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_every_solution_solves_its_equations(n: int) -> None:
    rng = np.random.default_rng(n)
    factor, y = rng.standard_normal((n, n + 2)), rng.standard_normal((n, 3))
    matrix = factor @ factor.T
    for ridge, found in zip(RIDGES, ridge_path(matrix.copy(), y, RIDGES), strict=True):
        np.testing.assert_allclose((matrix + ridge * np.eye(n)) @ found, y, atol=1e-9)


def test_ridges_below_the_rounding_errors_of_a_matrix_of_low_rank() -> None:
    """Single precision leaves negative eigenvalues, which count as zeros."""
    factor = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    matrix = (factor @ factor.T).astype(np.float64)
    assert np.linalg.eigvalsh(matrix)[0] < -1e-12
    y = matrix @ np.ones((40, 1))
    (found,) = ridge_path(matrix.copy(), y, [1e-13])
    np.testing.assert_allclose(matrix @ found, y, rtol=1e-4)
