r"""The Gaussian law of a trained kernel machine's scores.

With $\beta_k = (\tilde K - \zeta_k)^{-1}JY$, $z_k = \zeta_k - \gamma$ and U, B, D of :mod:`hntk.asymptotics.kernel`,
$\beta_k = \sqrt p\,\tilde Q(z_k)Ua_k$ where $a_k = (I + BD(z_k))^{-1}E_JY$, and $U^\top\beta_k/\sqrt p = D(z_k)a_k$.
Given the training set, the score of a new sample of class b under $\beta = \sum_k\omega_k\beta_k$, with
$w = \sum_k\omega_kD(z_k)a_k$, is Gaussian with mean $(Bw)_b$ and covariance
$r^\top C_br + v_bc_2^2(t^\top w_J + w_\psi)^{\otimes2}$, where $r = Mw_J + Z\beta/p$ and

$$r^\top C_br = w_J^\top M^\top C_bMw_J
    + 2\,\mathrm{sym}\Big(w_J^\top\sum_k\omega_kM^\top C_b(I + z_k\bar Q)M\,a_{k,M}\Big)
    + \sum_{kl}\omega_k\omega_l\,a_k^\top\Phi_b(z_k, z_l)a_l.$$

$\Phi_b$ is the limit of $U^\top\tilde Q(z_k)Z^\top C_bZ\tilde Q(z_l)U/p$; it rests on
$Q(z_k)C_bQ(z_l) \to \bar Q(z_k)\big(C_b + \sum_c G_{cb}C_c\big)\bar Q(z_l)$ with
$G_{cb} = \frac{n_c}p\frac{\chi_{cb}}{(1+\delta_c(z_k))(1+\delta_c(z_l))}$, $\chi = P + PG$,
$P_{ac} = \mathrm{tr}(C_a\bar Q(z_k)C_c\bar Q(z_l))/p$.

A training sample leaves itself out: $\beta_{k,i} = g_b(z_k)(y_i - f_{k,-i})$ and $f_{k,-i}$ has the law of a new
sample's score, jointly in k. So its residual $\sum_k\rho_k\beta_{k,i}$ is Gaussian too, by the same formulas with
weights $\rho_kg_b(z_k)$.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk.asymptotics.filters import LabelFilter
from hntk.asymptotics.kernel import LimitingKernel
from hntk.asymptotics.resolvent import Numbers, Resolvent

GaussianScores = tuple[Float[np.ndarray, "K m"], Float[np.ndarray, "K m m"]]


@dataclass(frozen=True)
class FilteredLabels:
    """A filter applied to the labels of a training set.

    Attributes
    ----------
    kernel : of the training set.
    label_filter : h and r.
    targets : (K, m) Y, what a sample of each class is trained to score.
    """

    kernel: LimitingKernel
    label_filter: LabelFilter
    targets: Float[np.ndarray, "K m"]

    def new(self) -> GaussianScores:
        """Means and covariances of the scores of new samples, by class."""
        weights = np.broadcast_to(self.label_filter.dual, (self.kernel.law.classes, self.label_filter.dual.size))
        return self._scores(weights)

    def trained(self) -> GaussianScores:
        """Of the samples trained on."""
        weights = self.label_filter.residual * self._at.g.T
        means, covariances = self._scores(weights)
        return self.targets * (1 - np.real(np.sum(weights, axis=1, keepdims=True))) + means, covariances

    @property
    def energies(self) -> Numbers:
        """(q, m, m) yᵀ(K̃ − ζ_k)⁻¹y, by node."""
        seen = (self._overlap @ self._sources)[:, : self.kernel.law.classes]
        return self.kernel.law.dimension * self.targets.T @ seen

    @cached_property
    def _at(self) -> Resolvent:
        return self.kernel.bulk.at(self.label_filter.nodes - self.kernel.coefficients.shift)

    @cached_property
    def _overlap(self) -> Numbers:
        return self.kernel.overlap(self._at)

    @cached_property
    def _sources(self) -> Numbers:
        """(q, 2K + 1, m) a_k."""
        size, k = len(self.kernel.core), self.kernel.law.classes
        first = np.zeros((size, self.targets.shape[1]))
        first[:k] = self.targets
        return np.linalg.solve(np.eye(size) + self.kernel.core @ self._overlap, first)

    def _scores(self, weights: Numbers) -> GaussianScores:
        """For weights (K, q) that may differ by the class of the sample."""
        k, law = self.kernel.law.classes, self.kernel.law
        inner = np.real(np.einsum("bq,qij->bij", weights, self._overlap @ self._sources))
        own = np.arange(k)
        means = np.einsum("bj,bjm->bm", self.kernel.core[:k], inner)
        along = self.kernel.coefficients.norms * (law.t @ inner[:, :k] + inner[:, -1])
        spread = law.v[:, None, None] * along[:, :, None] * along[:, None, :]
        return means, spread + self._linear_part(weights, inner[own, :k])

    def _linear_part(self, weights: Numbers, inner: Float[np.ndarray, "K K m"]) -> Float[np.ndarray, "K m m"]:
        """(K, m, m) rᵀ C_b r."""
        algebra, k, z = self.kernel.bulk.law.algebra, self.kernel.law.classes, self._at.z
        plain = algebra.covariance_forms(algebra.one)
        seen = algebra.covariance_forms(self._at.element)
        weighted = weights[:, :, None, None] * self._sources
        middle = weighted[:, :, k : 2 * k]
        mixed = np.einsum("bij,bqjm->bim", plain, middle) + np.einsum("q,qbij,bqjm->bim", z, seen, middle)
        cross = np.swapaxes(inner, 1, 2) @ mixed
        outer = np.swapaxes(inner, 1, 2) @ plain @ inner
        return outer + np.real(cross + np.swapaxes(cross, 1, 2) + self._quadratic_part(weighted, plain, seen))

    def _quadratic_part(self, weighted: Numbers, plain: Numbers, seen: Numbers) -> Numbers:
        """(K, m, m) Σ_kl a_kᵀ Φ_b a_l with the weights in a."""
        algebra, k, z = self.kernel.bulk.law.algebra, self.kernel.law.classes, self._at.z
        spread = self._variance_transfer
        forms = algebra.all_pair_forms(self._at.element)
        forms = forms + np.einsum("klcij,klcb->klbij", forms, spread, optimize=True)
        second = z[:, None, None, None] * np.swapaxes(seen, -1, -2)
        middle = plain + second[:, None] + z[None, :, None, None, None] * seen[None]
        middle = middle + (z[:, None] * z)[..., None, None, None] * forms
        first, between, last = weighted[:, :, :k], weighted[:, :, k : 2 * k], weighted[:, :, -1]
        return (
            np.einsum("bkam,klab,blan->bmn", first, spread, first, optimize=True)
            + np.einsum("bkim,klbij,bljn->bmn", between, middle, between, optimize=True)
            + np.einsum("bkm,a,klab,bln->bmn", last, self.kernel.law.v, spread, last, optimize=True)
        )

    @cached_property
    def _variance_transfer(self) -> Numbers:
        """(q, q, K, K) G_cb(z_k, z_l)."""
        traces = self.kernel.bulk.law.algebra.all_pair_traces(self._at.element)
        damping = 1 + self._at.delta
        factor = self.kernel.ratios / (damping[:, None] * damping)
        system = np.eye(self.kernel.law.classes) - traces * factor[..., None, :]
        return factor[..., None] * np.linalg.solve(system, traces)
