"""Probabilities of orthants under a Gaussian law, the same number every time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

# points of the lattice for Gaussian probabilities, the least eigenvalue of a correlation matrix, and the most standard
# deviations
LATTICE, JITTER, WIDEST = 4096, 1e-12, 1e6
# square roots of primes are the lattice's generators
PRIMES = np.array([q for q in range(2, 600) if all(q % r for r in range(2, q))])


def positive_probability(mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]) -> float:
    """Probability that all coordinates of a Gaussian vector are positive.

    Examples
    --------
    >>> round(positive_probability(np.zeros(2), np.array([[1.0, 0.5], [0.5, 1.0]])), 4)
    0.3333
    """
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    standard = np.clip(mean / scale, -WIDEST, WIDEST)
    return _orthant(standard, covariance / np.outer(scale, scale)) if len(mean) > 1 else float(ndtr(standard[0]))


def _orthant(bound: Float[np.ndarray, " d"], correlation: Float[np.ndarray, "d d"]) -> float:
    """P(ξ ≤ bound), ξ ~ N(0, correlation): coordinate by coordinate, averaged over a lattice (Genz, 1992)."""
    d = len(bound)
    values, vectors = np.linalg.eigh(correlation)
    _, upper = np.linalg.qr((vectors * np.sqrt(np.maximum(values, JITTER))).T)
    root = upper.T * np.sign(np.diag(upper))
    lattice = np.outer(np.arange(1, LATTICE + 1), np.sqrt(PRIMES[: max(d - 1, 1)])) % 1.0
    uniform = np.abs(2 * lattice - 1)
    drawn = np.zeros((LATTICE, d))
    total = np.ones(LATTICE)
    for i in range(d):
        share = ndtr((bound[i] - drawn[:, :i] @ root[i, :i]) / root[i, i])
        total = total * share
        if i + 1 < d:
            drawn[:, i] = ndtri(np.clip(uniform[:, i] * share, 1e-300, 1 - 1e-16))
    return float(np.mean(total))
