"""How close two kernels are: norms of their difference, their spectra, their leading eigenvectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import eigsh


@dataclass(frozen=True)
class KernelComparison:
    """Distances of ``other`` from ``reference``; relative errors are relative to the whole reference kernel.

    Attributes
    ----------
    operator, frobenius : relative errors in operator and Frobenius norm, diagonal included.
    operator_off, frobenius_off : the same of the off-diagonal parts, relative to the same norms.
    operator_absolute : operator norm of the difference, diagonal included.
    eigenvalue_mismatch : largest difference of sorted eigenvalues over the largest eigenvalue (Weyl: ≤ ``operator``).
    spike_mismatch : the same over the leading eigenvalues only, relative to each.
    alignment : smallest cosine of the principal angles between the leading eigenspaces, 1 when they are the same.
    """

    operator: float
    frobenius: float
    operator_off: float
    frobenius_off: float
    operator_absolute: float
    eigenvalue_mismatch: float
    spike_mismatch: float
    alignment: float


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues, descending, and the leading eigenvectors as columns."""

    values: Float[np.ndarray, " n"]
    leading: Float[np.ndarray, "n k"]


def spectrum(kernel: object, k: int) -> Spectrum:
    """All eigenvalues of a symmetric (n, n) kernel, and k leading eigenvectors.

    Raises
    ------
    ValueError
        If the kernel is not a finite square matrix, or k is not within 1 … n.
    """
    matrix = _square(kernel)
    if not 1 <= k <= matrix.shape[0]:
        raise ValueError(f"k must lie between 1 and n = {matrix.shape[0]}, got {k}.")
    values, vectors = np.linalg.eigh(matrix)
    return Spectrum(values[::-1], vectors[:, ::-1][:, :k])


def operator_norm(kernel: object) -> float:
    """Largest absolute eigenvalue of a symmetric matrix, by Lanczos."""
    matrix = _square(kernel)
    if matrix.shape[0] < 64 or not np.any(matrix):
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix))))
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    return float(np.abs(eigsh(matrix, k=1, which="LM", return_eigenvectors=False, v0=start, tol=1e-9)[0]))  # type: ignore[arg-type]


def off_diagonal(kernel: object) -> Float[np.ndarray, "n n"]:
    """A copy with a zero diagonal."""
    matrix = np.array(kernel, dtype=np.float64)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def compare_kernels(reference: object, other: object, spikes: int = 3) -> KernelComparison:
    """Distances between two symmetric (n, n) kernels.

    Parameters
    ----------
    reference, other : (n, n) symmetric, finite. Declare an infinite NTK diagonal first.
    spikes : number of leading eigenpairs to compare.

    Raises
    ------
    ValueError
        If shapes differ or something is not finite.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.compare_kernels(np.eye(4), 1.5 * np.eye(4), spikes=1).operator
    0.5
    """
    a, b = _square(reference), _square(other)
    if a.shape != b.shape:
        raise ValueError(f"kernels must have the same shape, got {a.shape} and {b.shape}.")
    first, second = spectrum(a, spikes), spectrum(b, spikes)
    return compare_with_spectra(a, b, first, second)


def compare_with_spectra(a: np.ndarray, b: np.ndarray, first: Spectrum, second: Spectrum) -> KernelComparison:
    """:func:`compare_kernels` where the spectra are known already."""
    size, size_frobenius = float(np.max(np.abs(first.values))), float(np.linalg.norm(a))
    gap, gap_off = a - b, off_diagonal(a - b)
    k = first.leading.shape[1]
    absolute = operator_norm(gap)
    return KernelComparison(
        operator=absolute / size,
        frobenius=float(np.linalg.norm(gap)) / size_frobenius,
        operator_off=operator_norm(gap_off) / size,
        frobenius_off=float(np.linalg.norm(gap_off)) / size_frobenius,
        operator_absolute=absolute,
        eigenvalue_mismatch=float(np.max(np.abs(first.values - second.values))) / size,
        spike_mismatch=float(np.max(np.abs(first.values[:k] - second.values[:k]) / np.abs(first.values[:k]))),
        alignment=subspace_alignment(first.leading, second.leading),
    )


def subspace_alignment(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "n k"]) -> float:
    """Smallest cosine of the principal angles between the spans of orthonormal columns."""
    return float(min(1.0, np.linalg.svd(a.T @ b, compute_uv=False)[-1]))


def _square(kernel: object) -> Float[np.ndarray, "n n"]:
    matrix = np.asarray(kernel, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a kernel must be a square matrix, got shape {matrix.shape}.")
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "the kernel has values that are not finite. The NTK of a network with jumps has an infinite diagonal: "
            "declare one with kappa_sq= when the kernel is computed."
        )
    return matrix
