r"""The law of a mixture, estimated from samples and labels alone when n and p are comparable.

Sample covariances are not consistent in that regime, but the quantities that limits depend on can be estimated. The
within-class covariance, common to the classes up to its trace, enters through the distribution of its eigenvalues: a
measure with weights $w_k$ on a grid $\tau_k$. Let $\tilde m$ be the Stieltjes transform of the within-class scatter,
which has $\nu = n - K$ degrees of freedom, and define δ by $\tilde m(z) = -1/(z(1+\delta))$. In

$$\delta(z) = \sum_k w_k\frac{\tau_k}{\frac\nu p\frac{\tau_k}{1+\delta(z)} - z},\qquad
\mu_a^\top\bar Q(z)\mu_b = \sum_k m_{ab,k}\frac1{\frac\nu p\frac{\tau_k}{1+\delta(z)} - z}$$

both measures w and m appear linearly, so non-negative least squares over many z finds them (El Karoui, 2008, who
minimises the largest error instead). The left side of the second equation is measured without bias: sample means are
independent of the scatter, and $p\,\bar x_a^\top Q\bar x_b$ is $\mu_a^\top Q\mu_b + \delta_{ab}\frac p{n_a}\delta(z)$
on average (docs/theory.md, "From samples and labels alone").
"""

from __future__ import annotations

import numpy as np
import scipy
from jaxtyping import Complex, Float, Int, Real

from hntk._utils.labels import as_labels
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import as_rows, class_means, class_scatters, row_blocks
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.data.population import estimate_population

# Squared singular values below this part of the largest are rounding errors.
NULL = 1e-12
# The grid of eigenvalues τ: 0, and so many from the largest down to this part of it.
GRID_POINTS, SMALLEST = 160, 1e-4
# The points z lie on rays of these angles (in units of π), at distances within these multiples of the scatter's largest
# eigenvalue.
RAY_ANGLES, NEAREST, FARTHEST, DISTANCES = (1.0, 0.75, 0.5, 0.25, 0.1), 1e-3, 4.0, 24
# The weight of known total masses in the least squares, where one z has weight 1.
TOTALS_WEIGHT = 30.0


@array_dataclass(static=("freedom",))
class _Scatter:
    """The within-class scatter XᵀX of centred samples, and the class means in its eigenbasis.

    Attributes
    ----------
    values : array, shape (r,)
        Its eigenvalues, without those that are 0 by construction.
    means : array, shape (K, r)
        Class means along the eigenvectors.
    rest : array, shape (K, K)
        Inner products of the parts of the means that the eigenvectors do not span.
    freedom : int
        The degrees of freedom ν.
    """

    values: Float[np.ndarray, " r"]
    means: Float[np.ndarray, "K r"]
    rest: Float[np.ndarray, "K K"]
    freedom: int

    @staticmethod
    def of(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]) -> _Scatter:
        """Return the scatter, by eigenvectors in the smaller of n and p dimensions."""
        n, p = x.shape
        freedom = n - len(means)
        if p <= freedom:
            values, vectors = np.linalg.eigh(np.sum(class_scatters(x, index, means), axis=0))
            return _Scatter(np.maximum(values, 0.0), means @ vectors, np.zeros((len(means), len(means))), freedom)
        centred = x.astype(np.float64) - means[index]
        squares, left = np.linalg.eigh(centred @ centred.T)
        # Coordinates that never vary leave eigenvalues that are 0 up to rounding, whose vectors are not known.
        positive = squares > NULL * squares[-1]
        positive[:-freedom] = False
        values, left = squares[positive], left[:, positive]
        along = means @ (centred.T @ (left / np.sqrt(values)))
        return _Scatter(values, along, means @ means.T - along @ along.T, freedom)

    def delta(self, z: Complex[np.ndarray, " z"]) -> Complex[np.ndarray, " z"]:
        """Return δ(z) = −1 − 1/(z m̃(z))."""
        zeros = max(self.freedom - self.values.size, 0)
        trace = np.sum(1 / (self.values - z[:, None]), axis=1) - zeros / z
        return -1 - self.freedom / (z * trace)

    def forms(self, z: Complex[np.ndarray, " z"]) -> Complex[np.ndarray, "z K K"]:
        """Return the forms x̄_aᵀ Q(z) x̄_b of the class means."""
        weights = 1 / (self.values - z[:, None])
        inner = np.einsum("ar,zr,br->zab", self.means, weights, self.means, optimize=True)
        return inner - self.rest / z[:, None, None]


def estimate_law(x: object, labels: object) -> MixtureLaw:
    """Return the law of labelled samples, for predictions of spectra and of learning.

    The law is consistent for these predictions, but no estimate of a single direction or covariance entry.

    Parameters
    ----------
    x : array, shape (n, p)
        Samples as rows, with ‖x_i‖² ≈ τ_0².
    labels : array, shape (n,)
        The class of each sample; there may be only one class.

    Returns
    -------
    MixtureLaw
        The law.

    Raises
    ------
    ValueError
        If data or labels do not fit, a class has fewer than 3 samples, or the samples do not vary.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=600, p=300, key=jax.random.key(0))
    >>> law = estimate_law(data.x, data.labels)
    >>> law.gram.round(0) + 0.0, round(law.tau0**2, 2)
    (array([[9., 0.],
           [0., 9.]]), 1.1)
    """
    rows = as_rows(x)
    _, index = as_labels(labels, len(rows), least=1)
    population = estimate_population(rows, index)
    sizes, p = np.bincount(index), rows.shape[1]
    means = class_means(rows, index)
    scatter = _Scatter.of(rows, index, means)
    trace = float(population.proportions @ population.traces)
    if trace == 0:
        raise ValueError(
            "samples of x do not vary within their classes, so that there is no spectrum to estimate: look for how "
            "they were made or subset."
        )
    z = _points(float(scatter.values[-1]))
    delta = scatter.delta(z)
    grid, weights, transform = _spectrum(scatter, z, delta, trace, p)
    bias = p / sizes * np.eye(len(sizes))
    gram = p * means @ means.T - bias * population.traces
    measures = _means_measures(transform, p * scatter.forms(z) - bias * delta[:, None, None], gram)
    eigenvalues = np.outer(population.traces / trace, grid)
    variances = _norm_variances(rows, index, means)
    return MixtureLaw.spectral(eigenvalues, weights, measures, p, list(sizes), population.overlaps, variances)


def _spectrum(
    scatter: _Scatter, z: Complex[np.ndarray, " z"], delta: Complex[np.ndarray, " z"], trace: float, p: int
) -> tuple[Float[np.ndarray, " G"], Float[np.ndarray, " G"], Complex[np.ndarray, "z G"]]:
    """Return the eigenvalues τ_k that have weight, their weights w_k, and 1/(ν/p τ_k/(1 + δ) − z) at every z."""
    grid = scatter.values[-1] * p / scatter.freedom * np.append(0.0, np.geomspace(SMALLEST, 1, GRID_POINTS))
    transform = 1 / (scatter.freedom / p * grid / (1 + delta[:, None]) - z[:, None])
    weights = _fitted_measure(grid * transform, delta, np.stack([np.ones(grid.size), grid / trace]), np.abs(delta))
    kept = weights > 0
    return grid[kept], weights[kept], transform[:, kept]


def _norm_variances(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]
) -> Float[np.ndarray, " K"]:
    """Return the variance of ‖x_i − μ_a/√p‖² in every class, times p.

    It is the variance of ‖x_i − x̄_a‖², corrected for the factor 1 − 1/n_a by which that is shorter on average.
    """
    squares = np.zeros(len(x))
    for part in row_blocks(x):
        squares[part] = np.sum((x[part].astype(np.float64) - means[index[part]]) ** 2, axis=1)
    sizes = np.bincount(index)
    variances = [np.var(squares[index == a], ddof=1) for a in range(len(means))]
    return x.shape[1] * np.array(variances) / (1 - 1 / sizes) ** 2


def _points(largest: float) -> Complex[np.ndarray, " z"]:
    """Return the points z, for a scatter with this largest eigenvalue."""
    distances = largest * np.geomspace(NEAREST, FARTHEST, DISTANCES)
    return np.concatenate([distances * np.exp(1j * np.pi * angle) for angle in RAY_ANGLES])


def _fitted_measure(
    transform: Complex[np.ndarray, "z G"],
    observed: Complex[np.ndarray, " z"],
    totals: Float[np.ndarray, "t G"],
    scale: Float[np.ndarray, " z"],
) -> Float[np.ndarray, " G"]:
    """Return the non-negative measure whose transform is nearest to the observed one, relative to a scale.

    The masses ``totals @ measure`` are fitted to 1.
    """
    rows, right = transform * (1 / scale)[:, None], observed * (1 / scale)
    matrix = np.concatenate([rows.real, rows.imag, TOTALS_WEIGHT * totals])
    values = np.concatenate([right.real, right.imag, TOTALS_WEIGHT * np.ones(len(totals))])
    return scipy.optimize.nnls(matrix, values)[0]


def _means_measures(
    transform: Complex[np.ndarray, "z G"], forms: Complex[np.ndarray, "z K K"], gram: Float[np.ndarray, "K K"]
) -> Float[np.ndarray, "K K G"]:
    """Return the measures m_ab, by polarisation from those of μ_a + μ_b and μ_a − μ_b, which are not negative."""
    classes, scale = len(gram), np.abs(transform).mean(axis=1)

    def measure_along(direction: Float[np.ndarray, " K"]) -> Float[np.ndarray, " G"]:
        total = direction @ gram @ direction
        if total <= 0:
            return np.zeros(transform.shape[1])
        observed = np.einsum("a,zab,b->z", direction, forms, direction)
        return total * _fitted_measure(transform, observed / total, np.ones((1, transform.shape[1])), scale)

    measures = np.zeros((classes, classes, transform.shape[1]))
    identity = np.eye(classes)
    for a in range(classes):
        measures[a, a] = measure_along(identity[a])
        for b in range(a):
            plus, minus = measure_along(identity[a] + identity[b]), measure_along(identity[a] - identity[b])
            measures[a, b] = measures[b, a] = (plus - minus) / 4
    return measures
