r"""Kernels that are a Gram matrix of rank p, a few directions more, and a multiple of the identity.

$K = c\,XX^\top + VAV^\top + \gamma I$ = $UMU^\top + \gamma I$ with $U = [\sqrt{|c|}X, V]$, (n, r). Everything follows
from $G = U^\top U$: with $G = EDE^\top$, $UED^{-1/2}$ is an orthonormal basis of U's range, in which $UMU^\top$ is
$D^{1/2}E^\top MED^{1/2}$. So one pass over the data and problems of size r give the spectrum, the determinant and the
inverse, in O(nr) memory and O(nr²) time. Data is read in chunks and added up in float64, whatever it is kept in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.sparse import issparse

from hntk._utils.arguments import as_count, as_finite, as_number, as_reals
from hntk._utils.arrays import as_columns, check_result, finite_array, real_array
from hntk._utils.copies import Copyable
from hntk._utils.memory import check_room
from hntk._utils.rows import check_shape, row_blocks

# steps that make up for what G's condition number costs
REFINEMENTS = 2


class _Spectral(NamedTuple):
    """Eigenvalues of U M Uᵀ on the range of U, and their eigenvectors as U W."""

    values: Float[np.ndarray, " k"]
    maps: Float[np.ndarray, "r k"]


@dataclass(frozen=True)
class StructuredKernel(Copyable):
    """c x xᵀ + V A Vᵀ + γ I: never an (n, n) matrix unless asked for.

    Attributes
    ----------
    x : (n, p) samples in any precision; a memory map is read in chunks and never copied whole.
    weight : c.
    factor : (n, k) V.
    core : (k, k) A, symmetric.
    shift : γ; infinite when the diagonal is not a number the theory gives (NTK of a net with jumps).
    """

    x: Float[np.ndarray, "n p"]
    weight: float
    factor: Float[np.ndarray, "n k"]
    core: Float[np.ndarray, "k k"]
    shift: float

    def __post_init__(self) -> None:
        # what reads its rows from elsewhere stays as it is
        foreign = hasattr(self.x, "shape") and not isinstance(self.x, np.ndarray | Array) and not issparse(self.x)
        x = self.x if foreign else np.asanyarray(real_array(self.x, "x"))
        check_shape(x, "x")
        n, factor, core = x.shape[0], finite_array(self.factor, "factor"), finite_array(self.core, "core")
        if factor.ndim != 2 or len(factor) != n or core.shape != (factor.shape[1],) * 2:
            raise ValueError(
                f"a kernel of {n} samples needs factor ({n}, k) and core (k, k), got shapes {factor.shape} "
                f"and {core.shape}."
            )
        if not np.allclose(core, core.T, rtol=1e-6, atol=1e-12 * np.max(np.abs(core), initial=0.0)):
            raise ValueError("core must be symmetric: give (core + core.T) / 2.")
        shift = as_number(self.shift)
        if not shift > -np.inf:
            raise ValueError(f"shift must be a number, or inf where the diagonal is not known; got {self.shift!r}.")
        told = (("x", x), ("weight", as_finite(self.weight, "weight")), ("factor", factor), ("core", core))
        for name, value in (*told, ("shift", shift)):
            object.__setattr__(self, name, value)

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.x.shape[0], self.x.shape[0]

    def to_dense(self) -> Float[np.ndarray, "n n"]:
        """The matrix.

        Raises
        ------
        MemoryError
            If it does not fit into memory; :meth:`matvec` and the spectrum need none.
        """
        n, shift = self.shape[0], self._finite_shift()
        check_room(
            16 * n * (n + self._middle.shape[0]),
            f"the kernel of {n:,} samples as a matrix",
            "matvec(), eigvalsh(), eigh() and solve() work without it.",
        )
        whole = np.concatenate([u.copy() for _, u in self._chunks()])
        found = whole @ self._middle @ whole.T
        found[np.diag_indices(n)] += shift
        check_result(found, "the kernel")
        return found

    def matvec(self, v: object) -> Float[np.ndarray, "n ..."]:
        """The product with a vector (n,) or a block (n, m), in O(n r)."""
        given = as_columns(v, self.shape[0], "v")
        return self._spread(self._middle @ self._gathered(given)) + self._finite_shift() * given

    def eigvalsh(self) -> Float[np.ndarray, " n"]:
        """All n eigenvalues, descending, in O(n r²): those of the low-rank part, and γ for the rest."""
        values = self._spectral.values
        rest = np.zeros(self.shape[0] - values.size)
        return np.sort(np.concatenate([values, rest]))[::-1] + self._finite_shift()

    def eigh(self, k: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "n k"]]:
        """The k largest eigenvalues, descending, and their eigenvectors as columns.

        Raises
        ------
        ValueError
            If k exceeds the number of eigenvalues above the bulk γ of multiplicity n − r.
        """
        k = as_count(k, "k")
        values, maps = self._spectral
        count = self.above
        if k > count:
            raise ValueError(
                f"k must lie between 1 and {count}, the number of eigenvalues that stand above the multiple of the "
                f"identity; got {k}. For more use eigvalsh() or np.linalg.eigh(kernel.to_dense())."
            )
        order = np.argsort(values)[::-1][:k]
        vectors = self._spread(maps[:, order])
        return values[order] + self._finite_shift(), vectors / np.linalg.norm(vectors, axis=0)

    @property
    def above(self) -> int:
        """How many eigenvalues stand above the multiple of the identity, those that :meth:`eigh` gives."""
        values = self._spectral.values
        return values.size if values.size == self.shape[0] else int(np.sum(values > 0))

    def solve(self, y: object, ridge: float) -> Float[np.ndarray, "n ..."]:
        """(K + ridge I)⁻¹ y for (n,) or (n, m), in O(n r²) once and O(n r) per further call.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        given, ridge = as_columns(y, self.shape[0], "y"), as_finite(ridge, "ridge")
        level = self._level(ridge)
        found = self._inverse(given, level)
        for _ in range(REFINEMENTS):
            found = found + self._inverse(given - self.matvec(found) - ridge * found, level)
        return found

    def log_determinant(self, ridge: float = 0.0) -> float:
        """Log det(K + ridge I).

        Raises
        ------
        ValueError
            If the matrix is not positive definite at this ridge.
        """
        ridge = as_finite(ridge, "ridge")
        level = self._level(ridge)
        inside, rest = self._spectral.values + level, self.shape[0] - self._spectral.values.size
        if np.any(inside <= 0) or (rest and level <= 0):
            least = min(inside.min(), level if rest else np.inf)
            raise ValueError(f"the kernel plus ridge {ridge:g} has the eigenvalue {least:.3g}: use a larger ridge.")
        return float(np.sum(np.log(inside)) + (rest * np.log(level) if rest else 0.0))

    def effective_dimension(self, ridge: float) -> float:
        """Tr K (K + ridge I)⁻¹, the degrees of freedom of kernel ridge regression.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        level, values = self._level(ridge), self._spectral.values
        rest = self.shape[0] - values.size
        return float(self.shape[0] - ridge * (np.sum(1 / (values + level)) + (rest / level if rest else 0.0)))

    def inverse_diagonal(self, ridge: float) -> Float[np.ndarray, " n"]:
        """Of (K + ridge I)⁻¹, in O(n r²).

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        level = self._level(ridge)
        values, maps = self._spectral
        full = values.size == self.shape[0]
        weights = 1 / (values + level) if full else -values / (values + level) / level
        found = np.concatenate([(u @ maps) ** 2 @ weights for _, u in self._chunks()])
        return found if full else found + 1 / level

    def leave_one_out(self, y: object, ridge: float) -> Float[np.ndarray, "n ..."]:
        """y_i minus its prediction by kernel ridge regression on all other samples, for (n,) or (n, m).

        It is [(K + λI)⁻¹y]_i / [(K + λI)⁻¹]_ii: no regression is fitted anew.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        solved = self.solve(y, ridge)
        diagonal = self.inverse_diagonal(ridge)
        return solved / diagonal.reshape((-1,) + (1,) * (solved.ndim - 1))

    def leave_one_out_grid(
        self, y: object, ridges: Sequence[float]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows ..."]]]:
        """Leave-one-out errors at several ridges, some rows at a time, all from one more pass over the data.

        Meant to choose a ridge by: what the matrix's condition costs is not made up for, as it is in `leave_one_out`.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at one of the ridges.
        """
        given = as_columns(y, self.shape[0], "y")
        self._finite_shift()
        levels = np.array([self._level(ridge) for ridge in as_reals(ridges, "ridges", as_finite)])
        return self._errors(given, levels)

    def _errors(
        self, given: Float[np.ndarray, "n ..."], levels: Float[np.ndarray, " l"]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows ..."]]]:
        columns = given.reshape(len(given), -1)
        values, maps = self._spectral
        full = values.size == self.shape[0]
        inverse = 1 / (values[:, None] + levels)
        if not full:
            inverse -= 1 / levels
        # (k, l, m): what the rows of U W are multiplied by to give the solutions
        solutions = inverse[:, :, None] * (maps.T @ self._gathered(columns))[:, None, :]
        for part, u in self._chunks():
            rotated = u @ maps
            solved = (rotated @ solutions.reshape(values.size, -1)).reshape(len(rotated), *solutions.shape[1:])
            diagonal = np.square(rotated, out=rotated) @ inverse
            if not full:
                solved += columns[part][:, None, :] / levels[:, None]
                diagonal += 1 / levels
            errors = np.swapaxes(solved / diagonal[:, :, None], 0, 1)
            yield part, errors.reshape(len(levels), len(rotated), *given.shape[1:])

    def weights(self, v: object) -> tuple[Float[np.ndarray, "p ..."], Float[np.ndarray, "k ..."]]:
        """W and ω such that K v = x w + V ω + γ v: what a new sample's x and V are to be multiplied by."""
        found = self._middle @ self._gathered(as_columns(v, self.shape[0], "v"))
        p = self.x.shape[1]
        return np.sqrt(abs(self.weight)) * found[:p], self._balance * found[p:]

    def _chunks(self) -> Iterator[tuple[slice, Float[np.ndarray, "rows r"]]]:
        """U, some rows at a time, in memory that the next rows are written to."""
        scale, p = np.sqrt(abs(self.weight)), self.x.shape[1]
        memory = np.empty((0, self._middle.shape[0]))
        for part in row_blocks(self.x, self._middle.shape[0]):
            if not memory.size:
                memory = np.empty((part.stop, memory.shape[1]))
            block = memory[: part.stop - part.start]
            np.multiply(self.x[part], scale, out=block[:, :p])
            np.multiply(self.factor[part], self._balance, out=block[:, p:])
            yield part, block

    @cached_property
    def _balance(self) -> float:
        """What makes V's columns count as much in U as they do in K, so that G loses neither part."""
        return float(np.sqrt(np.linalg.norm(self.core, 2))) or 1.0

    @cached_property
    def _middle(self) -> Float[np.ndarray, "r r"]:
        """M."""
        p = self.x.shape[1]
        middle = np.zeros((p + len(self.core),) * 2)
        middle[np.arange(p), np.arange(p)] = np.sign(self.weight)
        middle[p:, p:] = self.core / self._balance**2
        return middle

    @cached_property
    def _spectral(self) -> _Spectral:
        with np.errstate(all="ignore"):
            gram = sum((u.T @ u for _, u in self._chunks()), np.zeros(self._middle.shape))
        check_result(gram, "an inner product of samples")
        sizes, vectors = np.linalg.eigh(gram)
        # what is no larger than rounding is no direction of U
        kept = np.flatnonzero(sizes > len(sizes) * np.finfo(float).eps * sizes[-1])[-self.shape[0] :]
        roots = np.sqrt(sizes[kept])
        basis = vectors[:, kept] * roots
        values, rotation = np.linalg.eigh(basis.T @ self._middle @ basis)
        return _Spectral(values, (vectors[:, kept] / roots) @ rotation)

    def _inverse(self, y: np.ndarray, level: float) -> np.ndarray:
        values, maps = self._spectral
        weights = maps.T @ self._gathered(y)
        shaped = (values + level).reshape((-1,) + (1,) * (y.ndim - 1))
        if values.size == self.shape[0]:
            return self._spread(maps @ (weights / shaped))
        return self._spread(maps @ (weights / shaped - weights / level)) + y / level

    def _gathered(self, y: np.ndarray) -> np.ndarray:
        """Uᵀ y."""
        return np.sum([u.T @ y[part] for part, u in self._chunks()], axis=0)

    def _spread(self, weights: np.ndarray) -> np.ndarray:
        """U w."""
        return np.concatenate([u @ weights for _, u in self._chunks()])

    def _level(self, ridge: float) -> float:
        """γ + ridge, if it makes the matrix regular."""
        level = self._finite_shift() + as_finite(ridge, "ridge")
        values = self._spectral.values
        tiny = np.finfo(float).eps * np.max(np.abs(values))
        if (values.size < self.shape[0] and abs(level) <= tiny) or np.any(np.abs(values + level) <= tiny):
            raise ValueError(
                f"the kernel plus ridge {ridge:g} is singular: the identity part is {self.shift:.3g}; "
                "use a larger ridge."
            )
        return level

    def _finite_shift(self) -> float:
        if not np.isfinite(self.shift):
            raise ValueError(
                "the NTK diagonal of a network with jumps is not a number the theory gives: declare one with "
                "equivalent_kernels(..., kappa_sq=...), for example the original network's kappa_sq."
            )
        return self.shift
