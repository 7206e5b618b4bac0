r"""Kernel ridge regression on class labels or real-valued targets, for a kernel that is a matrix or an operator.

Targets of classes are one-hot rows minus the shares of the classes; those of a regression are standardised. With kernel
K and ridge λ the dual coefficients are $(K + \lambda I)^{-1} Y$, and a new sample's scores are its kernel values times
these, plus the means. Sample i is missed by $[(K + \lambda I)^{-1} Y]_i / [(K + \lambda I)^{-1}]_{ii}$ when all others
are fitted on (leave-one-out), so that one eigendecomposition gives the errors at every ridge.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import scipy
from jaxtyping import Float, Int

from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import row_blocks
from hntk.readouts.answers import Answers

# Ridges to choose from, in units of the kernel's mean eigenvalue.
RIDGES = tuple(np.logspace(-4, 3, 29).tolist())
# a symmetric matrix of independent roundings has eigenvalues up to twice their size times √n, and these are not quite
# independent
ROUNDINGS = 8
# where kernels that are not positive definite come from
DECLARED = (
    "Where the NTK's diagonal is declared, kernels between close samples may be larger than it: a larger kappa_sq, or "
    "kernel='ck', is a remedy."
)


class Kernel(Protocol):
    """What choosing a ridge needs of a kernel between n samples, such as of :class:`hntk.StructuredKernel`."""

    def leave_one_out_grid(
        self, y: Float[np.ndarray, "n K"], ridges: Sequence[float]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows K"]]]:
        """Yield leave-one-out errors at several ridges, some rows at a time."""
        ...


@array_dataclass()
class DenseKernel:
    """A kernel matrix by its eigenvalues and eigenvectors.

    Attributes
    ----------
    values : ndarray of shape (n,)
        Eigenvalues; those below 0, which a kernel has by rounding only, are 0.
    vectors : ndarray of shape (n, n)
        Eigenvectors as columns.
    column_means : ndarray of shape (n,) or None
        Means of the kernel's columns before it was centred; None where it was not. On a centred kernel regression
        fits an intercept too.
    """

    values: Float[np.ndarray, " n"]
    vectors: Float[np.ndarray, "n n"]
    column_means: Float[np.ndarray, " n"] | None = None

    @staticmethod
    def of(matrix: Float[np.ndarray, "n n"], *, centred: bool = False, overwrite: bool = False) -> DenseKernel:
        """Decompose a symmetric matrix, after features were centred on the samples where ``centred`` says so.

        Where ``overwrite`` says so, eigenvectors take the place of a matrix that is not needed any more.
        """
        own = matrix if overwrite else matrix.copy()
        means = centre(own) if centred else None
        # LAPACK's matrices have columns in a row
        values, vectors = scipy.linalg.eigh(own.T, overwrite_a=True, driver="evd", check_finite=False)
        _warn_if_indefinite(values)
        return DenseKernel(np.maximum(values, 0.0), vectors, means)

    @property
    def mean_eigenvalue(self) -> float:
        """The unit of the ridges to choose from, never 0."""
        return max(float(self.values.mean()), np.finfo(float).tiny)

    def solve(self, y: Float[np.ndarray, "n K"], ridge: float) -> Float[np.ndarray, "n K"]:
        """Return (K + λI)⁻¹ y; for a centred kernel of y minus its mean."""
        solved = self.vectors @ (self.vectors.T @ y / (self.values + ridge)[:, None])
        return solved if self.column_means is None else solved - solved.mean(axis=0)

    def leave_one_out_grid(
        self, y: Float[np.ndarray, "n K"], ridges: Sequence[float]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows K"]]]:
        """Yield leave-one-out errors at several ridges, some rows at a time.

        Parameters
        ----------
        y : ndarray of shape (n, K)
            Targets; of mean 0 for a centred kernel.
        ridges : sequence of float
            Positive ridges.

        Yields
        ------
        rows : slice
            Which samples.
        errors : ndarray of shape (len(ridges), rows, K)
            Target minus prediction by the other samples.
        """
        inverse = 1 / (self.values[:, None] + np.asarray(ridges))
        solutions = inverse[:, :, None] * (self.vectors.T @ y)[:, None, :]
        # An intercept that is fitted too takes 1/n of what every sample leaves.
        intercept = 0.0 if self.column_means is None else 1 / (len(y) * np.asarray(ridges))
        for rows in row_blocks(self.vectors, max(len(y), solutions[0].size)):
            part = self.vectors[rows]
            solved = np.tensordot(part, solutions, 1)
            diagonal = np.maximum(part**2 @ inverse - intercept, np.finfo(float).tiny)
            yield rows, np.swapaxes(solved / diagonal[:, :, None], 0, 1)


def centre(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """Make a symmetric matrix P K P with P = I − 11ᵀ/n, where it is; return the means of its columns before."""
    means = matrix.mean(axis=0)
    matrix -= means
    matrix -= (means - means.mean())[:, None]
    return means


@array_dataclass()
class CentredTargets:
    """What a kernel regression is fitted to: a prediction is ``mean + spread * score``.

    Attributes
    ----------
    values : ndarray of shape (n, K)
        One-hot rows minus the shares of the classes, or standardised targets.
    mean : ndarray of shape (K,)
        Shares of the classes, or means of the targets.
    spread : ndarray of shape (K,)
        1 for classes, or standard deviations of the targets.
    index : ndarray of shape (n,) or None
        Class 0 … K − 1 of every sample; None for a regression.
    """

    values: Float[np.ndarray, "n K"]
    mean: Float[np.ndarray, " K"]
    spread: Float[np.ndarray, " K"]
    index: Int[np.ndarray, " n"] | None

    @staticmethod
    def of(answers: Answers) -> CentredTargets:
        """Make the targets of labels, or of targets that a user gave."""
        if answers.index is not None:
            return CentredTargets.of_classes(answers.index)
        mean, spread = answers.scale()
        return CentredTargets((answers.values - mean) / spread, mean, spread, None)

    @staticmethod
    def of_classes(index: Int[np.ndarray, " n"]) -> CentredTargets:
        """Make the targets of classes 0 … K − 1, each of which occurs."""
        shares = np.bincount(index) / index.size
        return CentredTargets(np.eye(shares.size)[index] - shares, shares, np.ones(shares.size), index)

    def right(self, errors: Float[np.ndarray, "l m K"], rows: slice) -> Int[np.ndarray, " l"]:
        """Return how many of some samples are recognised with these errors of their targets; 0 for a regression."""
        if self.index is None:
            return np.zeros(len(errors), int)
        return np.sum(np.argmax(self.values[rows] + self.mean - errors, axis=2) == self.index[rows], axis=1)


class Trial(NamedTuple):
    """How one ridge did.

    Attributes
    ----------
    ridge : float
        λ.
    squared_error : float
        Mean over the samples of the squared norm of the leave-one-out error; targets of a regression are counted in
        units of their standard deviations, so that 1 a target is the error of its mean.
    accuracy : float or None
        Share of the leave-one-out predictions that are right; None for a regression.
    """

    ridge: float
    squared_error: float
    accuracy: float | None


def try_ridges(
    kernel: Kernel, targets: CentredTargets, ridges: Sequence[float], progress: Callable[[int], None] | None = None
) -> tuple[Trial, ...]:
    """Return leave-one-out error and accuracy at every ridge; ``progress`` gets the number of samples done."""
    squares, right = np.zeros(len(ridges)), np.zeros(len(ridges))
    for rows, errors in kernel.leave_one_out_grid(targets.values, ridges):
        squares += np.sum(errors**2, axis=(1, 2))
        right += targets.right(errors, rows)
        if progress is not None:
            progress(rows.stop - rows.start)
    n = len(targets.values)
    shares = [None] * len(ridges) if targets.index is None else (right / n).tolist()
    return tuple(map(Trial, map(float, ridges), (squares / n).tolist(), shares))


def lowest_error(trials: Sequence[Trial]) -> Trial:
    """Return the trial of the lowest mean squared error."""
    return min(trials, key=lambda trial: trial.squared_error)


def highest_accuracy(trials: Sequence[Trial]) -> Trial:
    """Return the trial of the highest accuracy; of equal ones the largest ridge, which is the most stable."""
    return max(trials, key=lambda trial: (trial.accuracy or 0.0, trial.ridge))


@array_dataclass()
class KernelRidge:
    """A classifier by kernel ridge regression with a dense kernel.

    Attributes
    ----------
    dual : ndarray of shape (n, K)
        Coefficients of the training samples.
    offset : ndarray of shape (K,)
        Scores of a sample whose kernel with every training sample is 0.
    trial : Trial
        The ridge, and how it did.
    """

    dual: Float[np.ndarray, "n K"]
    offset: Float[np.ndarray, " K"]
    trial: Trial

    def scores(self, kernel: Float[np.ndarray, "m n"]) -> Float[np.ndarray, "m K"]:
        """Return one score per class of new samples, from their kernel with the training samples."""
        return kernel @ self.dual + self.offset


def fit_kernel_ridge(
    kernel: DenseKernel,
    index: Int[np.ndarray, " n"],
    ridges: Sequence[float],
    choose: Callable[[Sequence[Trial]], Trial] = lowest_error,
) -> KernelRidge:
    """Fit at the ridge that ``choose`` finds the best by leave-one-out predictions.

    Parameters
    ----------
    kernel : DenseKernel
        Kernel between the training samples.
    index : ndarray of shape (n,)
        Their classes 0 … K − 1.
    ridges : sequence of float
        Values of λ to choose from.
    choose : callable
        :func:`lowest_error` or :func:`highest_accuracy`.

    Returns
    -------
    KernelRidge
        The classifier.
    """
    targets = CentredTargets.of_classes(index)
    trial = choose(try_ridges(kernel, targets, ridges))
    dual = kernel.solve(targets.values, trial.ridge)
    means = kernel.column_means
    return KernelRidge(dual, targets.mean - (0.0 if means is None else means @ dual), trial)


def solve_ridge(
    matrix: Float[np.ndarray, "n n"], y: Float[np.ndarray, "n K"], ridge: float, *, overwrite: bool = False
) -> Float[np.ndarray, "n K"]:
    """Return (A + λI)⁻¹ y by a Cholesky factor of a positive semidefinite matrix.

    Parameters
    ----------
    matrix : ndarray of shape (n, n)
        A, symmetric; its precision is the one computed in.
    y : ndarray of shape (n, K)
        Right-hand sides.
    ridge : float
        Ridge λ > 0. Where it is below the rounding errors of A and no factor exists, eigenvectors of A whose
        eigenvalues are nothing but such errors count for nothing.
    overwrite : bool
        Whether A may be written to, which saves a copy.

    Returns
    -------
    ndarray of shape (n, K)
        The solution.
    """
    return ridge_solver(matrix if overwrite else matrix.copy(), ridge)(y)


def ridge_solver(
    matrix: Float[np.ndarray, "n n"], ridge: float
) -> Callable[[Float[np.ndarray, "n K"]], Float[np.ndarray, "n K"]]:
    """Return the function that :func:`solve_ridge` is of y, for a matrix that is overwritten by its factor."""
    diagonal = matrix.diagonal().copy()
    np.fill_diagonal(matrix, diagonal + ridge)
    try:
        # LAPACK writes the factor into columns: of the transpose, so that nothing is copied and A's lower half stays.
        factor = scipy.linalg.cho_factor(matrix.T, lower=True, overwrite_a=True)
    except np.linalg.LinAlgError:
        np.fill_diagonal(matrix, diagonal)
        values, vectors = np.linalg.eigh(matrix)
        _warn_if_indefinite(values)
        return lambda y: solve_truncated(values, vectors, y, ridge)
    return lambda y: scipy.linalg.cho_solve(factor, y)


def eigenvalue_rounding(mean: float, n: int) -> float:
    """Return what rounding n × n entries to float32 may add to an eigenvalue of a kernel with this mean eigenvalue."""
    return ROUNDINGS * float(np.finfo(np.float32).eps) * abs(mean) * float(np.sqrt(n))


def _warn_if_indefinite(values: Float[np.ndarray, " n"]) -> None:
    """Warn if an eigenvalue, of those in ascending order, is below 0 by more than rounding."""
    if values[0] < -eigenvalue_rounding(float(np.mean(values)), len(values)):
        warnings.warn(
            f"the kernel is not positive definite: its negative eigenvalues, from {values[0]:.2g} on, are taken for 0. "
            f"{DECLARED}",
            stacklevel=2,
        )


def solve_truncated(
    values: Float[np.ndarray, " n"], vectors: Float[np.ndarray, "n n"], y: Float[np.ndarray, "n K"], ridge: float
) -> Float[np.ndarray, "n K"]:
    """Return (A + λI)⁻¹ y from A's eigenvalues, ascending, and eigenvectors.

    Negative eigenvalues are taken for 0. Directions of sums with λ that are nothing but rounding errors are left out.
    """
    sums = np.maximum(values, 0.0) + ridge
    real = sums > np.finfo(np.float32).eps * values[-1]
    return vectors[:, real] @ (vectors[:, real].T @ y / sums[real, None])
