r"""Spectral densities of symmetric operators by stochastic Lanczos quadrature.

From a random unit vector v, k Lanczos steps give the nodes and weights of a Gauss rule for the measure
$\sum_i (v^\top u_i)^2\,\delta_{\lambda_i}$, exact for polynomials up to degree 2k − 1. The mean of that measure over v
is the spectral distribution (Golub and Meurant, 2010; Lin, Saad and Yang, 2016).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.arguments import as_callback, as_count, as_finite, as_nonnegative, as_positive, as_seed
from hntk._utils.arrays import check_result, point_array, real_array
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk.spectra.operators import Operator, Product, checked_product

# size of a new Lanczos vector, relative to the matrix, below which it consists of rounding errors
BREAKDOWN = 1e-12


@array_dataclass(static=("size",))
class SpectralDensity:
    """A spectral distribution as one Gauss rule per random vector.

    Attributes
    ----------
    nodes : ndarray
        (probes, degree) nodes, one row per random vector.
    weights : ndarray
        (probes, degree) weights. Each row sums to 1; places that are not used have the weight 0.
    size : int
        Number of eigenvalues, n.
    """

    nodes: Float[np.ndarray, "probes degree"]
    weights: Float[np.ndarray, "probes degree"]
    size: int

    def __repr__(self) -> str:
        probes, degree = np.shape(self.nodes)
        return f"SpectralDensity({self.size} eigenvalues, from {probes} random vectors of {degree} nodes)"

    def mean(self, function: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        """Return (1/n) tr f(A) and its standard error over the random vectors, which is NaN for a single one.

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
        """Return (1/n) tr A^order and its standard error.

        Raises
        ------
        ValueError
            If the order is not a whole number of at least 0, or the moment overflows.
        """
        order = as_count(order, "order", least=0)
        return self.mean(lambda t: t**order)

    def log_determinant(self, ridge: float = 0.0) -> tuple[float, float]:
        """Return the log-determinant of A + ridge·I and its standard error.

        Raises
        ------
        ValueError
            If a node is not positive: to the rule's precision the operator with this ridge is not positive definite.
        """
        ridge = as_finite(ridge, "ridge")
        least = float(np.min(np.where(self.weights > 0, self.nodes, np.inf)))
        if least + ridge <= 0:
            raise ValueError(f"the smallest node is {least:.3g}: a log-determinant needs a ridge above {-least:.3g}.")
        value, error = self.mean(lambda t: np.log(np.where(t + ridge > 0, t + ridge, 1.0)))
        return self.size * value, self.size * error

    def cdf(self, t: object) -> Float[np.ndarray, " points"]:
        """Return the share of eigenvalues up to each t, which has a step at every node.

        Raises
        ------
        ValueError
            If ``t`` is not a number or a list of numbers.
        """
        points = _as_points(t)
        order = np.argsort(self.nodes, axis=None)
        steps = np.concatenate([[0.0], np.cumsum(self.weights.reshape(-1)[order])]) / len(self.nodes)
        return steps[np.searchsorted(self.nodes.reshape(-1)[order], points, side="right")]

    def density(self, t: object, width: float) -> Float[np.ndarray, " points"]:
        """Return the density at each t, with every node widened to a Gaussian of the standard deviation ``width``.

        Raises
        ------
        ValueError
            If ``t`` is not a number or a list of numbers, or the width is not positive.
        """
        points, width = _as_points(t)[:, None, None], as_positive(width, "width")
        with np.errstate(all="ignore"):
            bumps = np.exp(-(((points - self.nodes) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
            values = np.sum(self.weights * bumps, axis=(1, 2)) / len(self.nodes)
        check_result(values, "the density of so small a width")
        return values

    def counts(self, edges: object, width: float = 0.0) -> Float[np.ndarray, " bins"]:
        """Return the expected number of eigenvalues between consecutive edges, of nodes widened as in :meth:`density`.

        Raises
        ------
        ValueError
            If edges are not at least two ascending numbers, or the width is negative.
        """
        bounds, width = _as_points(edges), as_nonnegative(width, "width")
        if bounds.size < 2 or np.any(bounds[1:] < bounds[:-1]):
            raise ValueError(f"edges must be at least two numbers, ascending; got {bounds.tolist()}.")
        if width == 0:
            return self.size * np.diff(self.cdf(bounds))
        with np.errstate(over="ignore"):
            scores = (bounds[:, None, None] - self.nodes) / width
        below = np.sum(self.weights * scipy.special.ndtr(scores), axis=(1, 2))
        return self.size * np.diff(below) / len(self.nodes)


def spectral_density(
    operator: Operator | np.ndarray,
    *,
    probes: int = 10,
    degree: int = 80,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> SpectralDensity:
    """Return the distribution of all eigenvalues by stochastic Lanczos quadrature, in probes · degree products.

    The method is that of Lin, Saad and Yang (2016).

    Parameters
    ----------
    operator : Operator or array_like
        Symmetric (n, n) matrix, or anything with ``shape`` and ``matvec``.
    probes : int
        Number of random vectors. Errors fall with its root, and with the root of n.
    degree : int
        Number of Lanczos steps from each vector. What is finer than (λ_max − λ_min)/degree is not resolved.
    seed : int
        Seed of the random vectors.
    progress : callable, optional
        Function that is called with 1 after every vector.

    Returns
    -------
    SpectralDensity
        The distribution, with its densities, counts and traces of functions.

    Raises
    ------
    ValueError
        If a setting is not positive, or a matrix is not symmetric.
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
    n, product = checked_product(operator)
    rng = np.random.default_rng(seed)
    steps = min(degree, n)
    check_room(
        8 * steps * (n + 2 * probes), f"{steps:,} Lanczos vectors of {n:,} samples", "Make degree= or probes= smaller."
    )
    nodes, weights = np.zeros((probes, steps)), np.zeros((probes, steps))
    for k in range(probes):
        diagonal, off_diagonal = _lanczos(product, rng.choice([-1.0, 1.0], n) / np.sqrt(n), steps)
        values, vectors = scipy.linalg.eigh_tridiagonal(diagonal, off_diagonal)
        nodes[k, : values.size], weights[k, : values.size] = values, vectors[0] ** 2
        nodes[k, values.size :] = values[-1]
        if progress is not None:
            progress(1)
    return SpectralDensity(nodes, weights, n)


def _as_points(t: object) -> Float[np.ndarray, " points"]:
    points = np.atleast_1d(point_array(t, "t"))
    if points.ndim != 1:
        raise ValueError(f"t must be a number or a list of numbers, got shape {points.shape}.")
    return points


def _lanczos(product: Product, start: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the diagonal and off-diagonal of the Lanczos matrix, of ``steps`` steps or as many as there are.

    Every new vector is made orthogonal to all before it, twice.
    """
    basis = np.empty((steps, start.size))
    diagonal, off_diagonal, vector = [], [], start
    for k in range(steps):
        basis[k] = vector
        following = product(vector)
        diagonal.append(float(vector @ following))
        for _ in range(2):
            following = following - basis[: k + 1].T @ (basis[: k + 1] @ following)
        size = float(np.linalg.norm(following))
        scale = max(np.abs(diagonal).max(), max(off_diagonal, default=0.0))
        if k + 1 == steps or size <= BREAKDOWN * scale:
            break
        off_diagonal.append(size)
        vector = following / size
    return np.array(diagonal), np.array(off_diagonal)
