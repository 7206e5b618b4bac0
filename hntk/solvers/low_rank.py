r"""Preconditioners of a low rank and a diagonal, $M = WW^\top + D + \lambda I$.

Their inverse is that of Woodbury, with the Cholesky factor of $I + W^\top(D + \lambda)^{-1}W$. W has features that
theory knows, and pivots: columns of what these leave of the matrix,

$$S = K - UU^\top,\qquad S - \nu I \approx (S_{:P} - \nu I_{:P})(S_{PP} - \nu I)^{-1}(S_{P:} - \nu I_{P:}),$$

for pivots P that are drawn with the probability of what is left of the diagonal (Chen, Epperly, Tropp and Webber 2025).
D makes the diagonal that of K. The nugget ν is what S has of the identity: without it, columns of a matrix near a
multiple of the identity have nothing but their own diagonal entries to tell, and D would miss it at the pivots. Nine
tenths of the least eigenvalue of $S_{PP}$ are tried for it. All of S has smaller eigenvalues, for instance where
samples are near a pivot. A nugget above these would leave such samples less of the diagonal than itself, or nothing,
and is lowered until it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from hntk._utils.devices import accelerated, compiled, device_memory, exact_product
from hntk._utils.float64 import float64
from hntk._utils.rows import narrow_blocks, row_blocks
from hntk.solvers.operators import SymmetricOperator

# share of the least eigenvalue between the pivots that counts as a multiple of the identity at most
NUGGET = 0.9
# times that a nugget is lowered, and by what factor
TRIED, LESS = 16, 0.8
# eigenvalues between the pivots below this share of the largest are rounding errors
NOISE = 1e-10
# pivots that are drawn at a time
DRAWN = 64
# free bytes of a device, in units of those of a factor, from which on it multiplies there: it, its copy and blocks
ROOM = 3


@dataclass(frozen=True, eq=False)
class LowRank:
    """The matrix W Wᵀ + D, which is close to K.

    Attributes
    ----------
    factor : ndarray of shape (n, r)
        W.
    diagonal : ndarray of shape (n,)
        D, at least 0.
    """

    factor: Float[np.ndarray, "n r"]
    diagonal: Float[np.ndarray, " n"]
    _parts: dict[int, LowRank] = field(default_factory=dict, repr=False)

    @property
    def rank(self) -> int:
        """Number of columns of W."""
        return self.factor.shape[1]

    def leading(self, n: int) -> LowRank:
        """Return what approximates the first n rows and columns."""
        # the same one again, which a device may have a copy of
        if n not in self._parts:
            self._parts[n] = self if n == len(self.factor) else LowRank(self.factor[:n], self.diagonal[:n])
        return self._parts[n]

    @cached_property
    def _on_device(self) -> jax.Array:
        with float64():
            return jnp.asarray(self.factor)

    def inverse(self, ridge: float) -> Callable[[Float[np.ndarray, "n k"]], Float[np.ndarray, "n k"]]:
        """Return the function that multiplies a block by (W Wᵀ + D + λ)⁻¹.

        Parameters
        ----------
        ridge : float
            Ridge λ ≥ 0.

        Returns
        -------
        callable
            The function.
        """
        level = self.diagonal + ridge
        # a diagonal of 0 at a ridge of 0 has no inverse
        level = np.maximum(level, np.finfo(float).eps * max(float(level.max()), np.finfo(float).tiny))
        free = device_memory() if accelerated() else None
        if free is not None and 0 < ROOM * self.factor.nbytes <= free:
            return _device_inverse(self._on_device, level)
        inner = np.eye(self.rank)
        for rows in row_blocks(self.factor, self.rank + 1):
            # a matrix by its own transpose takes BLAS half the operations
            scaled = self.factor[rows] / np.sqrt(level[rows, None])
            inner += scaled.T @ scaled
        # columns that depend on each other leave eigenvalues that rounding may have made negative
        inner[np.diag_indices(self.rank)] += self.rank * np.finfo(float).eps * np.trace(inner)
        solve = scipy.linalg.cho_factor(inner, lower=True, overwrite_a=True, check_finite=False)

        def apply(block: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
            free, parts = block / level[:, None], list(narrow_blocks(self.factor.shape, block.shape[1]))
            across = np.zeros((self.rank, block.shape[1]))
            for rows in parts:
                across += self.factor[rows].T @ free[rows]
            across = scipy.linalg.cho_solve(solve, across, overwrite_b=True, check_finite=False)
            for rows in parts:
                free[rows] -= self.factor[rows] @ across / level[rows, None]
            return free

        return apply


def _device_inverse(
    factor: Float[jax.Array, "n r"], level: Float[np.ndarray, " n"]
) -> Callable[[Float[np.ndarray, "n k"]], Float[np.ndarray, "n k"]]:
    """Return the function that multiplies a block by (W Wᵀ + diag(level))⁻¹ on JAX's device."""
    prepare, solve = _device_programs()
    with float64():
        levels = jnp.asarray(level)
        cholesky = prepare(factor, levels)
        # as SciPy does; JAX returns numbers that are none
        if not jnp.all(jnp.isfinite(cholesky)):
            raise np.linalg.LinAlgError("the inner matrix of the preconditioner is not positive definite.")

    def apply(block: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        with float64():
            return np.array(solve(factor, levels, cholesky, jnp.asarray(block)))

    return apply


@cache
def _device_programs() -> tuple[Any, Any]:
    """Return the programs that factorise the inner matrix of Woodbury's inverse, and that apply the inverse."""

    def prepare(factor: jax.Array, level: jax.Array) -> jax.Array:
        scaled = factor / jnp.sqrt(level)[:, None]
        inner = jnp.eye(factor.shape[1]) + exact_product(scaled.T, scaled)
        # columns that depend on each other leave eigenvalues that rounding may have made negative
        return jnp.linalg.cholesky(inner + jnp.eye(len(inner)) * len(inner) * jnp.finfo(float).eps * jnp.trace(inner))

    def solve(factor: jax.Array, level: jax.Array, cholesky: jax.Array, block: jax.Array) -> jax.Array:
        free = block / level[:, None]
        across = jax.scipy.linalg.cho_solve((cholesky, True), exact_product(factor.T, free))
        return free - exact_product(factor, across) / level[:, None]

    return compiled(prepare), compiled(solve)


def low_rank(
    kernel: SymmetricOperator,
    features: Float[np.ndarray, "n q"] | None,
    pivots: int,
    rng: np.random.Generator,
) -> LowRank:
    """Return an approximation of a kernel by features and pivots.

    Parameters
    ----------
    kernel : SymmetricOperator
        K, positive semidefinite.
    features : ndarray of shape (n, q), optional
        U, whose Gram matrix is a part of K. None for none.
    pivots : int
        Number of columns of K that are used.
    rng : numpy.random.Generator
        What draws the pivots.

    Returns
    -------
    LowRank
        The approximation, of rank at most q + pivots.
    """
    n, diagonal = kernel.n, kernel.diagonal()
    known = np.zeros((n, 0)) if features is None else features
    left = np.maximum(diagonal - np.einsum("ij,ij->i", known, known), 0.0)
    index, columns = _drawn(kernel, known, left, pivots, rng)
    factor = _beside_nugget(index, columns, left)
    # samples of whose diagonal the features have all have no room for more
    squares = np.einsum("ij,ij->i", factor, factor)
    factor *= np.sqrt(np.divide(left, squares, out=np.ones_like(left), where=squares > left))[:, None]
    return LowRank(np.hstack([known, factor]), np.maximum(left - np.einsum("ij,ij->i", factor, factor), 0.0))


def _drawn(
    kernel: SymmetricOperator,
    known: Float[np.ndarray, "n q"],
    left: Float[np.ndarray, " n"],
    count: int,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, "n r"]]:
    """Return pivots, drawn by what those before leave of the diagonal, and their columns of S."""
    left, n = left.copy(), len(left)
    index, columns, factor = np.zeros(0, int), np.empty((n, 0)), np.empty((n, min(count, n)))
    done, blocks, least = 0, [], NOISE * float(left.max(initial=0.0))
    while done < min(count, n) and np.any(left > least):
        chances = np.where(left > least, left, 0.0)
        size = min(DRAWN, min(count, n) - done, int(np.count_nonzero(chances)))
        drawn = np.sort(rng.choice(n, size, replace=False, p=chances / chances.sum()))
        block = kernel.columns(drawn) - known @ known[drawn].T
        blocks.append(block)
        index = np.concatenate([index, drawn])
        rest = block - factor[:, :done] @ factor[drawn, :done].T
        values, vectors = np.linalg.eigh((rest[drawn] + rest[drawn].T) / 2)
        kept = values > NOISE * max(values[-1], 0.0)
        new = rest @ (vectors[:, kept] / np.sqrt(values[kept]))
        factor[:, done : done + new.shape[1]] = new
        done += new.shape[1] or size
        left -= np.einsum("ij,ij->i", new, new)
        left[drawn] = 0.0
    return index, np.hstack([columns, *blocks])


def _beside_nugget(
    index: Int[np.ndarray, " r"], columns: Float[np.ndarray, "n r"], left: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n m"]:
    """Return a factor of the Nyström approximation of S − νI from pivots, whose diagonal ``left`` has room for."""
    if not index.size:
        return columns
    between = columns[index]
    values, vectors = np.linalg.eigh((between + between.T) / 2)
    turned = columns @ vectors
    nugget = _nugget(index, values, turned, left)
    turned[index] -= nugget * vectors
    kept = _kept(values - nugget)
    return turned[:, kept] / np.sqrt(values[kept] - nugget)


def _nugget(
    index: Int[np.ndarray, " r"],
    values: Float[np.ndarray, " r"],
    turned: Float[np.ndarray, "n r"],
    left: Float[np.ndarray, " n"],
) -> float:
    """Return a multiple of the identity that S seems to have: what is left of its diagonal is nowhere below it."""
    nugget = NUGGET * max(float(values[0]), 0.0)
    others = np.ones(len(left), bool)
    others[index] = False
    squares, room = turned[others] ** 2, left[others]
    for _ in range(TRIED):
        kept = _kept(values - nugget)
        if np.all(squares[:, kept] @ (1 / (values[kept] - nugget)) <= room - nugget):
            return nugget
        nugget *= LESS
    return 0.0


def _kept(values: Float[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
    """Return which eigenvalues are no rounding errors."""
    return values > NOISE * max(values[-1], 0.0)
