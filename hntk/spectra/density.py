r"""Spectra of symmetric operators that are known by their products with vectors.

Leading eigenpairs by Lanczos with restarts. Densities by stochastic Lanczos quadrature: k Lanczos steps from a random
unit vector v give the nodes and weights of a Gauss rule for the measure $\sum_i (v^\top u_i)^2\,\delta_{\lambda_i}$,
exact for polynomials up to degree 2k − 1, and the mean of that measure over v is the spectral distribution (Golub and
Meurant, 2010; Lin, Saad and Yang, 2016).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from scipy.special import ndtr

from hntk._utils.arguments import as_callback, as_count, as_finite, as_nonnegative, as_positive, as_seed
from hntk._utils.arrays import point_array, real_array
from hntk._utils.checks import check_result
from hntk._utils.memory import check_room
from hntk.spectra.operators import Operator, Product, check_matrix, is_operator, product_of, size_of

# below it, and where nearly all eigenpairs are asked for, the matrix itself is taken
SMALL = 64
# of Lanczos vectors: what follows is rounding
BREAKDOWN = 1e-12


@dataclass(frozen=True)
class Eigenpairs:
    """Leading eigenpairs.

    Attributes
    ----------
    values : descending.
    vectors : as columns, orthonormal.
    residuals : ‖Av − λv‖ of each, which bounds the error of λ.
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"]
    residuals: Float[np.ndarray, " k"]


def leading_eigenpairs(
    operator: Operator | np.ndarray, k: int, *, tolerance: float = 0.0, steps: int | None = None, seed: int = 0
) -> Eigenpairs:
    """The k largest eigenvalues and their eigenvectors, by Lanczos with restarts (ARPACK).

    Parameters
    ----------
    operator : symmetric, (n, n): anything with ``shape`` and ``matvec``, or a matrix.
    k : how many, below n.
    tolerance : relative accuracy of the eigenvalues; 0 is that of the arithmetic.
    steps : restarts at most.
    seed : of the vector to start from.

    Raises
    ------
    ValueError
        If k or a setting does not fit, or a matrix is not symmetric.
    ArithmeticError
        If the operator gives numbers that are not finite, or it does not converge; more steps, or a tolerance, help
        where eigenvalues are close.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.leading_eigenpairs(np.diag(np.arange(100.0)), 2).values.round(6)
    array([99., 98.])
    """
    k, tolerance, seed = as_count(k, "k"), as_nonnegative(tolerance, "tolerance"), as_seed(seed)
    steps = None if steps is None else as_count(steps, "steps")
    n, product = _known(operator)
    if not 1 <= k < n:
        raise ValueError(f"k must lie between 1 and n - 1 = {n - 1}, got {k}; hntk.spectrum gives the whole spectrum.")
    if n < SMALL or 2 * k >= n:
        check_room(24 * n * n, f"{k:,} eigenvectors of {n:,} samples", "Ask for fewer than half of them.")
        values, vectors = np.linalg.eigh(np.stack([product(v) for v in np.eye(n)]))
    else:
        start: Any = np.random.default_rng(seed).standard_normal(n)
        given: Any = LinearOperator((n, n), matvec=product, dtype=np.float64)  # type: ignore[call-arg]
        try:
            values, vectors = eigsh(given, k=k, which="LA", v0=start, tol=tolerance, maxiter=steps)  # type: ignore[arg-type]
        except ArpackNoConvergence as error:
            raise ArithmeticError(
                f"Lanczos found {len(error.eigenvalues)} of {k} eigenpairs: give more steps=, or a tolerance= of, say, "
                "1e-6; close eigenvalues take long."
            ) from error
    order = np.argsort(values)[::-1][:k]
    values, vectors = values[order], vectors[:, order]
    products = np.stack([product(vector) for vector in vectors.T], axis=1)
    return Eigenpairs(values, vectors, np.linalg.norm(products - vectors * values, axis=0))


@dataclass(frozen=True)
class SpectralDensity:
    """A spectral distribution, as a Gauss rule for every random vector.

    Attributes
    ----------
    nodes, weights : one row a random vector; weights of a row add up to 1, unused places have weight 0.
    size : n, the number of eigenvalues.
    """

    nodes: Float[np.ndarray, "probes degree"]
    weights: Float[np.ndarray, "probes degree"]
    size: int

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """(1/n) tr f(A), and its standard error over the random vectors (nan of one).

        Raises
        ------
        ValueError
            If the function does not give a finite number for every node.
        """
        if not callable(function):
            raise ValueError(f"function must map arrays to arrays, such as np.exp, got {function!r}.")
        with np.errstate(all="ignore"):
            values = np.asarray(real_array(function(self.nodes), "what the function gives"))
        used = self.weights > 0
        if values.shape != self.nodes.shape or not np.all(np.isfinite(values[used])):
            raise ValueError(
                f"the function gives values of shape {values.shape}, or not finite ones, at eigenvalues between "
                f"{self.nodes.min():.3g} and {self.nodes.max():.3g}: it must be finite there."
            )
        each = np.sum(np.where(used, self.weights * np.where(used, values, 0.0), 0.0), axis=1)
        error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else np.nan
        return float(each.mean()), float(error)

    def moment(self, order: int) -> tuple[float, float]:
        """(1/n) tr A^order, and its standard error.

        Raises
        ------
        ValueError
            If the order is not a whole number of at least 0, or the moment overflows.
        """
        order = as_count(order, "order", least=0)
        return self.mean(lambda t: t**order)

    def log_determinant(self, ridge: float = 0.0) -> tuple[float, float]:
        """Log-determinant of A + ridge·I, and its standard error.

        Raises
        ------
        ValueError
            If a node is not positive: the operator with this ridge is not positive definite, to the rule's precision.
        """
        ridge = as_finite(ridge, "ridge")
        least = float(np.min(np.where(self.weights > 0, self.nodes, np.inf)))
        if least + ridge <= 0:
            raise ValueError(f"the smallest node is {least:.3g}: a log-determinant needs a ridge above {-least:.3g}.")
        value, error = self.mean(lambda t: np.log(np.where(t + ridge > 0, t + ridge, 1.0)))
        return self.size * value, self.size * error

    def cdf(self, t: object) -> Float[np.ndarray, " points"]:
        """Share of eigenvalues up to t, a step at every node.

        Raises
        ------
        ValueError
            If t is not a number or a list of them.
        """
        points = _points(t)
        order = np.argsort(self.nodes, axis=None)
        steps = np.concatenate([[0.0], np.cumsum(self.weights.reshape(-1)[order])]) / len(self.nodes)
        return steps[np.searchsorted(self.nodes.reshape(-1)[order], points, side="right")]

    def density(self, t: object, width: float) -> Float[np.ndarray, " points"]:
        """Density at t, every node widened to a Gaussian of this standard deviation.

        Raises
        ------
        ValueError
            If t is not a number or a list of them, or the width is not positive.
        """
        points, width = _points(t)[:, None, None], as_positive(width, "width")
        with np.errstate(all="ignore"):
            bumps = np.exp(-(((points - self.nodes) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
            found = np.sum(self.weights * bumps, axis=(1, 2)) / len(self.nodes)
        check_result(found, "the density of so small a width")
        return found

    def counts(self, edges: object, width: float = 0.0) -> Float[np.ndarray, " bins"]:
        """Expected number of eigenvalues between consecutive edges, of nodes widened as in :meth:`density`.

        Raises
        ------
        ValueError
            If edges are not at least two ascending numbers, or the width is negative.
        """
        bounds, width = _points(edges), as_nonnegative(width, "width")
        if bounds.size < 2 or np.any(bounds[1:] < bounds[:-1]):
            raise ValueError(f"edges must be at least two numbers, ascending; got {bounds.tolist()}.")
        if width == 0:
            return self.size * np.diff(self.cdf(bounds))
        with np.errstate(over="ignore"):
            scores = (bounds[:, None, None] - self.nodes) / width
        below = np.sum(self.weights * ndtr(scores), axis=(1, 2))
        return self.size * np.diff(below) / len(self.nodes)


def _points(t: object) -> Float[np.ndarray, " points"]:
    points = np.atleast_1d(point_array(t, "t"))
    if points.ndim != 1:
        raise ValueError(f"t must be a number or a list of numbers, got shape {points.shape}.")
    return points


def spectral_density(
    operator: Operator | np.ndarray,
    *,
    probes: int = 10,
    degree: int = 80,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SpectralDensity:
    """The distribution of all eigenvalues by stochastic Lanczos quadrature, in probes · degree products.

    Parameters
    ----------
    operator : symmetric, (n, n): anything with ``shape`` and ``matvec``, or a matrix.
    probes : random vectors; errors fall with their root, and with that of n.
    degree : Lanczos steps from each; what is finer than (λ_max − λ_min)/degree is not resolved.
    seed : of the vectors.
    progress : called with 1 after every vector.

    Raises
    ------
    ValueError
        If a number is not positive, or a matrix is not symmetric.
    MemoryError
        If the Lanczos vectors do not fit into memory.
    ArithmeticError
        If the operator gives numbers that are not finite.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> density = hntk.spectral_density(np.diag(np.arange(200.0)), degree=40)
    >>> abs(float(density.cdf(99.5)[0]) - 0.5) < 0.05
    True
    """
    probes, degree, seed = as_count(probes, "probes"), as_count(degree, "degree"), as_seed(seed)
    progress = as_callback(progress)
    n, product = _known(operator)
    rng = np.random.default_rng(seed)
    steps = min(degree, n)
    check_room(
        8 * steps * (n + 2 * probes),
        f"{steps:,} Lanczos vectors of {n:,} samples",
        "Make degree= or probes= smaller.",
    )
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    for k in range(probes):
        diagonal, beside = _lanczos(product, rng.choice([-1.0, 1.0], n) / np.sqrt(n), steps)
        values, vectors = eigh_tridiagonal(diagonal, beside)
        nodes[k, : values.size], weights[k, : values.size] = values, vectors[0] ** 2
        nodes[k, values.size :] = values[-1]
        if progress is not None:
            progress(1)
    return SpectralDensity(nodes, weights, n)


def _known(operator: Operator | np.ndarray) -> tuple[int, Product]:
    """n, and the product with a vector in float64.

    Raises
    ------
    ValueError
        If it is not square, or a matrix that is not symmetric.
    ArithmeticError
        If it is a matrix that is not finite.
    """
    n = size_of(operator)
    if not is_operator(operator):
        check_matrix(operator)
    return n, product_of(operator)


def _lanczos(product: Product, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The tridiagonal matrix of so many steps, or of those there are; orthogonal to all before, twice."""
    basis = np.empty((steps, start.size))
    diagonal, beside, vector = [], [], start
    for k in range(steps):
        basis[k] = vector
        following = product(vector)
        if not np.all(np.isfinite(following)):
            raise ArithmeticError("the operator gives products that are not finite: check the kernel for NaN or inf.")
        diagonal.append(float(vector @ following))
        for _ in range(2):
            following = following - basis[: k + 1].T @ (basis[: k + 1] @ following)
        size = float(np.linalg.norm(following))
        scale = max(np.abs(diagonal).max(), max(beside, default=0.0))
        if k + 1 == steps or size <= BREAKDOWN * scale:
            break
        beside.append(size)
        vector = following / size
    return np.array(diagonal), np.array(beside)
