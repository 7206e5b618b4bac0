"""Symmetric matrices that are known by their products, their diagonal and single columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int


class SymmetricOperator(Protocol):
    """A symmetric matrix K of n rows."""

    @property
    def n(self) -> int:
        """Number of rows."""
        ...

    def diagonal(self) -> Float[np.ndarray, " n"]:
        """Return the diagonal."""
        ...

    def product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v."""
        ...

    def columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of K."""
        ...


@dataclass(frozen=True, eq=False)
class DenseOperator:
    """A matrix in memory as an operator.

    Attributes
    ----------
    matrix : ndarray of shape (n, n)
        The matrix K.
    """

    matrix: Float[np.ndarray, "n n"]

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.matrix)

    def diagonal(self) -> Float[np.ndarray, " n"]:
        """Return the diagonal."""
        return self.matrix.diagonal().copy()

    def product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v."""
        return self.matrix @ v

    def columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of K."""
        return self.matrix[:, index]


@dataclass(frozen=True, eq=False)
class LeadingPart:
    """The first rows and columns of an operator, such as those of the training samples in a split.

    Attributes
    ----------
    whole : SymmetricOperator
        The whole matrix.
    n : int
        Number of rows of the part.
    """

    whole: SymmetricOperator
    n: int

    def diagonal(self) -> Float[np.ndarray, " n"]:
        """Return the diagonal."""
        return self.whole.diagonal()[: self.n]

    def product(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return K v."""
        return self.both(v)[: self.n]

    def both(self, v: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "whole k"]:
        """Return the product of all rows of the whole matrix with v, which the other columns do not enter."""
        padded = np.zeros((self.whole.n, v.shape[1]))
        padded[: self.n] = v
        return self.whole.product(padded)

    def columns(self, index: Int[np.ndarray, " m"]) -> Float[np.ndarray, "n m"]:
        """Return some columns of K."""
        return self.whole.columns(index)[: self.n]
