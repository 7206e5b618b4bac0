r"""Deterministic equivalents of the conjugate kernel and the NTK, as structured operators.

$$\tilde K = \alpha_1 X^\top X + V A(\alpha_2, \alpha_3) V^\top + (\tau_L^2 - \tau_0^2\alpha_1) I,\qquad
\tilde\Theta = \beta_1 X^\top X + V A(\beta_2, \beta_3) V^\top + (\kappa_L^2 - \tau_0^2\beta_1) I,$$

$V = [J/\sqrt p, \psi]$, $\psi_i = \|x_i - \mu_a/\sqrt p\|^2 - \mathrm{tr} C_a/p$,
$A(c_2, c_3) = [[c_2 tt^\top + c_3 T, c_2 t], [c_2 t^\top, c_2]]$; operator-norm errors vanish as n, p → ∞. Source:
theorems 1 and 2 of Gu et al. (2022). ``identity="paper"`` is the identity coefficient of the authors' code, smaller
by $\tau_0^4$ times $\alpha_3$ (or $\beta_3$); its error does not vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import block_diag
from jaxtyping import Float

from hntk.activations import Activation
from hntk.checks import as_labels, as_samples, norm_scale
from hntk.coefficients import as_activations, coefficients
from hntk.population import Population, estimate_population
from hntk.precision import warn_if_float32

Identity = Literal["default", "paper"]


@dataclass(frozen=True)
class StructuredKernel:
    """U M Uᵀ + γ I with U of shape (n, r): never an n × n matrix unless asked for.

    Attributes
    ----------
    factor : (n, r) U = [x, V], with r = p + K + 1.
    core : (r, r) M, symmetric.
    shift : γ; infinite when the diagonal is not a number the theory gives (NTK of a net with jumps).
    """

    factor: Float[Array, "n r"]
    core: Float[Array, "r r"]
    shift: float

    @property
    def shape(self) -> tuple[int, int]:
        """(n, n)."""
        return self.factor.shape[0], self.factor.shape[0]

    def to_dense(self) -> Float[Array, "n n"]:
        """The matrix."""
        low_rank = (self.factor @ self.core) @ self.factor.T
        return low_rank + self._finite_shift() * jnp.eye(self.shape[0], dtype=low_rank.dtype)

    def matvec(self, v: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
        """The product with a vector (n,) or a block (n, m), in O(n r)."""
        v = self._check(v, "v")
        return self.factor @ (self.core @ (self.factor.T @ v)) + self._finite_shift() * v

    def eigvalsh(self) -> Float[Array, " n"]:
        """All n eigenvalues, descending, in O(n r²): those of the low-rank part, and γ for the rest."""
        values = self._spectral[0]
        rest = jnp.zeros(self.shape[0] - values.shape[0], values.dtype)
        return jnp.sort(jnp.concatenate([values, rest]))[::-1] + self._finite_shift()

    def eigh(self, k: int) -> tuple[Float[Array, " k"], Float[Array, "n k"]]:
        """The k largest eigenvalues, descending, and their eigenvectors as columns.

        Raises
        ------
        ValueError
            If k exceeds the number of eigenvalues above the bulk γ of multiplicity n − r.
        """
        values, basis, rotation = self._spectral
        count = values.shape[0] if values.shape[0] == self.shape[0] else int(jnp.sum(values > 0))
        if not 1 <= k <= count:
            raise ValueError(
                f"k must lie between 1 and {count}, the number of eigenvalues that stand above the multiple of the "
                f"identity; got {k}. For more use eigvalsh() or jnp.linalg.eigh(kernel.to_dense())."
            )
        order = jnp.argsort(values)[::-1][:k]
        return values[order] + self._finite_shift(), basis @ rotation[:, order]

    def solve(self, y: Float[Array, "n ..."], ridge: float) -> Float[Array, "n ..."]:
        """(U M Uᵀ + (γ + ridge) I)⁻¹ y for (n,) or (n, m), in O(n r²) once and O(n r) per further call.

        Raises
        ------
        ValueError
            If the matrix is singular to working precision at this ridge.
        """
        y = self._check(y, "y")
        values, basis, rotation = self._spectral
        level = self._finite_shift() + float(ridge)
        inside, tiny = values + level, jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
        singular_rest = values.shape[0] < self.shape[0] and abs(level) <= tiny
        if singular_rest or bool(jnp.any(jnp.abs(inside) <= tiny)):
            raise ValueError(
                f"the kernel plus ridge {ridge:g} is singular: the identity part is {self.shift:.3g}; "
                "use a larger ridge."
            )
        vectors = basis @ rotation
        weights = vectors.T @ y
        shaped = inside.reshape((-1,) + (1,) * (y.ndim - 1))
        if values.shape[0] == self.shape[0]:
            return vectors @ (weights / shaped)
        return vectors @ (weights / shaped - weights / level) + y / level

    @cached_property
    def _spectral(self) -> tuple[Array, Array, Array]:
        """Eigenvalues of U M Uᵀ on the range of U = QR, Q, and the rotation within it."""
        basis, triangle = jnp.linalg.qr(self.factor)
        values, rotation = jnp.linalg.eigh(triangle @ self.core @ triangle.T)
        return values, basis, rotation

    def _finite_shift(self) -> float:
        if not np.isfinite(self.shift):
            raise ValueError(
                "the NTK diagonal of a network with jumps is not a number the theory gives: declare one with "
                "equivalent_kernels(..., kappa_sq=...), for example the original network's kappa_sq."
            )
        return self.shift

    def _check(self, v: object, name: str) -> Array:
        array = jnp.asarray(v)
        if array.ndim not in (1, 2) or array.shape[0] != self.shape[0]:
            n = self.shape[0]
            raise ValueError(f"{name} must have shape ({n},) or ({n}, m), got {array.shape}.")
        return array


class EquivalentKernels(NamedTuple):
    """Deterministic equivalents K̃ (``ck``) and Θ̃ (``ntk``)."""

    ck: StructuredKernel
    ntk: StructuredKernel


def equivalent_kernels(
    x: Float[Array, "n p"],
    labels: object,
    activations: Sequence[str | Activation],
    *,
    tau0: float | None = None,
    population: Population | None = None,
    kappa_sq: float | None = None,
    identity: Identity = "default",
) -> EquivalentKernels:
    """K̃_L and Θ̃_L of a network on labelled data.

    Parameters
    ----------
    x : (n, p) samples, ‖x_i‖² ≈ τ_0².
    labels : (n,) class of each sample.
    activations : one per layer.
    tau0 : root mean square norm; by default the data's.
    population : class means, traces and overlaps; estimated from the data by default.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.
    identity : ``"default"``, or ``"paper"`` for the authors' identity coefficient.

    Raises
    ------
    ValueError
        For data or labels that do not fit, and classes too small to estimate.

    Examples
    --------
    >>> import jax, hntk
    >>> data = hntk.reference_mixture(n=60, p=40, key=jax.random.key(0))
    >>> kernels = hntk.equivalent_kernels(data.x, data.labels, ["relu"])
    >>> kernels.ck.to_dense().shape
    (60, 60)
    """
    if identity not in ("default", "paper"):
        raise ValueError(f"identity must be 'default' or 'paper', got {identity!r}.")
    x = as_samples(x)
    warn_if_float32("the equivalent kernel")
    x = x.astype(jnp.result_type(float))
    _, index = as_labels(labels, x.shape[0])
    scale = norm_scale(x) if tau0 is None else float(tau0)
    net = coefficients(as_activations(activations), scale)
    population = _checked(population, x, index)
    v = _class_factor(np.asarray(x), index, population)
    diagonal = float(net.kappa_sq[-1]) if kappa_sq is None else float(kappa_sq)

    def kernel(c1: float, c2: float, c3: float, level: float) -> StructuredKernel:
        core = block_diag(c1 * jnp.eye(x.shape[1]), jnp.asarray(_core(population, c2, c3)))
        shift = level - scale**2 * c1 - (scale**4 * c3 if identity == "paper" else 0.0)
        return StructuredKernel(jnp.concatenate([x, jnp.asarray(v)], axis=1), core, shift)

    return EquivalentKernels(
        ck=kernel(*map(float, net.alpha[-1, :3]), level=float(net.tau[-1] ** 2)),
        ntk=kernel(*map(float, net.beta[-1]), level=diagonal),
    )


def _checked(population: Population | None, x: Array, index: np.ndarray) -> Population:
    if population is None:
        return estimate_population(np.asarray(x), index)
    expected = (int(index.max()) + 1, x.shape[1])
    if population.means.shape != expected:
        raise ValueError(f"the population has means of shape {population.means.shape}, the data needs {expected}.")
    return population


def _class_factor(x: np.ndarray, index: np.ndarray, population: Population) -> Float[np.ndarray, "n K_plus_1"]:
    """V = [J/√p, ψ]."""
    p = x.shape[1]
    indicators = np.eye(population.means.shape[0])[index] / np.sqrt(p)
    psi = np.sum((x - population.means[index] / np.sqrt(p)) ** 2, axis=1) - population.traces[index]
    return np.column_stack([indicators, psi])


def _core(population: Population, c2: float, c3: float) -> Float[np.ndarray, "K_plus_1 K_plus_1"]:
    """A(c2, c3)."""
    extended = np.append(population.t, 1.0)
    core = c2 * np.outer(extended, extended)
    core[:-1, :-1] += c3 * population.overlaps
    return core
