"""Symmetric operators: matrices in memory or on the disk, and what is known by its products with vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import real_array
from hntk._utils.memory import check_room
from hntk._utils.rows import row_blocks

Product = Callable[[np.ndarray], np.ndarray]
# by which entries may differ from their mirror images, relative to the largest: rounding of float32, added up
ROUNDING = 1e-5


class Operator(Protocol):
    """A symmetric matrix by its products, such as ``StructuredKernel`` and ``EmpiricalNTK``."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        ...

    def matvec(self, v: Any, /) -> Any:
        """The product with a vector (n,)."""
        ...


def is_operator(given: Any) -> bool:
    """Whether it is known by its products."""
    return hasattr(given, "matvec") and hasattr(given, "shape")


def size_of(given: Any) -> int:
    """Return n of a square matrix or operator that is not empty.

    Raises
    ------
    ValueError
        If it is not square, empty, or no matrix of numbers.
    """
    shape = tuple(given.shape) if is_operator(given) else np.shape(real_array(given, "a kernel"))
    if len(shape) != 2 or shape[0] != shape[1] or not shape[0]:
        raise ValueError(f"a kernel must be a square matrix, not empty; got shape {shape}.")
    return int(shape[0])


def product_of(given: Any) -> Product:
    """Return the product with a vector, in float64; a matrix of another type is never copied whole.

    The product raises ``ArithmeticError`` where it is not finite.
    """
    matrix = None if is_operator(given) else np.asanyarray(real_array(given, "a kernel"))

    def product(v: np.ndarray) -> np.ndarray:
        flat = v.reshape(-1)
        if matrix is None:
            found = np.asarray(given.matvec(flat), np.float64)
        elif matrix.dtype == np.float64:
            found = matrix @ flat
        else:
            found = np.concatenate([matrix[part].astype(np.float64) @ flat for part in row_blocks(matrix)])
        if not np.all(np.isfinite(found)):
            raise ArithmeticError("the operator gives products that are not finite: check the kernel for NaN or inf.")
        return found

    return product


def tolerance_of(dtype: Any) -> float:
    """Asymmetry that is rounding, of numbers of this type."""
    exact = dtype if jnp.issubdtype(dtype, np.floating) else np.float64
    return max(ROUNDING, 8 * float(jnp.finfo(exact).eps))


def check_matrix(given: Any) -> None:
    """Refuse a matrix that is not finite or, by products with random vectors, not symmetric: one pass, and no copy.

    Raises
    ------
    ArithmeticError
        If it is not finite.
    ValueError
        If it is not symmetric.
    """
    matrix = np.asanyarray(real_array(given, "a kernel"))
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


def dense(given: Any) -> tuple[Float[np.ndarray, "n n"], float]:
    """Return the finite matrix in float64, and what counts as rounding in it, relative to its largest entry.

    Raises
    ------
    ValueError
        If it is not square, empty, or not finite.
    MemoryError
        If it is not there yet and does not fit into memory.
    """
    n = size_of(given)
    if not (isinstance(given, np.ndarray) and given.dtype == np.float64):
        remedy = "hntk.leading_eigenpairs works with products alone."
        check_room(8 * n * n, f"a kernel of {n:,} samples in float64", remedy)
    operator: Any = given
    if not is_operator(given):
        found = real_array(given, "a kernel")
    elif hasattr(operator, "to_dense"):
        found = operator.to_dense()
    else:
        found = np.stack([product_of(given)(v) for v in np.eye(n)])
    matrix = np.asarray(found, dtype=np.float64)
    if not np.all(np.isfinite(matrix)):
        raise ValueError(
            "the kernel has values that are not finite. The NTK of a network with jumps has an infinite diagonal: "
            "declare one with kappa_sq= when the kernel is computed."
        )
    return matrix, tolerance_of(found.dtype) * float(np.max(np.abs(matrix)))


def symmetric(given: Any) -> Float[np.ndarray, "n n"]:
    """Return the matrix, which must be symmetric up to rounding.

    Raises
    ------
    ValueError
        As :func:`dense` does, and with how far it is from symmetric.
    """
    matrix, rounding = dense(given)
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
