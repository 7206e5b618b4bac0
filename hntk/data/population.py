"""Population quantities of a labelled data set: known for a mixture, estimated for real data."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Real

from hntk._utils.arrays import check_memory_map, check_result, finite_array
from hntk._utils.labels import brief_sizes, label_array
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import as_rows, class_blocks, class_means, class_scatters


@array_dataclass()
class Population:
    """Means and covariances of K classes in p dimensions, as far as the theory needs them.

    Attributes
    ----------
    means : ndarray of shape (K, p)
        Class means μ_a, in the scale where x = (μ_a + z)/√p.
    traces : ndarray of shape (K,)
        Traces tr(C_a)/p of the class covariances.
    overlaps : ndarray of shape (K, K)
        Overlaps T_ab = tr(C_a C_b)/p.
    proportions : ndarray of shape (K,)
        Shares n_a/n of the classes.

    Raises
    ------
    ValueError
        If shapes do not fit together, or a value is not finite.
    """

    means: Float[np.ndarray, "K p"]
    traces: Float[np.ndarray, " K"]
    overlaps: Float[np.ndarray, "K K"]
    proportions: Float[np.ndarray, " K"]

    def __post_init__(self) -> None:
        for name in ("means", "traces", "overlaps", "proportions"):
            object.__setattr__(self, name, finite_array(getattr(self, name), name))
        classes = len(self.means) if self.means.ndim == 2 else 0
        shapes = [self.traces.shape, self.overlaps.shape, self.proportions.shape]
        if not classes or shapes != [(classes,), (classes, classes), (classes,)] or np.any(self.proportions <= 0):
            raise ValueError(
                "a population of K classes needs means (K, p), traces (K,), overlaps (K, K) and K proportions > 0; "
                f"got shapes {self.means.shape}, {', '.join(map(str, shapes))}."
            )

    @property
    def tau0(self) -> float:
        """Root mean square norm of a sample, τ_0 = √(tr C°/p) with the average covariance C°."""
        return float(np.sqrt(self.proportions @ self.traces))

    @property
    def t(self) -> Float[np.ndarray, " K"]:
        """Deviations of the traces, t_a = tr(C_a − C°)/√p."""
        return np.sqrt(self.means.shape[1]) * (self.traces - self.proportions @ self.traces)


def estimate_population(x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"]) -> Population:
    r"""Estimate means, traces and overlaps from samples, consistently when n and p are comparable.

    The plug-in tr(Ĉ²)/p is biased by (tr C)²/(pn), which is O(1); the unbiased form for Gaussian samples,
    ν²/((ν−1)(ν+2)) (tr Ĉ² − (tr Ĉ)²/ν) with ν = n_a − 1, is used instead (M. S. Srivastava,
    "Some tests concerning the covariance matrix in high dimensional data", 2005).

    Parameters
    ----------
    x : array of shape (n, p)
        Samples; a memory map is read in blocks.
    index : array of shape (n,)
        Class of each sample, whole numbers 0 … K − 1.

    Returns
    -------
    Population
        The estimates.

    Raises
    ------
    ValueError
        If the samples or classes do not fit, or a class has fewer than 3 samples.
    """
    x = as_rows(x)
    index = as_index(index, len(x))
    p = x.shape[1]
    sizes = np.bincount(index)
    if np.any(sizes < 3):
        raise ValueError(
            f"{brief_sizes(sizes)}: estimating a class covariance takes at least 3 samples. "
            "Drop small classes, or pass population=."
        )
    means = class_means(x, index)
    freedom = sizes - 1.0
    squares = np.zeros(sizes.size)
    for a, block in class_blocks(x, index):
        squares[a] += np.sum((block - means[a]) ** 2)
    traces = squares / freedom
    overlaps = p * _scatter_overlaps(x, index, means) / np.outer(freedom, freedom)
    diagonal = np.diag_indices(sizes.size)
    unbiased = freedom**2 / ((freedom - 1) * (freedom + 2)) * (overlaps[diagonal] - p * traces**2 / freedom)
    overlaps[diagonal] = np.maximum(unbiased, traces**2)  # tr C²/p ≥ (tr C/p)² holds, whatever the noise.
    check_result(np.append(overlaps, np.sum(means**2, axis=1)), "the estimate of means and covariances")
    return Population(np.sqrt(p) * means, traces, overlaps, sizes / sizes.sum())


def as_index(index: object, n: int) -> Int[np.ndarray, " n"]:
    """Return the classes 0 … K − 1 of n samples as an array of int64.

    Raises
    ------
    ValueError
        If they are no whole numbers, not one per sample, or not from 0 to less than n.
    """
    classes = label_array(index, n, "index")
    # With n classes or more some would have no sample, and counting them would take memory for each.
    if classes.dtype.kind not in "iu" or not 0 <= int(classes.min()) <= int(classes.max()) < n:
        raise ValueError(
            "index must hold classes, whole numbers 0 … K − 1: np.unique(labels, return_inverse=True)[1] gives them."
        )
    return classes.astype(np.int64)


def _scatter_overlaps(
    x: Real[np.ndarray, "n p"], index: Int[np.ndarray, " n"], means: Float[np.ndarray, "K p"]
) -> Float[np.ndarray, "K K"]:
    """Return tr(S_a S_b) of the scatter matrices S_a = X_aᵀX_a, by the smaller of p × p and n × n matrices."""
    classes = len(means)
    if x.shape[1] <= np.bincount(index).max():
        flat = class_scatters(x, index, means).reshape(classes, -1)
        return flat @ flat.T
    check_memory_map(x)
    centred = [x[index == a].astype(np.float64) - means[a] for a in range(classes)]
    return np.array([[np.sum((a @ b.T) ** 2) for b in centred] for a in centred])
