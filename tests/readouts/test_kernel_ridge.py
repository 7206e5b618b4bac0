"""Kernel ridge regression against fits that are made anew: without a sample, with an intercept, by dense solves."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import hntk
from hntk._utils import rows
from hntk.readouts.kernel_ridge import (
    CentredTargets,
    DenseKernel,
    fit_kernel_ridge,
    highest_accuracy,
    lowest_error,
    solve_ridge,
    try_ridges,
)

N, RIDGES = 40, [0.03, 0.5, 20.0]


def problem(features: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Features, and classes that overlap."""
    data = hntk.reference_mixture(N, features, key=jax.random.key(0), separation=1.5)
    order = np.random.default_rng(0).permutation(N)
    return np.asarray(data.x)[order], data.labels[order]


def left_out(f: np.ndarray, y: np.ndarray, ridge: float, *, intercept: bool) -> np.ndarray:
    """Errors of N regressions, each on all other samples."""
    errors = np.empty_like(y)
    for i in range(len(f)):
        others = np.arange(len(f)) != i
        centre, mean = (f[others].mean(axis=0), y[others].mean(axis=0)) if intercept else (0.0, 0.0)
        g = f[others] - centre
        weights = np.linalg.solve(g.T @ g + ridge * np.eye(f.shape[1]), g.T @ (y[others] - mean))
        errors[i] = y[i] - (f[i] - centre) @ weights - mean
    return errors


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("features", [15, 60])
def test_leave_one_out_errors_are_those_of_regressions_without_the_sample(
    centred: bool, features: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK", 8 * N * 7)  # seven rows at a time
    f, index = problem(features)
    kernel, targets = DenseKernel.of(f @ f.T, centred=centred), CentredTargets.of_classes(index)
    blocks = list(kernel.leave_one_out_grid(targets.values, RIDGES))
    assert len(blocks) == 6
    errors = np.concatenate([block for _, block in blocks], axis=1)
    trials = try_ridges(kernel, targets, RIDGES)
    for ridge, own, trial in zip(RIDGES, errors, trials, strict=True):
        expected = left_out(f, targets.values, ridge, intercept=centred)
        np.testing.assert_allclose(own, expected, atol=1e-9)
        assert trial.ridge == ridge
        assert trial.squared_error == pytest.approx(np.mean(np.sum(expected**2, axis=1)))
        right = np.argmax(targets.values - expected, axis=1) == np.argmax(targets.values, axis=1)
        assert trial.accuracy == pytest.approx(np.mean(right))


@pytest.mark.parametrize("centred", [False, True])
def test_scores_are_those_of_regression_on_features(centred: bool) -> None:
    f, index = problem(15)
    new = np.random.default_rng(1).normal(size=(9, 15))
    fitted = fit_kernel_ridge(DenseKernel.of(f @ f.T, centred=centred), index, [0.5])
    centre = f.mean(axis=0) if centred else 0.0
    g, y = f - centre, np.eye(2)[index] - np.bincount(index) / N
    weights = np.linalg.solve(g.T @ g + 0.5 * np.eye(15), g.T @ y)
    np.testing.assert_allclose(fitted.scores(new @ f.T), (new - centre) @ weights + np.bincount(index) / N, atol=1e-10)


def test_the_ridge_is_the_best_by_either_criterion() -> None:
    f, index = problem()
    kernel = DenseKernel.of(f @ f.T)
    grid = np.multiply(np.logspace(-4, 3, 15), kernel.mean_eigenvalue).tolist()
    assert kernel.mean_eigenvalue == pytest.approx(np.trace(f @ f.T) / N)
    errors = [np.sum(left_out(f, CentredTargets.of_classes(index).values, r, intercept=False) ** 2) for r in grid]
    assert fit_kernel_ridge(kernel, index, grid, lowest_error).trial.ridge == grid[int(np.argmin(errors))]
    trials = try_ridges(kernel, CentredTargets.of_classes(index), grid)
    best = fit_kernel_ridge(kernel, index, grid, highest_accuracy).trial
    equals = [trial.ridge for trial in trials if trial.accuracy == max(t.accuracy for t in trials)]
    assert best.ridge == max(equals)
    done: list[int] = []
    try_ridges(kernel, CentredTargets.of_classes(index), grid, done.append)
    assert sum(done) == N


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("ridge", [0.3, 1e-30])
@pytest.mark.parametrize("order", ["C", "F"])
def test_solutions_below_the_rounding_errors_of_a_singular_matrix(overwrite: bool, ridge: float, order: str) -> None:
    f, index = problem(15)
    gram, y = f @ f.T, f @ np.random.default_rng(0).normal(size=(15, 2))
    given = np.array(gram, order=order)
    solved = solve_ridge(given, y, ridge, overwrite=overwrite)
    # On the range of A, of rank 15, the solution of the smallest norm.
    np.testing.assert_allclose(
        solved, f @ np.linalg.solve(f.T @ f + ridge * np.eye(15), np.linalg.pinv(f) @ y), atol=1e-9
    )
    assert overwrite or np.array_equal(given, gram)
    assert solve_ridge(gram.astype(np.float32), y.astype(np.float32), 0.3).dtype == np.float32
