r"""A kernel as a bulk plus a few directions whose inner products are known in the limit.

Replace $C_a$ and M by $c_1 C_a$ and $\sqrt{c_1}M$ ("primed"). Let Z have the primed centred samples as columns, J the
class indicators, and let $\varepsilon_i = t_a/\sqrt p + \psi_i$ be the deviation of $\|x_i\|^2$ from $\tau_0^2$. With
$U = [J/\sqrt p, Z^\top M/\sqrt p, \varepsilon]$ the equivalent kernel is $\tilde K = Z^\top Z/p + UBU^\top + \gamma I$,
where

$$B = \begin{bmatrix} M^\top M + c_3T & I & 0\\ I & 0 & 0\\ 0 & 0 & c_2\end{bmatrix},\qquad
U^\top\tilde Q(z)U \to D(z) = \begin{bmatrix} \mathrm{diag}_a\,\rho_ag_a & 0 & [\rho_at_ag_a]_a\\
    0 & M^\top M - M^\top\bar EM & 0\\ \cdot & 0 & \sum_a\rho_a(v_a + t_a^2)g_a\end{bmatrix}.$$

Here $\rho_a = n_a/p$; M is primed, while t, T and the variance $v_a/p$ of $\psi_i$ are not. The zeros of D are odd in Z
or of order $p^{-1/2}$ (docs/theory.md, "A Gram matrix and a few directions" and "Decoupling").

In a finite sample's exact kernel, rows of J and the Gram part carry the weights of
:mod:`hntk.asymptotics.sample_norms`: $\sqrt{\ell_i}J_i$ with $\ell = c_1(\|x_i\|^2)/c_1$. With the responses r of
:mod:`hntk.asymptotics.bulk`, the entries of D are $\rho_a\mathrm E_a[\ell r]$,
$\sqrt p\,\rho_a\mathrm E_a[\sqrt\ell\varepsilon r]$ and $p\sum_a\rho_a\mathrm E_a[\varepsilon^2r]$. Targets do not have
these weights. So U also contains J without them, for which B has zeros. The part $2z_i^\top\mu_a/p$ of a sample's norm
is small, but long means make it count: it adds to the column of norms a multiple of the columns of means.

**Constant direction.** The kernel of a network that is not plain has $1h^\top + h1^\top$ in addition. As
$1 = \sqrt p\,Uw$, where w sums the columns of J, this is one more column $h/\sqrt p$ of U, in units of the largest h,
and B has p times this unit between it and the columns of J. For a kernel $PKP$, $P = I - 11^\top/n$, no h is needed: on
the complement of the vector 1 its resolvent is the limit of that of $\tilde K + s11^\top$ for $s \to \infty$. B has
then the further term $sp\,ww^\top$, an eigenvalue that is infinite, for which $B^{-1}$ has 0 (docs/theory.md, "Networks
with a constant direction").
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import CommutingCovariances, Element, Numbers
from hntk.asymptotics.inner_products import ProductExpansion
from hntk.asymptotics.kernel_parameters import KernelCoefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.pairwise_covariances import PairwiseCovariances
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.sample_norms import NormEffects, Quadrature

# Eigenvalues of B that count as zero, relative to the largest.
NULL = 1e-12


@array_dataclass(static=("n", "coefficients", "quadrature", "pairwise"))
class SpikedKernel(Copyable):
    """The kernel of n samples of a law as a bulk plus U B Uᵀ, in the limit or at finite size.

    The columns of U, of which there are m = 3K + 1, are in this order: K weighted class indicators √ℓ J/√p, K means
    Zᵀ M/√p, the deviations of the norms, and K class indicators J/√p. With a part 1hᵀ + h1ᵀ there is h/√p after them.

    Attributes
    ----------
    law : MixtureLaw
        The law of the samples.
    n : int
        The number of samples.
    coefficients : KernelCoefficients
        The kernel's parameters.
    quadrature : callable or None
        The rule for the norms of a finite sample, for its exact kernel; None for the limit of the equivalent kernel.
    pairwise : bool
        Whether every pair of classes has a slope of its own at finite size, where covariances commute.
    """

    law: MixtureLaw
    n: int
    coefficients: KernelCoefficients
    quadrature: Quadrature | None = None
    pairwise: bool = True

    def with_slope_products(self) -> SpikedKernel:
        """Return the kernel whose slopes are the nearest products u_a u_b: cheaper, and nearly the same bulk."""
        return replace(self, pairwise=False)

    @cached_property
    def norms(self) -> NormEffects:
        """The effects of the samples' norms on the kernel."""
        if self.quadrature is None:
            return NormEffects.limit(self.law, self.coefficients)
        return NormEffects.finite(self.law, self.n, self.coefficients, self.products, self.quadrature)

    @cached_property
    def products(self) -> ProductExpansion:
        """The kernel's expansion in the inner product of two samples."""
        if self.quadrature is None:
            return ProductExpansion.limit(self.law, self.coefficients)
        return ProductExpansion.finite(self.law, self.coefficients, pairwise=self.pairwise)

    @cached_property
    def bulk(self) -> Bulk:
        """The part of full rank, without γI."""
        law = self.law.scaled(self.coefficients.gram)
        if self.products.pairwise is not None and isinstance(law.algebra, CommutingCovariances):
            law = replace(law, algebra=PairwiseCovariances(law.algebra, self.products.pairwise))
        return Bulk(law, self.ratios, self.norms.diagonal, self.norms.noise)

    @property
    def ratios(self) -> Float[np.ndarray, " K"]:
        """The ratios ρ_a = n_a/p."""
        return self.n / self.law.dimension * self.law.proportions

    @cached_property
    def core(self) -> Float[np.ndarray, "m m"]:
        """The matrix B, without its infinite eigenvalue if the kernel is centred."""
        k = self.law.classes
        size = 3 * k + 1 + (self.norms.common is not None)
        core = np.zeros((size, size))
        core[:k, :k] = self.products.means / np.outer(self.products.factors, self.products.factors)
        core[:k, k : 2 * k] = core[k : 2 * k, :k] = np.eye(k)
        core[2 * k, 2 * k] = self.norms.weight
        if self.norms.common is not None:
            core[self.labels, -1] = core[-1, self.labels] = self.law.dimension * self.norms.common_unit
        return core

    @cached_property
    def constant_direction(self) -> Float[np.ndarray, " m"] | None:
        """The direction w of the vector 1 = √p U w if the kernel is centred, else None."""
        if not self.coefficients.centred:
            return None
        direction = np.zeros(len(self.core))
        direction[self.labels] = 1.0
        return direction

    @cached_property
    def active(self) -> tuple[Float[np.ndarray, "m r"], Float[np.ndarray, " r"]]:
        """An orthonormal basis of the directions on which B is not zero, and B's eigenvalues there.

        The last one is infinite if the kernel is centred.
        """
        values, vectors = np.linalg.eigh(self.core)
        nonzero = np.abs(values) > NULL * np.max(np.abs(values))
        basis, values = vectors[:, nonzero], values[nonzero]
        if self.constant_direction is None:
            return basis, values
        direction = self.constant_direction / np.linalg.norm(self.constant_direction)
        return np.column_stack([basis, direction]), np.append(values, np.inf)

    @property
    def means(self) -> slice:
        """The columns Zᵀ M/√p of U."""
        return slice(self.law.classes, 2 * self.law.classes)

    @property
    def labels(self) -> slice:
        """The columns J/√p of U."""
        return slice(2 * self.law.classes + 1, 3 * self.law.classes + 1)

    @property
    def norm_columns(self) -> list[int]:
        """The columns of U that depend on norms alone: their deviations, and h if there is one."""
        return [2 * self.law.classes] + [len(self.core) - 1] * (self.norms.common is not None)

    @property
    def without_means(self) -> list[int]:
        """All columns of U but those of the means."""
        k = self.law.classes
        return [*range(k), *range(2 * k, len(self.core))]

    @property
    def reach(self) -> float:
        """The bound ‖B‖ tr UᵀU of the order of magnitude of the eigenvalues of U B Uᵀ."""
        others = np.trace(self.weighted_products(np.ones_like(self.norms.diagonal.shares)))
        return float(np.linalg.norm(self.core, 2) * (others + np.trace(self.bulk.law.gram) * self.bulk.gram_bound))

    def resolvent(self, z: object) -> Resolvent:
        """Return the bulk's resolvent at points z, which are γ less than the kernel's eigenvalues."""
        return Resolvent.at(self.bulk, z)

    def secular(self, at: Resolvent) -> Numbers:
        """Return N = B⁻¹ + D on the active directions, of shape (..., r, r); it is singular at a spike."""
        basis, values = self.active
        return np.diag(1 / values) + basis.T @ self.overlap(at) @ basis

    def overlap(self, at: Resolvent) -> Numbers:
        """Return D, the limit of UᵀQ̃U, of shape (..., m, m)."""
        matrix = self._assembled(at.responses, self.bulk.law.gram - self.bulk.law.algebra.forms(at.element))
        return self._with_tilts(matrix, self._tilt_forms(at.responses, at.element))

    def overlap_slope(self, at: Resolvent) -> Numbers:
        """Return D', the limit of UᵀQ̃²U, of shape (..., m, m)."""
        algebra, diagonal, slope = self.bulk.law.algebra, self.bulk.diagonal, at.response_slope
        changes = algebra.combination(self.ratios * np.sum(diagonal.shares * diagonal.weights * slope, axis=-1))
        fall = algebra.sandwich(at.element, changes, at.element)
        tilts = self._tilt_forms(slope, at.element) - self._tilt_forms(at.responses, fall)
        return self._with_tilts(self._assembled(slope, algebra.forms(fall)), tilts)

    def weighted_products(self, responses: Numbers) -> Numbers:
        """Return Σ_i r_i U_i U_iᵀ over the samples, of shape (..., m − K, m − K), where U is without the means.

        The numbers r (..., K, q) are given by class and point of the norms' law.
        """
        k, norms = self.law.classes, self.norms
        rows = np.stack([norms.mean_factors, norms.deviations, np.ones_like(norms.mean_factors)])
        places = [range(k), [k] * k, range(k + 1, 2 * k + 1)]
        if norms.common is not None:
            rows, places = np.concatenate([rows, norms.common[None]]), [*places, [2 * k + 1] * k]
        moments = np.einsum("xkq,ykq,kq,...kq->...xyk", rows, rows, norms.diagonal.shares, responses)
        sums = np.zeros((*responses.shape[:-2], *[len(self.core) - k] * 2), responses.dtype)
        for x, first in enumerate(places):
            for y, second in enumerate(places):
                sums[..., first, second] = self.ratios * moments[..., x, y, :]
        # columns that all classes share, by their places among rows and among columns of U
        for x, first in [(1, k), (3, 2 * k + 1)][: len(places) - 2]:
            for y, second in [(1, k), (3, 2 * k + 1)][: len(places) - 2]:
                sums[..., first, second] = moments[..., x, y, :] @ self.ratios
        return sums

    def _tilt_forms(self, responses: Numbers, element: Element) -> Numbers:
        """Return the part of D between norms and means, of shape (..., 1 or 2, K)."""
        if self.norms.tilts is None:
            return np.zeros(())
        weights = self.bulk.diagonal.shares * self.bulk.diagonal.weights * self.norms.tilts
        sums = self.ratios * np.einsum("taq,...aq->...ta", weights, responses)
        return np.einsum("...ta,...aac->...tc", sums, self.bulk.law.algebra.covariance_forms(element))

    def _with_tilts(self, matrix: Numbers, tilts: Numbers) -> Numbers:
        """Return D with its part between norms and means."""
        if self.norms.tilts is not None:
            norms, means = np.array(self.norm_columns), np.arange(len(self.core))[self.means]
            matrix[..., norms[:, None], means] = tilts
            matrix[..., means[:, None], norms] = np.swapaxes(tilts, -1, -2)
        return matrix

    def _assembled(self, responses: Numbers, means_block: Numbers) -> Numbers:
        """Return the matrix with weighted products of U's columns, and the given block for the means."""
        others, size = np.array(self.without_means), len(self.core)
        matrix = np.zeros((*means_block.shape[:-2], size, size), np.result_type(responses, means_block))
        matrix[..., others[:, None], others] = self.weighted_products(responses)
        matrix[..., self.means, self.means] = means_block
        return matrix
