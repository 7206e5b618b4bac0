r"""An equivalent kernel in the limit: a Gram matrix of full rank, and a few directions whose inner products are known.

With $c_1 C_a$ and $\sqrt{c_1}M$ in place of $C_a$ and M ("primed"), Z the primed centred samples as columns,
$\varepsilon_i = t_a/\sqrt p + \psi_i$ the deviation of $\|x_i\|^2$ from $\tau_0^2$ and
$U = [J/\sqrt p, Z^\top M/\sqrt p, \varepsilon]$, the equivalent is $\tilde K = Z^\top Z/p + UBU^\top + \gamma I$,

$$B = \begin{bmatrix} M^\top M + c_3T & I & 0\\ I & 0 & 0\\ 0 & 0 & c_2\end{bmatrix},\qquad
U^\top\tilde Q(z)U \to D(z) = \begin{bmatrix} \mathrm{diag}_a\,\rho_ag_a & 0 & [\rho_at_ag_a]_a\\
    0 & M^\top M - M^\top\bar EM & 0\\ \cdot & 0 & \sum_a\rho_a(v_a + t_a^2)g_a\end{bmatrix},$$

where $\rho_a = n_a/p$, M is primed, t, T and the variance $v_a/p$ of $\psi_i$ are not, and what D leaves out is odd
in Z or O(p^{-1/2}). Of a finite sample's exact kernel, J's rows and the Gram part have the weights of
:mod:`hntk.asymptotics.sample_norms`, $\sqrt{\ell_i}J_i$ with $\ell = c_1(\|x_i\|^2)/c_1$, and with the responses r of
:mod:`hntk.asymptotics.resolvent` the entries of D are $\rho_a\mathrm E_a[\ell r]$,
$\sqrt p\,\rho_a\mathrm E_a[\sqrt\ell\varepsilon r]$ and $p\sum_a\rho_a\mathrm E_a[\varepsilon^2r]$. As targets do not
have these weights, J without them stands in U as well, with zeros in B.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_instance
from hntk._utils.copies import Copyable
from hntk.asymptotics.inner_products import ClassProducts
from hntk.asymptotics.kernel_parameters import KernelCoefficients, Kind, Net, kernel_coefficients
from hntk.asymptotics.mixture_law import MixtureLaw
from hntk.asymptotics.resolvent import Bulk, Numbers, Resolvent
from hntk.asymptotics.sample_norms import Norms, Quadrature, gauss_points

# eigenvalues of B that count as zero, relative to the largest
NULL = 1e-12


@dataclass(frozen=True)
class LimitingKernel(Copyable):
    """The kernel of n samples of a law.

    Attributes
    ----------
    law : of the samples.
    n : number of them.
    coefficients : of the kernel.
    quadrature : over the norms of a finite sample, for its exact kernel; None for the equivalent's limit.
    """

    law: MixtureLaw
    n: int
    coefficients: KernelCoefficients
    quadrature: Quadrature | None = None

    @cached_property
    def norms(self) -> Norms:
        """Of the samples."""
        if self.quadrature is None:
            return Norms.limit(self.law, self.coefficients)
        return Norms.finite(self.law, self.n, self.coefficients, self.products, self.quadrature)

    @cached_property
    def products(self) -> ClassProducts:
        """The kernel off its diagonal."""
        find = ClassProducts.limit if self.quadrature is None else ClassProducts.finite
        return find(self.law, self.coefficients)

    @cached_property
    def bulk(self) -> Bulk:
        """What has full rank, γI apart."""
        return Bulk(self.law.scaled(self.coefficients.gram), self.ratios, self.norms.diagonal, self.norms.noise)

    @property
    def ratios(self) -> Float[np.ndarray, " K"]:
        """n_a/p."""
        return self.n / self.law.dimension * self.law.proportions

    @cached_property
    def core(self) -> Float[np.ndarray, "m m"]:
        """B, of size 3K + 1: for √ℓ J, the means, ε and J."""
        k = self.law.classes
        core = np.zeros((3 * k + 1, 3 * k + 1))
        core[:k, :k] = self.products.means / np.outer(self.products.factors, self.products.factors)
        core[:k, k : 2 * k] = core[k : 2 * k, :k] = np.eye(k)
        core[2 * k, 2 * k] = self.norms.weight
        return core

    @cached_property
    def active(self) -> tuple[Float[np.ndarray, "m r"], Float[np.ndarray, " r"]]:
        """An orthonormal basis of the directions that B acts on, and its eigenvalues there."""
        values, vectors = np.linalg.eigh(self.core)
        kept = np.abs(values) > NULL * np.max(np.abs(values))
        return vectors[:, kept], values[kept]

    def secular(self, at: Resolvent) -> Numbers:
        """(..., r, r) N = B⁻¹ + D on these directions."""
        basis, values = self.active
        return np.diag(1 / values) + basis.T @ self.overlap(at) @ basis

    @property
    def reach(self) -> float:
        """A size that no eigenvalue of U B Uᵀ is far above: ‖B‖ tr UᵀU."""
        own = np.trace(self.sums(np.ones_like(self.norms.diagonal.shares)))
        return float(np.linalg.norm(self.core, 2) * (own + np.trace(self.bulk.law.gram) * self.bulk.bound))

    @property
    def labels(self) -> slice:
        """Where J stands in U."""
        return slice(2 * self.law.classes + 1, 3 * self.law.classes + 1)

    @property
    def apart(self) -> list[int]:
        """What stands in U beside the means."""
        k = self.law.classes
        return [*range(k), *range(2 * k, 3 * k + 1)]

    def overlap(self, at: Resolvent) -> Numbers:
        """(..., m, m) D."""
        return self._blocks(at.responses, self.bulk.law.gram - self.bulk.law.algebra.forms(at.element))

    def overlap_slope(self, at: Resolvent) -> Numbers:
        """(..., m, m) D', the limit of Uᵀ Q̃² U."""
        algebra, diagonal, slope = self.bulk.law.algebra, self.bulk.diagonal, at.response_slope
        changes = algebra.combination(self.ratios * np.sum(diagonal.shares * diagonal.weights * slope, axis=-1))
        return self._blocks(slope, algebra.forms(algebra.sandwich(at.element, changes, at.element)))

    def sums(self, responses: Numbers) -> Numbers:
        """(..., 2K + 1, 2K + 1) Σ_i U_i r_i U_iᵀ of r (..., K, q), U without the means."""
        k, norms = self.law.classes, self.norms
        rows = np.stack([norms.lifts, norms.deviations, np.ones_like(norms.lifts)])
        moments = np.einsum("xkq,ykq,kq,...kq->...xyk", rows, rows, norms.diagonal.shares, responses)
        places = (range(k), [k] * k, range(k + 1, 2 * k + 1))
        out = np.zeros((*responses.shape[:-2], 2 * k + 1, 2 * k + 1), responses.dtype)
        for x, first in enumerate(places):
            for y, second in enumerate(places):
                out[..., first, second] = self.ratios * moments[..., x, y, :]
        out[..., k, k] = moments[..., 1, 1, :] @ self.ratios
        return out

    def _blocks(self, responses: Numbers, middle: Numbers) -> Numbers:
        k, apart = self.law.classes, np.array(self.apart)
        out = np.zeros((*middle.shape[:-2], 3 * k + 1, 3 * k + 1), np.result_type(responses, middle))
        out[..., apart[:, None], apart] = self.sums(responses)
        out[..., k : 2 * k, k : 2 * k] = middle
        return out


# samples, beyond which float64 does not tell n from n − 1
MOST = 10**15


def limiting_kernel(
    law: MixtureLaw,
    n: int,
    net: Net,
    *,
    kernel: Kind = "ck",
    kappa_sq: float | None = None,
    finite_size: bool = False,
    quadrature: Quadrature = gauss_points,
) -> LimitingKernel:
    """The equivalent CK or NTK of n samples, or the exact one.

    Parameters
    ----------
    law, n, net, kernel, kappa_sq, finite_size : see :func:`hntk.asymptotics.ridge_regression`.
    quadrature : over norms, for a finite size.

    Raises
    ------
    ValueError
        If n is not a positive whole number, or the net does not fit (:func:`kernel_coefficients`).
    """
    n = as_count(n, "n", 1, MOST)
    as_instance(law, "law", MixtureLaw, "a MixtureLaw, such as of MixtureLaw.of or estimate_law")
    found = kernel_coefficients(net, law.tau0, kernel=kernel, kappa_sq=kappa_sq)
    return LimitingKernel(law, n, found, quadrature if finite_size else None)
