r"""Kernels that are a matrix of low rank and a multiple of the identity, as operators.

$K = c\,XX^\top + VAV^\top + \gamma I$. The low-rank part (:mod:`hntk.theory.low_rank_factor`) has its eigenvalues on
the range of $U = [\sqrt{|c|}X, V]$; all others are γ. That gives the spectrum, the determinant and the inverse of K.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np
from jax import Array
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_finite, as_number, as_reals
from hntk._utils.arrays import as_columns, check_result, finite_array, is_sparse, real_array
from hntk._utils.copies import Copyable
from hntk._utils.memory import check_room
from hntk._utils.pytree import array_dataclass
from hntk._utils.rows import check_shape
from hntk.theory.low_rank_factor import LowRankFactor

# steps of iterative refinement, which make up for the condition number of G
REFINEMENTS = 2


@array_dataclass()
class StructuredKernel(Copyable):
    """The kernel c x xᵀ + V A Vᵀ + γ I, which is never an (n, n) matrix unless asked for.

    Attributes
    ----------
    x : ndarray
        (n, p) samples in any precision. A memory map is read in chunks and never copied whole.
    weight : float
        The factor c.
    factor : ndarray
        (n, k) matrix V.
    core : ndarray
        (k, k) symmetric matrix A.
    shift : float
        The multiple γ of the identity. It is infinite where the theory gives no diagonal: for the NTK of a network with
        jumps.

    Raises
    ------
    ValueError
        If the shapes do not fit, ``core`` is not symmetric, or a number is not finite.

    Examples
    --------
    >>> import numpy as np, hntk
    >>> kernel = hntk.StructuredKernel(np.eye(3, 2), 2.0, np.ones((3, 1)), np.eye(1), 0.5)
    >>> kernel.matvec(np.ones(3))
    array([5.5, 5.5, 3.5])
    """

    x: Float[np.ndarray, "n p"]
    weight: float
    factor: Float[np.ndarray, "n k"]
    core: Float[np.ndarray, "k k"]
    shift: float

    def __post_init__(self) -> None:
        # samples that are read from elsewhere, such as an object that reads rows from files, stay as they are
        foreign = hasattr(self.x, "shape") and not isinstance(self.x, np.ndarray | Array) and not is_sparse(self.x)
        x = self.x if foreign else np.asanyarray(real_array(self.x, "x"))
        check_shape(x, "x")
        factor, core = finite_array(self.factor, "factor"), finite_array(self.core, "core")
        _check_low_rank(x.shape[0], factor, core)
        shift = as_number(self.shift)
        if not shift > -np.inf:
            raise ValueError(f"shift must be a number, or inf where the diagonal is not known; got {self.shift!r}.")
        checked = {"x": x, "weight": as_finite(self.weight, "weight"), "factor": factor, "core": core, "shift": shift}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        (n, p), k = self.x.shape, self.factor.shape[1]
        return f"StructuredKernel({n} samples of dimension {p}, rank {p} + {k}, shift={self.shift:.4g})"

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix, (n, n)."""
        return self.x.shape[0], self.x.shape[0]

    @property
    def above(self) -> int:
        """Number of eigenvalues above the multiple of the identity: how many pairs :meth:`eigh` can give."""
        values = self._low_rank.spectrum.values
        return values.size if self._low_rank.spans_all else int(np.sum(values > 0))

    def to_dense(self) -> Float[np.ndarray, "n n"]:
        """Return the matrix.

        Raises
        ------
        MemoryError
            If it does not fit into memory. :meth:`matvec` and the spectrum work without it.
        """
        n, shift = self.shape[0], self._finite_shift()
        check_room(
            16 * n * (n + self._low_rank.rank),
            f"the kernel of {n:,} samples as a matrix",
            "matvec(), eigvalsh(), eigh() and solve() work without it.",
        )
        matrix = self._low_rank.to_dense()
        matrix[np.diag_indices(n)] += shift
        check_result(matrix, "the kernel")
        return matrix

    def matvec(self, v: object) -> Float[np.ndarray, "n ..."]:
        """Return the product with a vector (n,) or a block (n, m), in O(n r)."""
        columns = as_columns(v, self.shape[0], "v")
        return self._low_rank.matvec(columns) + self._finite_shift() * columns

    def eigvalsh(self) -> Float[np.ndarray, " n"]:
        """Return all n eigenvalues, descending, in O(n r²): those of the low-rank part, and γ for the rest."""
        values = self._low_rank.spectrum.values
        rest = np.zeros(self.shape[0] - values.size)
        return np.sort(np.concatenate([values, rest]))[::-1] + self._finite_shift()

    def eigh(self, k: int) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "n k"]]:
        """Return the k largest eigenvalues, descending, and their eigenvectors as columns.

        Raises
        ------
        ValueError
            If k exceeds the number of eigenvalues above the bulk γ of multiplicity n − r.
        """
        k = as_count(k, "k")
        values, maps = self._low_rank.spectrum
        if k > self.above:
            raise ValueError(
                f"k must lie between 1 and {self.above}, the number of eigenvalues that stand above the multiple of "
                f"the identity; got {k}. For more use eigvalsh() or np.linalg.eigh(kernel.to_dense())."
            )
        order = np.argsort(values)[::-1][:k]
        vectors = self._low_rank.expand(maps[:, order])
        return values[order] + self._finite_shift(), vectors / np.linalg.norm(vectors, axis=0)

    def solve(self, y: object, ridge: float) -> Float[np.ndarray, "n ..."]:
        """Return (K + ridge I)⁻¹ y for (n,) or (n, m), in O(n r²) once and O(n r) per further call.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        columns, ridge = as_columns(y, self.shape[0], "y"), as_finite(ridge, "ridge")
        level = self._level(ridge)
        solution = self._inverse(columns, level)
        for _ in range(REFINEMENTS):
            solution = solution + self._inverse(columns - self.matvec(solution) - ridge * solution, level)
        return solution

    def log_determinant(self, ridge: float = 0.0) -> float:
        """Return log det(K + ridge I).

        Raises
        ------
        ValueError
            If the matrix is not positive definite at this ridge.
        """
        ridge = as_finite(ridge, "ridge")
        level, values = self._level(ridge), self._low_rank.spectrum.values
        inside, rest = values + level, self.shape[0] - values.size
        if np.any(inside <= 0) or (rest and level <= 0):
            least = min(inside.min(), level if rest else np.inf)
            raise ValueError(f"the kernel plus ridge {ridge:g} has the eigenvalue {least:.3g}: use a larger ridge.")
        return float(np.sum(np.log(inside)) + (rest * np.log(level) if rest else 0.0))

    def effective_dimension(self, ridge: float) -> float:
        """Return tr K (K + ridge I)⁻¹, the degrees of freedom of kernel ridge regression.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        level, values = self._level(ridge), self._low_rank.spectrum.values
        rest = self.shape[0] - values.size
        return float(self.shape[0] - ridge * (np.sum(1 / (values + level)) + (rest / level if rest else 0.0)))

    def inverse_diagonal(self, ridge: float) -> Float[np.ndarray, " n"]:
        """Return the diagonal of (K + ridge I)⁻¹, in O(n r²).

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        level = self._level(ridge)
        values, maps = self._low_rank.spectrum
        weights = 1 / (values + level) if self._low_rank.spans_all else -values / (values + level) / level
        diagonal = np.concatenate([(u @ maps) ** 2 @ weights for _, u in self._low_rank.chunks()])
        return diagonal if self._low_rank.spans_all else diagonal + 1 / level

    def leave_one_out(self, y: object, ridge: float) -> Float[np.ndarray, "n ..."]:
        """Return y_i minus its prediction by kernel ridge regression on all other samples, for (n,) or (n, m).

        It is [(K + λI)⁻¹y]_i / [(K + λI)⁻¹]_ii, so that no regression is fitted anew.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        solved = self.solve(y, ridge)
        diagonal = self.inverse_diagonal(ridge)
        return solved / diagonal.reshape((-1,) + (1,) * (solved.ndim - 1))

    def leave_one_out_grid(
        self, y: object, ridges: Sequence[float], *, intercept: bool = False
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows ..."]]]:
        """Return leave-one-out errors at several ridges, some rows at a time, from one more pass over the data.

        They are meant for choosing a ridge: there is no iterative refinement as in :meth:`leave_one_out`.

        Parameters
        ----------
        y : (n,) or (n, m) array
            Targets.
        ridges : sequence of float
            Ridges λ.
        intercept : bool
            Whether an intercept is fitted too, without a penalty. The kernel must then be centred, with the vector 1
            as an eigenvector, and targets must have mean 0.

        Returns
        -------
        iterator of (slice, ndarray)
            Which rows, and their errors of shape (len(ridges), rows, …).

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at one of the ridges.
        """
        columns = as_columns(y, self.shape[0], "y")
        self._finite_shift()
        levels = np.array([self._level(ridge) for ridge in as_reals(ridges, "ridges", as_finite)])
        # an intercept takes the vector 1 out of the inverse
        common = float(self.matvec(np.ones(len(columns))).mean()) - self.shift if intercept else np.inf
        return self._errors(columns, levels, 1 / (len(columns) * (common + levels)))

    def weights(self, v: object) -> tuple[Float[np.ndarray, "p ..."], Float[np.ndarray, "k ..."]]:
        """Return w and ω such that K v = x w + V ω + γ v, by which the x and V of a new sample are multiplied."""
        return self._low_rank.sample_weights(as_columns(v, self.shape[0], "v"))

    @cached_property
    def _low_rank(self) -> LowRankFactor:
        return LowRankFactor(self.x, self.weight, self.factor, self.core)

    def _errors(
        self, y: Float[np.ndarray, "n ..."], levels: Float[np.ndarray, " l"], left_out: Float[np.ndarray, " l"]
    ) -> Iterator[tuple[slice, Float[np.ndarray, "l rows ..."]]]:
        columns = y.reshape(len(y), -1)
        (values, maps), full = self._low_rank.spectrum, self._low_rank.spans_all
        inverse = 1 / (values[:, None] + levels)
        if not full:
            inverse -= 1 / levels
        # (k, l, m): the rows of U W times these are the solutions
        solutions = inverse[:, :, None] * (maps.T @ self._low_rank.project(columns))[:, None, :]

        def errors(u: Float[np.ndarray, "rows r"], own: Float[np.ndarray, "rows m"]) -> Float[np.ndarray, "l rows m"]:
            rotated = u @ maps
            solved = (rotated @ solutions.reshape(values.size, -1)).reshape(len(rotated), *solutions.shape[1:])
            diagonal = np.square(rotated, out=rotated) @ inverse
            if not full:
                solved += own[:, None, :] / levels[:, None]
                diagonal += 1 / levels
            diagonal -= left_out
            return np.swapaxes(solved / diagonal[:, :, None], 0, 1)

        for part, found in self._low_rank.each(errors, columns):
            yield part, found.reshape(len(levels), -1, *y.shape[1:])

    def _inverse(self, y: np.ndarray, level: float) -> np.ndarray:
        values, maps = self._low_rank.spectrum
        weights = maps.T @ self._low_rank.project(y)
        shaped = (values + level).reshape((-1,) + (1,) * (y.ndim - 1))
        if self._low_rank.spans_all:
            return self._low_rank.expand(maps @ (weights / shaped))
        return self._low_rank.expand(maps @ (weights / shaped - weights / level)) + y / level

    def _level(self, ridge: float) -> float:
        """Return γ + ridge, which must make the matrix regular."""
        level = self._finite_shift() + as_finite(ridge, "ridge")
        values = self._low_rank.spectrum.values
        tiny = np.finfo(float).eps * np.max(np.abs(values))
        # unlike the level, eigenvalues carry the rounding of a decomposition
        regular = np.all(np.abs(values + level) > values.size * tiny)
        if not regular or (not self._low_rank.spans_all and abs(level) <= tiny):
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


def _check_low_rank(n: int, factor: np.ndarray, core: np.ndarray) -> None:
    if factor.ndim != 2 or len(factor) != n or core.shape != (factor.shape[1],) * 2:
        raise ValueError(
            f"a kernel of {n} samples needs factor ({n}, k) and core (k, k), got shapes {factor.shape} "
            f"and {core.shape}."
        )
    if not np.allclose(core, core.T, rtol=1e-6, atol=1e-12 * np.max(np.abs(core), initial=0.0)):
        raise ValueError("core must be symmetric: give (core + core.T) / 2.")
