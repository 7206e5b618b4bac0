"""How close two kernels are: norms of their difference, their spectra, their leading eigenvectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from hntk._utils.arguments import as_count
from hntk._utils.arrays import check_result, real_array
from hntk._utils.memory import check_room
from hntk.spectra.operators import asymmetry, dense, is_operator, product_of, size_of, symmetric
from hntk.theory.low_rank_operator import StructuredKernel

# below it the matrix itself is taken
SMALL = 64


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

    Parameters
    ----------
    kernel : a matrix, or an operator such as ``StructuredKernel``, whose spectrum needs no matrix where at least k of
        its eigenvalues stand above the multiple of the identity.
    k : from 1 to n.

    Raises
    ------
    ValueError
        If the kernel is not a finite symmetric matrix, or k does not fit.
    MemoryError
        If a matrix is needed and does not fit into memory.
    """
    n = size_of(kernel)
    k = _as_spikes(k, "k", n)
    if isinstance(kernel, StructuredKernel) and k <= kernel.above:
        return Spectrum(kernel.eigvalsh(), kernel.eigh(k)[1])
    check_room(
        24 * n * n, f"the eigenvectors of {n:,} samples", "hntk.leading_eigenpairs finds the leading ones alone."
    )
    values, vectors = np.linalg.eigh(symmetric(kernel))
    return Spectrum(values[::-1], vectors[:, ::-1][:, :k])


def _as_spikes(k: object, name: str, n: int) -> int:
    count = as_count(k, name)
    if count > n:
        raise ValueError(f"{name} must lie between 1 and n = {n}, got {count}.")
    return count


def operator_norm(kernel: object) -> float:
    """Largest singular value, which of a symmetric matrix is its largest absolute eigenvalue, by Lanczos.

    An operator, such as ``StructuredKernel``, must be symmetric, and is not made a matrix where n is 64 or more.

    Raises
    ------
    ValueError
        If the kernel is not square or not finite.
    """
    n = size_of(kernel)
    if isinstance(kernel, StructuredKernel):
        return float(np.max(np.abs(kernel.eigvalsh())))
    if is_operator(kernel) and n >= SMALL:
        return _largest(n, product_of(kernel), lambda: dense(kernel)[0])
    matrix, rounding = dense(kernel)
    if asymmetry(matrix) <= rounding:
        return _norm(matrix)
    if n < SMALL:
        return float(np.linalg.norm(matrix, 2))
    return _largest(n, lambda v: matrix.T @ (matrix @ v), lambda: matrix.T @ matrix) ** 0.5


def _norm(matrix: Float[np.ndarray, "n n"]) -> float:
    """Of a symmetric matrix; of differences, which are no more than rounding where kernels agree, unchecked."""
    if len(matrix) < SMALL or not np.any(matrix):
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix))))
    return _largest(len(matrix), matrix.__matmul__, lambda: matrix)


def _largest(n: int, product: Callable[[np.ndarray], np.ndarray], matrix: Callable[[], np.ndarray]) -> float:
    """The largest absolute eigenvalue."""
    start: Any = np.random.default_rng(0).standard_normal(n)
    given: Any = LinearOperator((n, n), matvec=lambda v: product(v.reshape(-1)), dtype=np.float64)  # type: ignore[call-arg]
    try:
        return float(np.abs(eigsh(given, k=1, which="LM", return_eigenvectors=False, v0=start, tol=1e-9)[0]))  # type: ignore[arg-type]
    except ArpackNoConvergence:
        # two eigenvalues of one size and opposite sign
        return float(np.max(np.abs(np.linalg.eigvalsh(matrix()))))


def off_diagonal(kernel: object) -> Float[np.ndarray, "n n"]:
    """A copy with a zero diagonal."""
    matrix = np.array(real_array(kernel, "kernel"), dtype=np.float64)
    np.fill_diagonal(matrix, 0.0)
    return matrix


def compare_kernels(reference: object, other: object, spikes: int = 3) -> KernelComparison:
    """Distances between two symmetric (n, n) kernels.

    Parameters
    ----------
    reference, other : (n, n) symmetric, finite, matrices or operators. Declare an infinite NTK diagonal first.
    spikes : number of leading eigenpairs to compare, from 1 to n.

    Raises
    ------
    ValueError
        If shapes differ, something is not finite or not symmetric, or the reference is zero.
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
    spikes = _as_spikes(spikes, "spikes", n)
    a, b = symmetric(reference), symmetric(other)
    if not np.any(a):
        raise ValueError("the reference kernel is zero, and nothing is relative to it: exchange the two.")
    first, second = spectrum(a, spikes), spectrum(b, spikes)
    return compare_with_spectra(a, b, first, second)


def compare_with_spectra(a: np.ndarray, b: np.ndarray, first: Spectrum, second: Spectrum) -> KernelComparison:
    """:func:`compare_kernels` where the spectra are known already."""
    with np.errstate(all="ignore"):
        found = _compared(a, b, first, second)
    check_result(np.array(astuple(found)), "a distance")
    return found


def _compared(a: np.ndarray, b: np.ndarray, first: Spectrum, second: Spectrum) -> KernelComparison:
    size, size_frobenius = float(np.max(np.abs(first.values))), float(np.linalg.norm(a))
    if size_frobenius < np.finfo(float).tiny:
        raise ValueError(f"the reference kernel's largest eigenvalue is {size:.3g}: rescale both kernels.")
    gap, gap_off = a - b, off_diagonal(a - b)
    absolute = _norm(gap)
    return KernelComparison(
        operator=absolute / size,
        frobenius=float(np.linalg.norm(gap)) / size_frobenius,
        operator_off=_norm(gap_off) / size,
        frobenius_off=float(np.linalg.norm(gap_off)) / size_frobenius,
        operator_absolute=absolute,
        eigenvalue_mismatch=float(np.max(np.abs(first.values - second.values))) / size,
        spike_mismatch=_spike_mismatch(first, second, size),
        alignment=subspace_alignment(first.leading, second.leading),
    )


def _spike_mismatch(first: Spectrum, second: Spectrum, size: float) -> float:
    """Relative to each eigenvalue; where that is 0 up to rounding, to the rounding error."""
    k = first.leading.shape[1]
    rounding = first.values.size * np.finfo(float).eps * size
    gap = np.abs(first.values[:k] - second.values[:k])
    return float(np.max(np.where(gap <= rounding, 0.0, gap) / np.maximum(np.abs(first.values[:k]), rounding)))


def subspace_alignment(a: Float[np.ndarray, "n k"], b: Float[np.ndarray, "n k"]) -> float:
    """Smallest cosine of the principal angles between the spans of orthonormal columns."""
    return float(min(1.0, np.linalg.svd(a.T @ b, compute_uv=False)[-1]))
