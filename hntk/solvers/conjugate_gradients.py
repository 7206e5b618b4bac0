r"""Conjugate gradients for several right-hand sides at once, with a preconditioner.

All sides share one space of directions (block conjugate gradients, O'Leary 1980), so that each product with the matrix
serves all of them, and convergence is at least that of every side alone. Directions that come to depend on each other,
such as those of one-hot targets, whose sum is known, or of sides that have converged, are dropped (Ji and Li 2017):
with orthonormal directions D of the residual R, preconditioner M and matrix A,

$$X \leftarrow X + D(D^\top AD)^{-1}D^\top R,\qquad D \leftarrow \mathrm{orth}\,(M^{-1}R - D(D^\top AD)^{-1}(AD)^\top
M^{-1}R).$$

A method holds its state between steps and does not multiply by the matrix itself: several of them can share a product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Float

Block = Float[np.ndarray, "n k"]

# directions shorter than this share of the longest depend on the others
DEPENDENT = 1e-12


class ConvergenceError(RuntimeError):
    """An iteration that does not reach the residual that was asked for; the message says what to do."""


class IndefiniteError(ConvergenceError):
    """A matrix that is not positive definite, of which an iteration has found a direction that shows it."""


@dataclass(eq=False)
class BlockGradients:
    """Block conjugate gradients between two steps.

    Attributes
    ----------
    target : ndarray of shape (n, k)
        Right-hand sides B.
    precondition : callable
        Returns M⁻¹R of a block R, for a positive definite M.
    solution, residual : ndarray of shape (n, k)
        X, and B − AX as the iteration keeps it.
    directions : ndarray of shape (n, m)
        Orthonormal directions that the next step takes, m ≤ k; none when nothing is left to do.
    steps : int
        Number of steps so far.
    least : float
        The lowest value of DᵀAD/DᵀD in all directions so far: below 0 A is not positive definite.
    """

    target: Block
    precondition: Callable[[Block], Block]
    solution: Block
    residual: Block
    directions: Block
    steps: int = 0
    least: float = np.inf

    @staticmethod
    def start(
        target: Block,
        precondition: Callable[[Block], Block],
        solution: Block | None = None,
        residual: Block | None = None,
    ) -> BlockGradients:
        """Begin at X = 0, or at a solution whose residual is given with it."""
        x = np.zeros_like(target) if solution is None else solution.copy()
        r = target.copy() if residual is None else residual.copy()
        return BlockGradients(target, precondition, x, r, _orthonormal(precondition(r)))

    def advance(self, products: Block) -> None:
        """Take a step, from the products AD of the matrix with the directions."""
        d, self.steps = self.directions, self.steps + 1
        if not d.shape[1]:
            return
        inverse = _Inverse.of(d.T @ products)
        self.least = min(self.least, inverse.least)
        step = inverse(d.T @ self.residual)
        self.solution += d @ step
        self.residual -= products @ step
        following = self.precondition(self.residual)
        self.directions = _orthonormal(following - d @ inverse(products.T @ following))

    def restart(self, residual: Block) -> None:
        """Replace the residual by one that was computed from the solution."""
        self.residual = residual
        self.directions = _orthonormal(self.precondition(residual))

    @property
    def errors(self) -> Float[np.ndarray, " k"]:
        """Residuals of all sides relative to their norms, as the iteration keeps them."""
        return relative_norms(self.residual, self.target)


def relative_norms(residual: Block, target: Block) -> Float[np.ndarray, " k"]:
    """Return norms of residuals relative to those of the right-hand sides; 0 for a side that is 0."""
    sizes, norms = np.linalg.norm(residual, axis=0), np.linalg.norm(target, axis=0)
    return np.divide(sizes, norms, out=np.where(sizes > 0, np.inf, 0.0), where=norms > 0)


@dataclass(frozen=True, eq=False)
class _Inverse:
    """The inverse of a small symmetric matrix on the directions in which it is positive, and its lowest eigenvalue."""

    values: Float[np.ndarray, " m"]
    vectors: Float[np.ndarray, "k m"]
    least: float

    @staticmethod
    def of(matrix: Float[np.ndarray, "k k"]) -> _Inverse:
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        kept = values > len(values) * np.finfo(float).eps * values[-1]
        return _Inverse(values[kept], vectors[:, kept], float(values[0]))

    def __call__(self, right: Float[np.ndarray, "k m"]) -> Float[np.ndarray, "k m"]:
        return self.vectors @ (self.vectors.T @ right / self.values[:, None])


def _orthonormal(block: Block) -> Block:
    """Return an orthonormal basis of the columns, less those that depend on others."""
    norms = np.linalg.norm(block, axis=0)
    scaled = block[:, norms > 0] / norms[norms > 0]
    if not scaled.size:
        return np.zeros((len(block), 0))
    q, r, _ = scipy.linalg.qr(scaled, mode="economic", pivoting=True, check_finite=False)
    sizes = np.abs(np.diagonal(r))
    return np.ascontiguousarray(q[:, : int(np.sum(sizes > DEPENDENT * sizes[0]))])
