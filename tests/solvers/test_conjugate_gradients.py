"""Block conjugate gradients: against Cholesky factors and SciPy's method, on sides that depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy

from hntk.solvers.conjugate_gradients import BlockGradients, relative_norms
from hntk.solvers.low_rank import LowRank, low_rank
from hntk.solvers.operators import DenseOperator, LeadingPart

N = 200


def spectrum_matrix(values: np.ndarray, seed: int = 0) -> np.ndarray:
    q = scipy.stats.ortho_group.rvs(len(values), random_state=seed)
    return (q * values) @ q.T


def decaying() -> np.ndarray:
    return spectrum_matrix(10.0 ** np.linspace(2, -4, N))


def solved(
    matrix: np.ndarray, target: np.ndarray, inverse: Callable | None = None, tolerance: float = 1e-10
) -> BlockGradients:
    method = BlockGradients.start(target, inverse or (lambda block: block))
    while method.errors.max() > tolerance and method.steps < 10 * N:
        method.advance(matrix @ method.directions)
    return method


def test_the_solution_is_that_of_a_factor() -> None:
    matrix, target = decaying() + 0.1 * np.eye(N), np.random.default_rng(1).normal(size=(N, 4))
    method = solved(matrix, target)
    expected = scipy.linalg.solve(matrix, target, assume_a="pos")
    np.testing.assert_allclose(method.solution, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())
    # the residual that the iteration keeps is that of its solution
    np.testing.assert_allclose(method.residual, target - matrix @ method.solution, atol=1e-8)


def test_one_side_takes_the_steps_of_scipys_method() -> None:
    matrix, target = decaying() + 0.1 * np.eye(N), np.random.default_rng(1).normal(size=(N, 1))
    told: list[np.ndarray] = []
    scipy.sparse.linalg.cg(matrix, target[:, 0], rtol=1e-6, callback=lambda x: told.append(x.copy()))
    method = solved(matrix, target, tolerance=1e-6)
    assert abs(method.steps - len(told)) <= 1


def test_sides_together_take_fewer_steps_than_alone() -> None:
    matrix, target = decaying() + 0.1 * np.eye(N), np.random.default_rng(1).normal(size=(N, 8))
    alone = max(solved(matrix, target[:, [k]], tolerance=1e-6).steps for k in range(8))
    assert solved(matrix, target, tolerance=1e-6).steps < 0.7 * alone


def test_sides_that_depend_on_each_other_or_are_nothing_are_solved_too() -> None:
    matrix, rng = decaying() + 0.1 * np.eye(N), np.random.default_rng(1)
    one_hot = np.eye(5)[rng.integers(0, 5, N)]
    target = np.column_stack([one_hot - one_hot.mean(axis=0), one_hot[:, 0] - one_hot[:, 0].mean(), np.zeros(N)])
    assert BlockGradients.start(target, lambda block: block).directions.shape[1] == 4
    method = solved(matrix, target)
    np.testing.assert_allclose(matrix @ method.solution, target, atol=1e-8)
    assert not np.any(method.solution[:, -1])
    assert relative_norms(target, target)[-1] == 0


def test_a_solution_to_start_from_saves_its_steps() -> None:
    matrix, target = decaying() + 0.1 * np.eye(N), np.random.default_rng(1).normal(size=(N, 2))
    near = solved(matrix, target, tolerance=1e-6).solution
    again = BlockGradients.start(target, lambda block: block, near, target - matrix @ near)
    assert again.errors.max() < 1e-5


def test_the_inverse_of_a_low_rank_and_a_diagonal() -> None:
    rng = np.random.default_rng(2)
    part = LowRank(rng.normal(size=(N, 7)), rng.uniform(size=N))
    whole = part.factor @ part.factor.T + np.diag(part.diagonal + 0.3)
    block = rng.normal(size=(N, 3))
    np.testing.assert_allclose(part.inverse(0.3)(block), np.linalg.solve(whole, block), rtol=1e-9, atol=1e-9)
    first = part.leading(50)
    np.testing.assert_allclose(
        first.inverse(0.3)(block[:50]), np.linalg.solve(whole[:50, :50], block[:50]), rtol=1e-9, atol=1e-9
    )


def test_pivots_give_a_matrix_of_their_rank_whole() -> None:
    rng = np.random.default_rng(3)
    root = rng.normal(size=(N, 20))
    found = low_rank(DenseOperator(root @ root.T), None, 60, rng)
    np.testing.assert_allclose(found.factor @ found.factor.T, root @ root.T, atol=1e-8)
    assert found.diagonal.max() < 1e-8


def test_the_identity_of_a_matrix_is_no_work_for_pivots() -> None:
    """Pivots of UUᵀ + γI find U's part, and leave γ to the diagonal at all samples, their own included."""
    rng = np.random.default_rng(4)
    root = rng.normal(size=(N, 3)) * 2
    kernel = DenseOperator(root @ root.T + 1.5 * np.eye(N))
    found = low_rank(kernel, root, 40, rng)
    assert np.all(found.diagonal > 0.8 * 1.5)
    np.testing.assert_allclose(
        np.einsum("ij,ij->i", found.factor, found.factor) + found.diagonal, kernel.diagonal(), rtol=1e-9
    )
    target = rng.normal(size=(N, 2))
    steps = {
        name: solved(kernel.matrix, target, part.inverse(0.0), 1e-8).steps
        for name, part in (("with", found), ("without", low_rank(kernel, None, 0, rng)))
    }
    assert steps["with"] < steps["without"]


def test_samples_near_a_pivot_keep_what_the_identity_has_of_the_diagonal() -> None:
    """The least eigenvalue between few pivots is above that of the matrix where others are nearly equal to one."""
    rng = np.random.default_rng(7)
    points = np.repeat(rng.normal(size=(N // 2, 12)), 2, axis=0) + 0.05 * rng.normal(size=(N, 12))
    distances = np.sum((points[:, None] - points) ** 2, axis=2)
    kernel = DenseOperator(np.exp(-distances / 12) + 0.02 * np.eye(N))
    target = rng.normal(size=(N, 2))
    found = low_rank(kernel, None, 8, rng)
    # eigenvalues begin near .02, and those between pivots far above
    assert found.diagonal.min() > 0.2 * 0.02
    with_pivots, without = (
        solved(kernel.matrix, target, part.inverse(1e-6), 1e-8).steps
        for part in (found, low_rank(kernel, None, 0, rng))
    )
    assert with_pivots < 1.2 * without


def test_features_beyond_the_diagonal_leave_a_positive_preconditioner() -> None:
    rng = np.random.default_rng(5)
    kernel = DenseOperator(decaying())
    part = low_rank(kernel, 10 * rng.normal(size=(N, 5)), 30, rng)
    assert np.all(part.diagonal >= 0)
    assert np.linalg.eigvalsh(part.inverse(0.01)(np.eye(N)))[0] > 0


def test_a_leading_part_is_that_of_the_matrix() -> None:
    matrix, v = decaying(), np.random.default_rng(6).normal(size=(50, 2))
    part = LeadingPart(DenseOperator(matrix), 50)
    np.testing.assert_allclose(part.product(v), matrix[:50, :50] @ v)
    np.testing.assert_allclose(part.both(v)[50:], matrix[50:, :50] @ v)
    np.testing.assert_array_equal(part.columns(np.array([3, 60])), matrix[:50, [3, 60]])
    np.testing.assert_array_equal(part.diagonal(), matrix.diagonal()[:50])


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
def test_a_diagonal_of_nothing_has_an_inverse(ridge: float) -> None:
    found = LowRank(np.zeros((4, 0)), np.array([0.0, 1.0, 1.0, 2.0])).inverse(ridge)(np.ones((4, 1)))
    assert np.all(np.isfinite(found))
