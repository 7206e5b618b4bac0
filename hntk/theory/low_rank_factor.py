r"""Symmetric matrices of low rank, $UMU^\top$ with $U = [\sqrt{|c|}X, V]$ of shape (n, r), without an (n, n) matrix.

Everything follows from $G = U^\top U$: with $G = EDE^\top$, $UED^{-1/2}$ is an orthonormal basis of U's range, in which
$UMU^\top$ is $D^{1/2}E^\top MED^{1/2}$. So one pass over the data and problems of size r give the spectrum, in O(nr)
memory and O(nr²) time. Samples are read in chunks and added up in float64, whatever their type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hntk._utils.arrays import check_result
from hntk._utils.rows import each_block, row_blocks


class RangeSpectrum(NamedTuple):
    """Eigenvalues of U M Uᵀ on the range of U, and W such that the columns of U W are their eigenvectors."""

    values: Float[np.ndarray, " k"]
    maps: Float[np.ndarray, "r k"]


@dataclass(frozen=True, eq=False)
class LowRankFactor:
    """The matrix c x xᵀ + V A Vᵀ = U M Uᵀ.

    Attributes
    ----------
    x : ndarray
        (n, p) samples, in any precision.
    weight : float
        The factor c.
    factor : ndarray
        (n, k) matrix V.
    core : ndarray
        (k, k) symmetric matrix A.
    """

    x: Float[np.ndarray, "n p"]
    weight: float
    factor: Float[np.ndarray, "n k"]
    core: Float[np.ndarray, "k k"]

    @property
    def rank(self) -> int:
        """Number of columns of U, p + k."""
        return self.x.shape[1] + len(self.core)

    @property
    def spans_all(self) -> bool:
        """Whether the range of U is the whole space, so that no eigenvalue is 0 for want of rank."""
        return self.spectrum.values.size == self.x.shape[0]

    @cached_property
    def balance(self) -> float:
        """Factor by which U's columns hold V, so that G, whose rounding is relative to its largest part, keeps both."""
        return float(np.sqrt(np.linalg.norm(self.core, 2))) or 1.0

    @cached_property
    def middle(self) -> Float[np.ndarray, "r r"]:
        """The matrix M."""
        p = self.x.shape[1]
        middle = np.zeros((self.rank, self.rank))
        middle[np.arange(p), np.arange(p)] = np.sign(self.weight)
        middle[p:, p:] = self.core / self.balance**2
        return middle

    @cached_property
    def spectrum(self) -> RangeSpectrum:
        """Eigenvalues and eigenvectors on the range of U."""
        with np.errstate(all="ignore"):
            gram = sum((part for _, part in self.each(_gram)), np.zeros(self.middle.shape))
        check_result(gram, "an inner product of samples")
        sizes, vectors = np.linalg.eigh(gram)
        # eigenvalues of G that are no larger than rounding belong to no direction of U
        kept = np.flatnonzero(sizes > len(sizes) * np.finfo(float).eps * sizes[-1])[-self.x.shape[0] :]
        roots = np.sqrt(sizes[kept])
        basis = vectors[:, kept] * roots
        values, rotation = np.linalg.eigh(basis.T @ self.middle @ basis)
        return RangeSpectrum(values, (vectors[:, kept] / roots) @ rotation)

    def chunks(self) -> Iterator[tuple[slice, Float[np.ndarray, "rows r"]]]:
        """Yield some rows of U at a time, in memory that the next rows overwrite."""
        scale, p = np.sqrt(abs(self.weight)), self.x.shape[1]
        memory = np.empty((0, self.rank))
        for part in row_blocks(self.x, self.rank):
            if not memory.size:
                memory = np.empty((part.stop, self.rank))
            block = memory[: part.stop - part.start]
            np.multiply(self.x[part], scale, out=block[:, :p])
            np.multiply(self.factor[part], self.balance, out=block[:, p:])
            yield part, block

    def each(self, function: Callable[..., Any], *arrays: np.ndarray) -> Iterator[tuple[slice, Any]]:
        """Yield some rows at a time, and what a function gives for these rows of U and of further arrays."""
        if not hasattr(self.x, "each"):
            for part, u in self.chunks():
                yield part, function(u, *(array[part] for array in arrays))
            return
        scale, balance, p = np.sqrt(abs(self.weight)), self.balance, self.x.shape[1]

        def on_rows(x: np.ndarray, factor: np.ndarray, *others: np.ndarray) -> Any:
            u = np.empty((len(x), p + factor.shape[1]))
            np.multiply(x, scale, out=u[:, :p])
            np.multiply(factor, balance, out=u[:, p:])
            return function(u, *others)

        yield from each_block(self.x, on_rows, self.factor, *arrays, columns=self.rank)

    def project(self, y: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "r ..."]:
        """Return Uᵀ y."""
        return np.sum([part for _, part in self.each(_project, y)], axis=0)

    def expand(self, coordinates: Float[np.ndarray, "r ..."]) -> Float[np.ndarray, "n ..."]:
        """Return U times coordinates."""
        return np.concatenate([part for _, part in self.each(lambda u: u @ coordinates)])

    def matvec(self, y: Float[np.ndarray, "n ..."]) -> Float[np.ndarray, "n ..."]:
        """Return the product with a vector (n,) or a block (n, m)."""
        return self.expand(self.middle @ self.project(y))

    def to_dense(self) -> Float[np.ndarray, "n n"]:
        """Return the matrix."""
        whole = np.concatenate([u.copy() for _, u in self.chunks()])
        return whole @ self.middle @ whole.T

    def sample_weights(self, y: Float[np.ndarray, "n ..."]) -> tuple[np.ndarray, np.ndarray]:
        """Return w and ω such that the product with y is x w + V ω."""
        coordinates = self.middle @ self.project(y)
        p = self.x.shape[1]
        return np.sqrt(abs(self.weight)) * coordinates[:p], self.balance * coordinates[p:]


def _gram(u: Float[np.ndarray, "rows r"]) -> Float[np.ndarray, "r r"]:
    return u.T @ u


def _project(u: Float[np.ndarray, "rows r"], y: Float[np.ndarray, "rows ..."]) -> Float[np.ndarray, "r ..."]:
    return u.T @ y
