"""Leading eigenpairs of symmetric operators by Lanczos with restarts."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative, as_seed
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk.spectra.operators import Operator, Product, checked_product

# samples below which the matrix itself is decomposed
SMALL = 64


@array_dataclass()
class Eigenpairs:
    """Leading eigenvalues and eigenvectors of a symmetric operator A.

    Attributes
    ----------
    values : ndarray
        (k,) eigenvalues, descending.
    vectors : ndarray
        (n, k) orthonormal eigenvectors as columns.
    residuals : ndarray
        (k,) norms ‖Av − λv‖, each of which bounds the error of its λ.
    """

    values: Float[np.ndarray, " k"]
    vectors: Float[np.ndarray, "n k"]
    residuals: Float[np.ndarray, " k"]

    def __repr__(self) -> str:
        return f"Eigenpairs(values={np.array2string(np.asarray(self.values), threshold=6, edgeitems=3)})"


def leading_eigenpairs(
    operator: Operator | np.ndarray, k: int, *, tolerance: float = 0.0, steps: int | None = None, seed: int = 0
) -> Eigenpairs:
    """Return the k largest eigenvalues and their eigenvectors, by Lanczos with restarts (ARPACK).

    Parameters
    ----------
    operator : Operator or array_like
        Symmetric (n, n) matrix, or anything with ``shape`` and ``matvec``.
    k : int
        Number of eigenpairs, below n.
    tolerance : float
        Relative accuracy of the eigenvalues. 0 is the accuracy of the arithmetic.
    steps : int, optional
        Largest number of restarts. By default 10 n, ARPACK's.
    seed : int
        Seed of the vector to start from.

    Returns
    -------
    Eigenpairs
        Eigenvalues, eigenvectors and residuals.

    Raises
    ------
    ValueError
        If ``k`` or a setting does not fit, or a matrix is not symmetric.
    ArithmeticError
        If the operator gives numbers that are not finite, or Lanczos does not converge. More steps or a tolerance help
        where eigenvalues are close.
    MemoryError
        If nearly all eigenpairs are asked for and the matrix does not fit into memory.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> hntk.leading_eigenpairs(np.diag(np.arange(100.0)), 2).values.round(6)
    array([99., 98.])
    """
    k, tolerance, seed = as_count(k, "k"), as_nonnegative(tolerance, "tolerance"), as_seed(seed)
    steps = None if steps is None else as_count(steps, "steps")
    n, product = checked_product(operator)
    if not 1 <= k < n:
        raise ValueError(f"k must lie between 1 and n - 1 = {n - 1}, got {k}; hntk.spectrum gives the whole spectrum.")
    if n < SMALL or 2 * k >= n:
        check_room(24 * n * n, f"{k:,} eigenvectors of {n:,} samples", "Ask for fewer than half of them.")
        values, vectors = np.linalg.eigh(np.stack([product(v) for v in np.eye(n)]))
    else:
        values, vectors = _by_arpack(n, product, k, tolerance, steps, seed)
    order = np.argsort(values)[::-1][:k]
    values, vectors = values[order], vectors[:, order]
    products = np.stack([product(vector) for vector in vectors.T], axis=1)
    return Eigenpairs(values, vectors, np.linalg.norm(products - vectors * values, axis=0))


def _by_arpack(
    n: int, product: Product, k: int, tolerance: float, steps: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    start: Any = np.random.default_rng(seed).standard_normal(n)
    operator: Any = scipy.sparse.linalg.LinearOperator((n, n), matvec=product, dtype=np.float64)
    try:
        return scipy.sparse.linalg.eigsh(operator, k=k, which="LA", v0=start, tol=tolerance, maxiter=steps)
    except scipy.sparse.linalg.ArpackNoConvergence as error:
        raise ArithmeticError(
            f"Lanczos found {len(error.eigenvalues)} of {k} eigenpairs: give more steps=, or a tolerance= of, say, "
            "1e-6; close eigenvalues take long."
        ) from error
