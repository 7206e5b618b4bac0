"""Symmetric operators: matrices in memory or on disk, and objects that give products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeGuard

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import real_array
from hntk._utils.memory import check_room
from hntk._utils.rows import row_blocks

Product = Callable[[np.ndarray], np.ndarray]
# difference of mirrored entries that is rounding of float32, added up, relative to the largest entry
ROUNDING = 1e-5


class Operator(Protocol):
    """A symmetric matrix that gives products, such as ``StructuredKernel`` and ``EmpiricalNTK``."""

    @property
    def shape(self) -> tuple[int, int]:
        """Return (n, n)."""
        ...

    def matvec(self, v: Any, /) -> Any:
        """Return the product with a vector (n,)."""
        ...


class SpectralOperator(Operator, Protocol):
    """An operator that finds its own spectrum faster than its matrix does, such as ``StructuredKernel``."""

    @property
    def above(self) -> int:
        """Return how many leading eigenpairs :meth:`eigh` can give."""
        ...

    def eigvalsh(self) -> Float[np.ndarray, " n"]:
        """Return all eigenvalues, descending."""
        ...

    def eigh(self, k: int, /) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "n k"]]:
        """Return the k largest eigenvalues, descending, and their eigenvectors as columns."""
        ...


def is_operator(kernel: Any) -> bool:
    """Return whether a kernel gives products with vectors, and is no array."""
    return hasattr(kernel, "matvec") and hasattr(kernel, "shape")


def knows_spectrum(kernel: Any) -> TypeGuard[SpectralOperator]:
    """Return whether a kernel is an operator that finds its own spectrum."""
    # of the class: reading ``above`` of an instance computes it
    return is_operator(kernel) and all(hasattr(type(kernel), name) for name in ("above", "eigvalsh", "eigh"))


def size_of(kernel: Any) -> int:
    """Return n of a square matrix or operator that is not empty.

    Raises
    ------
    ValueError
        If it is not square, empty, or no matrix of numbers.
    """
    shape = tuple(kernel.shape) if is_operator(kernel) else np.shape(real_array(kernel, "a kernel"))
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"a kernel must be a square matrix, not empty; got shape {shape}.")
    return int(shape[0])


def checked_product(kernel: Any) -> tuple[int, Product]:
    """Return n and the product with a vector in float64, of an operator or of a symmetric matrix.

    Raises
    ------
    ValueError
        If it is not square, or a matrix that is not symmetric.
    ArithmeticError
        If it is a matrix that is not finite.
    """
    n = size_of(kernel)
    if not is_operator(kernel):
        check_matrix(kernel)
    return n, product_of(kernel)


def product_of(kernel: Any) -> Product:
    """Return the product with a vector in float64; a matrix of another type is never copied whole.

    The product raises ``ArithmeticError`` where it is not finite.
    """
    matrix = None if is_operator(kernel) else np.asanyarray(real_array(kernel, "a kernel"))

    def product(v: np.ndarray) -> np.ndarray:
        flat = v.reshape(-1)
        if matrix is None:
            result = np.asarray(kernel.matvec(flat), np.float64)
        elif matrix.dtype == np.float64:
            result = matrix @ flat
        else:
            result = np.concatenate([matrix[part].astype(np.float64) @ flat for part in row_blocks(matrix)])
        if not np.all(np.isfinite(result)):
            raise ArithmeticError("the operator gives products that are not finite: check the kernel for NaN or inf.")
        return result

    return product


def tolerance_of(dtype: Any) -> float:
    """Return the asymmetry that is rounding in numbers of a type, relative to the largest entry."""
    floating = dtype if jnp.issubdtype(dtype, np.floating) else np.float64
    return max(ROUNDING, 8 * float(jnp.finfo(floating).eps))


def check_matrix(kernel: Any) -> None:
    """Refuse a matrix that is not finite, or not symmetric by products with random vectors, in one pass without a copy.

    Raises
    ------
    ArithmeticError
        If it is not finite.
    ValueError
        If it is not symmetric.
    """
    matrix = np.asanyarray(real_array(kernel, "a kernel"))
    u, v = np.random.default_rng(0).standard_normal((2, len(matrix)))
    forms, square = np.zeros(2), 0.0
    with np.errstate(all="ignore"):
        for part in row_blocks(matrix):
            block = matrix[part].astype(np.float64, copy=False)
            forms += u[part] @ (block @ v), v[part] @ (block @ u)
            square += float(np.einsum("ij,ij->", block, block))
    if not np.all(np.isfinite([*forms, square])):
        raise ArithmeticError("the matrix has values that are not finite, or whose squares are not: rescale it.")
    if abs(forms[0] - forms[1]) > tolerance_of(matrix.dtype) * np.sqrt(square):
        raise ValueError("the matrix is not symmetric: give (matrix + matrix.T) / 2, or look for what mixes up rows.")


def dense(kernel: Any) -> tuple[Float[np.ndarray, "n n"], float]:
    """Return the finite matrix in float64, and the size of rounding errors in it.

    Raises
    ------
    ValueError
        If it is not square, empty, or not finite.
    MemoryError
        If a copy is needed and does not fit into memory.
    """
    n, operator = size_of(kernel), kernel
    if not (isinstance(kernel, np.ndarray) and kernel.dtype == np.float64):
        remedy = "hntk.leading_eigenpairs works with products alone."
        check_room(8 * n * n, f"a kernel of {n:,} samples in float64", remedy)
    if not is_operator(kernel):
        values = real_array(kernel, "a kernel")
    elif hasattr(kernel, "to_dense"):
        values = operator.to_dense()
    else:
        values = np.stack([product_of(kernel)(v) for v in np.eye(n)])
    matrix = np.asarray(values, dtype=np.float64)
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "the kernel has values that are not finite. The NTK of a network with jumps has an infinite diagonal: "
            "declare one with kappa_sq= when the kernel is computed."
        )
    return matrix, tolerance_of(values.dtype) * float(np.max(np.abs(matrix)))


def symmetric(kernel: Any) -> Float[np.ndarray, "n n"]:
    """Return the matrix in float64, which must be symmetric up to rounding.

    Raises
    ------
    ValueError
        If it is not square, empty, not finite or not symmetric.
    """
    matrix, rounding = dense(kernel)
    gap = asymmetry(matrix)
    if gap > rounding:
        raise ValueError(
            f"the kernel is not symmetric: entries differ from their mirror images by up to {gap:.3g}. Give "
            "(kernel + kernel.T) / 2, or look for what mixes up rows."
        )
    return matrix


def asymmetry(matrix: Float[np.ndarray, "n n"]) -> float:
    """Return the largest difference of an entry from its mirror image."""
    return max(float(np.max(np.abs(matrix[part] - matrix[:, part].T))) for part in row_blocks(matrix))
