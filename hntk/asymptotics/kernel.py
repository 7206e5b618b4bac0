r"""An equivalent kernel in the limit: a Gram matrix of full rank, and a few directions whose inner products are known.

With $c_1 C_a$ and $\sqrt{c_1}M$ in place of $C_a$ and M ("primed"), Z the primed centred samples as columns and
$U = [J/\sqrt p, Z^\top M/\sqrt p, \psi]$, the equivalent kernel is $\tilde K = Z^\top Z/p + UBU^\top + \gamma I$,

$$B = \begin{bmatrix} M^\top M + c_2tt^\top + c_3T & I & c_2t\\ I & 0 & 0\\ c_2t^\top & 0 & c_2\end{bmatrix},\qquad
U^\top\tilde Q(z)U \to D(z) = \mathrm{diag}\Big(\tfrac{n_a}p g_a,\ M^\top M + zM^\top\bar QM,\
    \sum_a\tfrac{n_a}pv_ag_a\Big),$$

where M is primed, t, T and the variance $v_a/p$ of $\psi_i$ are not, and what D leaves out is odd in Z or O(p^{-1/2}).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float

from hntk.activations import Activation
from hntk.asymptotics.law import MixtureLaw
from hntk.asymptotics.resolvent import Bulk, Numbers, Resolvent
from hntk.coefficients import Coefficients, coefficients

Kind = Literal["ck", "ntk"]


@dataclass(frozen=True)
class KernelCoefficients:
    """Of c1·XXᵀ + V A(c2, c3) Vᵀ + shift·I.

    Attributes
    ----------
    gram, norms, quadratic : c1, c2, c3.
    shift : γ.
    """

    gram: float
    norms: float
    quadratic: float
    shift: float


Net = Sequence[str | Activation] | Coefficients | KernelCoefficients


def kernel_coefficients(
    net: Net, tau0: float, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> KernelCoefficients:
    """Of a network's equivalent CK or NTK.

    Parameters
    ----------
    net : one activation per layer; or coefficients, as of a compressed network, which are at their own scale.
    tau0 : data scale.
    kernel : ``"ck"`` or ``"ntk"``.
    kappa_sq : the NTK's diagonal κ_L², to be declared when an activation jumps.

    Raises
    ------
    ValueError
        If the NTK's diagonal is infinite, or the kernel unknown.

    Examples
    --------
    >>> kernel_coefficients(["relu"], 1.0).gram
    0.25
    """
    if isinstance(net, KernelCoefficients):
        return net
    if kernel not in ("ck", "ntk"):
        raise ValueError(f"kernel must be 'ck' or 'ntk', got {kernel!r}.")
    found = net if isinstance(net, Coefficients) else coefficients(net, tau0)
    rows, levels = (found.alpha, found.tau**2) if kernel == "ck" else (found.beta, found.kappa_sq)
    level = float(levels[-1]) if kernel == "ck" or kappa_sq is None else float(kappa_sq)
    if not np.isfinite(level):
        raise ValueError("the NTK of a network with jumps has an infinite diagonal: declare one with kappa_sq=.")
    c1, c2, c3 = map(float, rows[-1][:3])
    return KernelCoefficients(c1, c2, c3, level - float(found.tau[0]) ** 2 * c1)


@dataclass(frozen=True)
class LimitingKernel:
    """The equivalent kernel of n samples of a law.

    Attributes
    ----------
    law : of the samples.
    n : number of them.
    coefficients : of the kernel.
    """

    law: MixtureLaw
    n: int
    coefficients: KernelCoefficients

    @cached_property
    def bulk(self) -> Bulk:
        """ZᵀZ/p."""
        return Bulk(self.law.scaled(self.coefficients.gram), self.ratios)

    @property
    def ratios(self) -> Float[np.ndarray, " K"]:
        """n_a/p."""
        return self.n / self.law.dimension * self.law.proportions

    @cached_property
    def core(self) -> Float[np.ndarray, "m m"]:
        """B, of size 2K + 1."""
        k, c = self.law.classes, self.coefficients
        extended = np.concatenate([self.law.t, np.zeros(k), [1.0]])
        core = c.norms * np.outer(extended, extended)
        core[:k, :k] += self.bulk.law.gram + c.quadratic * self.law.overlaps
        core[:k, k : 2 * k] = core[k : 2 * k, :k] = np.eye(k)
        return core

    def overlap(self, at: Resolvent) -> Numbers:
        """(..., m, m) D."""
        weighted = self.ratios * at.g
        middle = self.bulk.law.gram + at.z[..., None, None] * self.bulk.law.algebra.forms(at.element)
        return self._blocks(weighted, middle, weighted @ self.law.v)

    def overlap_slope(self, at: Resolvent) -> Numbers:
        """(..., m, m) D', the limit of Uᵀ Q̃² U."""
        algebra, z, slope = self.bulk.law.algebra, at.z[..., None], at.slope
        weighted = self.ratios * (1 / (z**2 * (1 + at.delta)) + slope / (z * (1 + at.delta) ** 2))
        inner = algebra.combination(self.ratios * slope / (1 + at.delta) ** 2) + algebra.one
        derivative = algebra.forms(algebra.sandwich(at.element, inner, at.element))
        return self._blocks(weighted, algebra.forms(at.element) + z[..., None] * derivative, weighted @ self.law.v)

    def _blocks(self, first: Numbers, middle: Numbers, last: Numbers) -> Numbers:
        k = self.law.classes
        out = np.zeros((*first.shape[:-1], 2 * k + 1, 2 * k + 1), np.result_type(first, middle))
        out[..., range(k), range(k)] = first
        out[..., k : 2 * k, k : 2 * k] = middle
        out[..., -1, -1] = last
        return out


def limiting_kernel(
    law: MixtureLaw, n: int, net: Net, *, kernel: Kind = "ck", kappa_sq: float | None = None
) -> LimitingKernel:
    """The equivalent CK or NTK of n samples.

    Raises
    ------
    ValueError
        If n is not positive, or the net does not fit (:func:`kernel_coefficients`).
    """
    if n < 1:
        raise ValueError(f"n must be a positive number of samples, got {n}.")
    return LimitingKernel(law, int(n), kernel_coefficients(net, law.tau0, kernel=kernel, kappa_sq=kappa_sq))
