"""Probabilities of orthants under a Gaussian law, computed without random numbers."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import scipy
from jaxtyping import Float

# Eigenvalues of a correlation matrix are raised to this one, so that it has a Cholesky factor.
LEAST_EIGENVALUE = 1e-12
# Means are clipped to this many standard deviations.
MOST_DEVIATIONS = 1e6


def positive_probability(
    mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"], points: int = 4096
) -> float:
    """Return the probability that all coordinates of a Gaussian vector are positive.

    Parameters
    ----------
    mean : array, shape (d,)
        The vector's mean.
    covariance : array, shape (d, d)
        The vector's covariance.
    points : int, optional
        Points of the lattice that the probability is averaged over.

    Returns
    -------
    float
        The probability, by the method of Genz (1992).

    Examples
    --------
    >>> round(positive_probability(np.zeros(2), np.array([[1.0, 0.5], [0.5, 1.0]])), 4)
    0.3333
    """
    scale = np.sqrt(np.maximum(np.diag(covariance), np.finfo(float).tiny))
    bound = np.clip(mean / scale, -MOST_DEVIATIONS, MOST_DEVIATIONS)
    if len(mean) == 1:
        return float(scipy.special.ndtr(bound[0]))
    return _below_probability(bound, covariance / np.outer(scale, scale), points)


def _below_probability(bound: Float[np.ndarray, " d"], correlation: Float[np.ndarray, "d d"], points: int) -> float:
    """Return P(ξ ≤ bound) for ξ ~ N(0, correlation), one coordinate after the other, averaged over a lattice."""
    d = len(bound)
    values, vectors = np.linalg.eigh(correlation)
    _, upper = np.linalg.qr((vectors * np.sqrt(np.maximum(values, LEAST_EIGENVALUE))).T)
    root = upper.T * np.sign(np.diag(upper))
    lattice = np.outer(np.arange(1, points + 1), np.sqrt(_primes(d - 1))) % 1.0
    # folding the lattice makes it periodic, which raises the order of convergence
    uniform = np.abs(2 * lattice - 1)
    coordinates, probability = np.zeros((points, d)), np.ones(points)
    for i in range(d):
        conditional = scipy.special.ndtr((bound[i] - coordinates[:, :i] @ root[i, :i]) / root[i, i])
        probability = probability * conditional
        if i + 1 < d:
            coordinates[:, i] = scipy.special.ndtri(np.clip(uniform[:, i] * conditional, 1e-300, 1 - 1e-16))
    return float(np.mean(probability))


@lru_cache
def _primes(count: int) -> Float[np.ndarray, " count"]:
    """Return the first primes, whose square roots generate the lattice."""
    primes = (m for m in itertools.count(2) if all(m % factor for factor in range(2, math.isqrt(m) + 1)))
    return np.fromiter(itertools.islice(primes, count), float)
