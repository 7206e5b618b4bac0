r"""The law of a mixture from samples and labels alone, n and p comparable.

Sample covariances are not consistent then, but what limits depend on is. The within-class covariance, common to the
classes up to its trace, enters by its eigenvalues' distribution, a measure of weights $w_k$ on a grid $\tau_k$. The
resolvent of the within-class scatter, of $\nu = n - K$ degrees of freedom, gives δ by $\tilde m(z) = -1/(z(1+\delta))$,
and in

$$\delta(z) = \sum_k w_k\frac{\tau_k}{\frac\nu p\frac{\tau_k}{1+\delta(z)} - z},\qquad
\mu_a^\top\bar Q(z)\mu_b = \sum_k m_{ab,k}\frac1{\frac\nu p\frac{\tau_k}{1+\delta(z)} - z},$$

both measures are linear, so non-negative least squares over many z finds them (El Karoui, 2008; his programme has the
largest error where this has squares). The left side of the second is measured without bias: the sample means are
independent of the scatter, and $p\,\bar x_a^\top Q\bar x_b$ is $\mu_a^\top Q\mu_b + \delta_{ab}\frac p{n_a}\delta(z)$
on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float, Int, Real
from scipy.optimize import nnls

from hntk._utils.labels import as_labels
from hntk._utils.rows import as_rows, class_means, class_scatters, row_blocks
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.data.population import estimate_population

# squared singular values that are rounding errors, relative to the largest
NULL = 1e-12
# eigenvalues τ of the grid, from the largest down to this part of it, and 0
GRID, LEAST = 160, 1e-4
# z on rays: their angles by π, and distances from 0 by the largest eigenvalue of the scatter
ANGLES, NEAREST, FARTHEST, DISTANCES = (1.0, 0.75, 0.5, 0.25, 0.1), 1e-3, 4.0, 24
# by which total masses outweigh one z
TOTALS = 30.0


@dataclass(frozen=True)
class _Scatter:
    """Within-class scatter XᵀX, and the class means in its eigenbasis.

    Attributes
    ----------
    values : (r,) its eigenvalues that are not 0 by construction.
    means : (K, r) class means along their eigenvectors.
    rest : (K, K) inner products of what the eigenvectors do not span.
    freedom : ν.
    """

    values: Float[np.ndarray, " r"]
    means: Float[np.ndarray, "K r"]
    rest: Float[np.ndarray, "K K"]
    freedom: int

    @staticmethod
    def of(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]) -> _Scatter:
        n, p = x.shape
        freedom = n - len(means)
        if p <= freedom:
            values, vectors = np.linalg.eigh(np.sum(class_scatters(x, index, means), axis=0))
            return _Scatter(np.maximum(values, 0.0), means @ vectors, np.zeros((len(means), len(means))), freedom)
        centred = x.astype(np.float64) - means[index]
        squares, left = np.linalg.eigh(centred @ centred.T)
        # coordinates that never vary leave eigenvalues that are 0 up to rounding, whose vectors are not known
        kept = squares > NULL * squares[-1]
        kept[:-freedom] = False
        values, left = squares[kept], left[:, kept]
        along = means @ (centred.T @ (left / np.sqrt(values)))
        return _Scatter(values, along, means @ means.T - along @ along.T, freedom)

    def delta(self, z: Complex[np.ndarray, " z"]) -> Complex[np.ndarray, " z"]:
        """δ(z) = −1 − 1/(z m̃(z))."""
        zeros = max(self.freedom - self.values.size, 0)
        trace = np.sum(1 / (self.values - z[:, None]), axis=1) - zeros / z
        return -1 - self.freedom / (z * trace)

    def forms(self, z: Complex[np.ndarray, " z"]) -> Complex[np.ndarray, "z K K"]:
        """x̄_aᵀ Q(z) x̄_b."""
        weights = 1 / (self.values - z[:, None])
        inner = np.einsum("ar,zr,br->zab", self.means, weights, self.means, optimize=True)
        return inner - self.rest / z[:, None, None]


def estimate_law(x: object, labels: object) -> MixtureLaw:
    """The law of labelled samples, for limits of spectra and of learning; not for one direction or one covariance.

    Parameters
    ----------
    x : (n, p) samples, ‖x_i‖² ≈ τ_0².
    labels : (n,) class of each sample; one class will do.

    Raises
    ------
    ValueError
        For data or labels that do not fit, classes of fewer than 3 samples, or samples that do not vary.

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
    middle = class_means(rows, index)
    scatter = _Scatter.of(rows, index, middle)
    trace = float(population.proportions @ population.traces)
    if trace == 0:
        raise ValueError(
            "samples of x do not vary within their classes, so that there is no spectrum to estimate: look for how "
            "they were made or subset."
        )
    z = _points(float(scatter.values[-1]))
    delta = scatter.delta(z)
    grid = scatter.values[-1] * p / scatter.freedom * np.append(0.0, np.geomspace(LEAST, 1, GRID))
    kernel = 1 / (scatter.freedom / p * grid / (1 + delta[:, None]) - z[:, None])
    weights = _fitted(grid * kernel, delta, np.stack([np.ones(grid.size), grid / trace]), np.ones(2))
    kept = weights > 0
    bias = p / sizes * np.eye(len(sizes))
    forms = p * scatter.forms(z) - bias * delta[:, None, None]
    centre = np.sqrt(p) * class_means(rows, index)
    gram = centre @ centre.T - bias * population.traces
    measures = _means_measures(kernel[:, kept], forms, gram)
    eigenvalues = np.outer(population.traces / trace, grid[kept])
    norms = _norm_variances(rows, index, middle)
    return MixtureLaw.spectral(eigenvalues, weights[kept], measures, p, list(sizes), population.overlaps, norms)


def _norm_variances(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]
) -> Float[np.ndarray, " K"]:
    """Of ‖x_i − μ_a/√p‖², times p: that of ‖x_i − x̄_a‖², which is shorter by 1 − 1/n_a on average."""
    squares = np.zeros(len(x))
    for part in row_blocks(x):
        squares[part] = np.sum((x[part].astype(np.float64) - means[index[part]]) ** 2, axis=1)
    sizes = np.bincount(index)
    found = [np.var(squares[index == a], ddof=1) for a in range(len(means))]
    return x.shape[1] * np.array(found) / (1 - 1 / sizes) ** 2


def _points(largest: float) -> Complex[np.ndarray, " z"]:
    distances = largest * np.geomspace(NEAREST, FARTHEST, DISTANCES)
    return np.concatenate([distances * np.exp(1j * np.pi * angle) for angle in ANGLES])


def _fitted(
    kernel: Complex[np.ndarray, "z G"],
    observed: Complex[np.ndarray, " z"],
    totals: Float[np.ndarray, "t G"],
    wanted: Float[np.ndarray, " t"],
) -> Float[np.ndarray, " G"]:
    """A non-negative measure with these transforms, in relative terms, and these totals."""
    scale = 1 / np.abs(observed)
    rows = kernel * scale[:, None]
    matrix = np.concatenate([rows.real, rows.imag, TOTALS * totals])
    right = np.concatenate([(observed * scale).real, (observed * scale).imag, TOTALS * wanted])
    return nnls(matrix, right)[0]


def _means_measures(
    kernel: Complex[np.ndarray, "z G"], forms: Complex[np.ndarray, "z K K"], gram: Float[np.ndarray, "K K"]
) -> Float[np.ndarray, "K K G"]:
    """m_ab of every pair, by the measures of μ_a + μ_b and μ_a − μ_b, which are not negative."""
    classes = len(gram)

    def measure(direction: Float[np.ndarray, " K"]) -> Float[np.ndarray, " G"]:
        total = direction @ gram @ direction
        if total <= 0:
            return np.zeros(kernel.shape[1])
        observed = np.einsum("a,zab,b->z", direction, forms, direction)
        scaled = np.abs(kernel).mean(axis=1) * total
        rows = kernel * total / scaled[:, None]
        matrix = np.concatenate([rows.real, rows.imag, TOTALS * np.ones((1, kernel.shape[1]))])
        right = np.concatenate([(observed / scaled).real, (observed / scaled).imag, [TOTALS]])
        return total * nnls(matrix, right)[0]

    out = np.zeros((classes, classes, kernel.shape[1]))
    one = np.eye(classes)
    for a in range(classes):
        out[a, a] = measure(one[a])
        for b in range(a):
            out[a, b] = out[b, a] = (measure(one[a] + one[b]) - measure(one[a] - one[b])) / 4
    return out
