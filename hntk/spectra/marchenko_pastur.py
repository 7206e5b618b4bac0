r"""The law of Marchenko and Pastur (1967): singular values of matrices with independent entries.

Let W be (n, m) with independent entries of mean 0 and variance 1, $m \le n$, and $y = m/n$. The eigenvalues of
$W^\top W/n$ have the density $\sqrt{(b - \lambda)(\lambda - a)}/(2\pi y\lambda)$ between $a, b = (1 \mp \sqrt y)^2$.
With $\lambda = 1 + y - 2\sqrt y\cos\theta$ it is $\frac2\pi\sin^2\theta/\lambda$ in θ, smooth on [0, π].
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import scipy
from jaxtyping import Float

NODES = 4001
# quantile .99 of the law of Tracy and Widom for real matrices
LARGEST = 2.0234


@dataclass(frozen=True)
class MatrixSpectrum:
    """How the singular values of a matrix differ from those of independent entries.

    Attributes
    ----------
    edge_ratio : float
        Largest singular value over the edge √n + √m of the law.
    spikes : int
        Number of singular values above the edge by more than its fluctuations, which a matrix of independent entries
        passes once in 100 draws (Johnstone, 2001).
    distance : float
        Largest difference of the distributions of squared singular values (Kolmogorov and Smirnov's).
    """

    edge_ratio: float
    spikes: int
    distance: float


def compare_with_independent(matrix: Float[np.ndarray, "d p"]) -> MatrixSpectrum:
    """Compare singular values with those of independent entries.

    Parameters
    ----------
    matrix : (d, p) array
        Matrix, whose entries have the mean square 1.

    Returns
    -------
    MatrixSpectrum
        The comparison.

    Examples
    --------
    >>> import numpy as np
    >>> from hntk.spectra.marchenko_pastur import compare_with_independent
    >>> drawn = compare_with_independent(np.random.default_rng(0).normal(size=(200, 100)))
    >>> drawn.spikes, drawn.edge_ratio > 0.95, drawn.distance < 0.03
    (0, True, True)
    """
    m, n = sorted(matrix.shape)
    values = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)[::-1]
    squares = values**2
    width = (sqrt(n) + sqrt(m)) * (1 / sqrt(n) + 1 / sqrt(m)) ** (1 / 3)
    expected = cumulative_share(squares / n, m / n)
    below, above = np.arange(m) / m, np.arange(1, m + 1) / m
    return MatrixSpectrum(
        edge_ratio=float(values[-1] / (sqrt(n) + sqrt(m))),
        spikes=int(np.sum(squares > (sqrt(n) + sqrt(m)) ** 2 + LARGEST * width)),
        distance=float(np.max(np.maximum(np.abs(expected - below), np.abs(expected - above)))),
    )


def cumulative_share(eigenvalues: Float[np.ndarray, " k"], ratio: float) -> Float[np.ndarray, " k"]:
    """Return the share of eigenvalues of WᵀW/n that are at most given numbers, by the law.

    Parameters
    ----------
    eigenvalues : (k,) array
        The numbers.
    ratio : float
        The quotient m/n, in (0, 1].

    Returns
    -------
    (k,) array
        Shares from 0 to 1.
    """
    theta = np.linspace(0.0, np.pi, NODES)
    places = 1 + ratio - 2 * sqrt(ratio) * np.cos(theta)
    # at θ = 0 and y = 1 both vanish, and the quotient's limit is 1
    density = np.divide(np.sin(theta) ** 2, places, out=np.ones_like(theta), where=places > 0)
    shares = 2 / np.pi * scipy.integrate.cumulative_trapezoid(density, theta, initial=0.0)
    return np.interp(eigenvalues, places, shares, left=0.0, right=1.0)
