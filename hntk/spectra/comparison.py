"""Distances between two kernels: norms of their difference, their spectra, their leading eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.arguments import as_count
from hntk._utils.arrays import check_result, real_array
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk.spectra.operators import asymmetry, dense, is_operator, knows_spectrum, product_of, size_of, symmetric

# samples below which the matrix itself is decomposed
SMALL = 64


@dataclass(frozen=True)
class KernelComparison:
    """Distances of one kernel from another, the reference; relative errors are relative to the whole reference.

    Attributes
    ----------
    operator, frobenius : float
        Relative errors in operator and Frobenius norm, diagonal included.
    operator_off, frobenius_off : float
        Norms of the off-diagonal part of the difference, relative to the same norms of the whole reference.
    operator_absolute : float
        Operator norm of the difference, diagonal included.
    eigenvalue_mismatch : float
        Largest difference of sorted eigenvalues over the largest eigenvalue, at most ``operator`` by Weyl's inequality.
    spike_mismatch : float
        Largest difference of the leading eigenvalues, relative to each.
    alignment : float
        Smallest cosine of the principal angles between the leading eigenspaces. It is 1 where they are the same.
    """

    operator: float
    frobenius: float
    operator_off: float
    frobenius_off: float
    operator_absolute: float
    eigenvalue_mismatch: float
    spike_mismatch: float
    alignment: float


@array_dataclass()
class Spectrum:
    """Eigenvalues and leading eigenvectors of a kernel.

    Attributes
    ----------
    values : ndarray
        (n,) eigenvalues, descending.
    leading : ndarray
        (n, k) leading eigenvectors as columns.
    """

    values: Float[np.ndarray, " n"]
    leading: Float[np.ndarray, "n k"]

    def __repr__(self) -> str:
        shown = np.array2string(np.asarray(self.values), threshold=6, edgeitems=3)
        return f"Spectrum(values={shown}, {np.shape(self.leading)[1]} leading eigenvectors)"


def spectrum(kernel: object, k: int) -> Spectrum:
    """Return all eigenvalues of a symmetric (n, n) kernel and k leading eigenvectors.

    An operator that finds its own spectrum, such as ``StructuredKernel``, is not made a matrix where at least k of its
    eigenvalues stand above the multiple of the identity.

    Parameters
    ----------
    kernel : Operator or array_like
        Symmetric (n, n) matrix or operator.
    k : int
        Number of eigenvectors, from 1 to n.

    Returns
    -------
    Spectrum
        Eigenvalues and leading eigenvectors.

    Raises
    ------
    ValueError
        If the kernel is not a finite symmetric matrix, or ``k`` does not fit.
    MemoryError
        If a matrix is needed and does not fit into memory.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.spectrum(np.diag([1.0, 3.0, 2.0]), 1).values
    array([3., 2., 1.])
    """
    n = size_of(kernel)
    k = as_count(k, "k", 1, n)
    if knows_spectrum(kernel) and k <= kernel.above:
        return Spectrum(kernel.eigvalsh(), kernel.eigh(k)[1])
    check_room(
        24 * n * n, f"the eigenvectors of {n:,} samples", "hntk.leading_eigenpairs finds the leading ones alone."
    )
    values, vectors = np.linalg.eigh(symmetric(kernel))
    return Spectrum(values[::-1], vectors[:, ::-1][:, :k])


def operator_norm(kernel: object) -> float:
    """Return the largest singular value, for a symmetric kernel its largest absolute eigenvalue, by Lanczos.

    Parameters
    ----------
    kernel : Operator or array_like
        (n, n) matrix, or symmetric operator. An operator is not made a matrix where n is 64 or more.

    Returns
    -------
    float
        The operator norm.

    Raises
    ------
    ValueError
        If the kernel is not square or not finite.
    MemoryError
        If a copy of the matrix is needed and does not fit into memory.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.operator_norm(np.diag([1.0, -3.0]))
    3.0
    """
    n = size_of(kernel)
    if knows_spectrum(kernel):
        return float(np.max(np.abs(kernel.eigvalsh())))
    if is_operator(kernel) and n >= SMALL:
        return _largest(n, product_of(kernel), lambda: dense(kernel)[0])
    matrix, rounding = dense(kernel)
    if asymmetry(matrix) <= rounding:
        return _symmetric_norm(matrix)
    if n < SMALL:
        return float(np.linalg.norm(matrix, 2))
    return _largest(n, lambda v: matrix.T @ (matrix @ v), lambda: matrix.T @ matrix) ** 0.5


def _symmetric_norm(matrix: Float[np.ndarray, "n n"]) -> float:
    """Return the operator norm of a matrix that is symmetric, which is not checked.

    The difference of two kernels that agree is nothing but rounding, whose asymmetry is no error.
    """
    if len(matrix) < SMALL or not np.any(matrix):
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix))))
    return _largest(len(matrix), matrix.__matmul__, lambda: matrix)


def _largest(n: int, product: Callable[[np.ndarray], np.ndarray], matrix: Callable[[], np.ndarray]) -> float:
    """Return the largest absolute eigenvalue of a symmetric operator."""
    start: Any = np.random.default_rng(0).standard_normal(n)
    operator: Any = scipy.sparse.linalg.LinearOperator((n, n), lambda v: product(v.reshape(-1)), dtype=np.float64)
    try:
        found = scipy.sparse.linalg.eigsh(operator, k=1, which="LM", return_eigenvectors=False, v0=start, tol=1e-9)
        return float(np.abs(found[0]))
    except scipy.sparse.linalg.ArpackNoConvergence:
        # two eigenvalues of equal size and opposite sign
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix()))))


def off_diagonal(kernel: object) -> Float[np.ndarray, "n n"]:
    """Return a copy of a kernel, in float64, with a zero diagonal."""
    matrix = np.array(real_array(kernel, "kernel"), dtype=np.float64)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def centred_kernel(matrix: Float[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    """Return P K P of a symmetric matrix, P = I − 11ᵀ/n, which is what a regression with an intercept sees."""
    means = matrix.mean(axis=0)
    return matrix - means - means[:, None] + means.mean()


def compare_kernels(reference: object, other: object, spikes: int = 3) -> KernelComparison:
    """Return the distances between two symmetric (n, n) kernels.

    Parameters
    ----------
    reference : Operator or array_like
        Symmetric finite (n, n) matrix or operator that errors are relative to. Declare an infinite NTK diagonal first.
    other : Operator or array_like
        Symmetric finite (n, n) matrix or operator that is compared with it.
    spikes : int
        Number of leading eigenpairs to compare, from 1 to n.

    Returns
    -------
    KernelComparison
        Distances in norm, of eigenvalues and of leading eigenspaces.

    Raises
    ------
    ValueError
        If shapes differ, a kernel is not finite or not symmetric, or the reference is zero.
    MemoryError
        If operators do not fit into memory as matrices.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.compare_kernels(np.eye(4), 1.5 * np.eye(4), spikes=1).operator
    0.5
    """
    n = size_of(reference)
    if n != size_of(other):
        raise ValueError(f"kernels must have the same shape, got {n} and {size_of(other)} samples.")
    spikes = as_count(spikes, "spikes", 1, n)
    a, b = symmetric(reference), symmetric(other)
    if not np.any(a):
        raise ValueError("the reference kernel is zero, and nothing is relative to it: exchange the two.")
    return compare_with_spectra(a, b, spectrum(a, spikes), spectrum(b, spikes))


def compare_with_spectra(a: np.ndarray, b: np.ndarray, first: Spectrum, second: Spectrum) -> KernelComparison:
    """Return the distances between two kernels whose spectra are known, ``a`` being the reference."""
    with np.errstate(all="ignore"):
        comparison = _compare(a, b, first, second)
    check_result(np.array(astuple(comparison)), "a distance")
    return comparison


def _compare(a: np.ndarray, b: np.ndarray, first: Spectrum, second: Spectrum) -> KernelComparison:
    size, size_frobenius = float(np.max(np.abs(first.values))), float(np.linalg.norm(a))
    if size_frobenius < np.finfo(float).tiny:
        raise ValueError(f"the reference kernel's largest eigenvalue is {size:.3g}: rescale both kernels.")
    gap, gap_off = a - b, off_diagonal(a - b)
    absolute = _symmetric_norm(gap)
    return KernelComparison(
        operator=absolute / size,
        frobenius=float(np.linalg.norm(gap)) / size_frobenius,
        operator_off=_symmetric_norm(gap_off) / size,
        frobenius_off=float(np.linalg.norm(gap_off)) / size_frobenius,
        operator_absolute=absolute,
        eigenvalue_mismatch=float(np.max(np.abs(first.values - second.values))) / size,
        spike_mismatch=_spike_mismatch(first, second, size),
        alignment=subspace_alignment(first.leading, second.leading),
    )


def _spike_mismatch(first: Spectrum, second: Spectrum, size: float) -> float:
    """Return the mismatch relative to each eigenvalue, or to the rounding error where that is larger."""
    k = first.leading.shape[1]
    rounding = first.values.size * np.finfo(float).eps * size
    gap = np.abs(first.values[:k] - second.values[:k])
    return float(np.max(np.where(gap <= rounding, 0.0, gap) / np.maximum(np.abs(first.values[:k]), rounding)))


def subspace_alignment(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "n k"]) -> float:
    """Return the smallest cosine of the principal angles between the spans of orthonormal columns."""
    return float(min(1.0, np.linalg.svd(a.T @ b, compute_uv=False)[-1]))
