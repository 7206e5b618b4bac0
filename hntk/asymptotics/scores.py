r"""The Gaussian law of a trained kernel machine's scores.

With $\beta_k = (\tilde K - \zeta_k)^{-1}JY$, $z_k = \zeta_k - \gamma$ and U, B, D of
:mod:`hntk.asymptotics.limiting_kernel`, $\beta_k = \sqrt p\,\tilde Q(z_k)Ua_k$ where $a_k = (I + BD(z_k))^{-1}E_JY$,
$E_J$ the columns for J, and $U^\top\beta_k/\sqrt p = D(z_k)a_k$. Given the training set, the score of a new sample of
class b and of norm ε under $\beta = \sum_k\omega_k\beta_k$, with $d = \sum_k\omega_kD(z_k)a_k$, is Gaussian with mean
$\sqrt\ell(Bd)_b + \sqrt p\,\varepsilon\,(Bd)_\varepsilon$ and covariance $w\,s^\top C_bs$, where $s = Md_J +
ZW^{1/2}\beta/p$ and

$$s^\top C_bs = d_J^\top M^\top C_bMd_J
    + 2\,\mathrm{sym}\Big(d_J^\top\sum_k\omega_kM^\top C_b(I - \bar E(z_k))M\,a_{k,M}\Big)
    + \sum_{kl}\omega_k\omega_l\,a_k^\top\Phi_b(z_k, z_l)a_l.$$

$\Phi_b$ is the limit of $U^\top\tilde Q(z_k)W^{1/2}Z^\top C_bZW^{1/2}\tilde Q(z_l)U/p$. On the diagonal
$\tilde Q(z_k)W^{1/2}Z^\top C_bZW^{1/2}\tilde Q(z_l)/p$ is $y_{ab} = rr'\sum_cf_c\chi^c_{ab}$ for i in class a, and
$ZW^{1/2}\tilde QW^{1/2}Z^\top/p = I - E$, $EC_bE' \to \bar E(C_b + \sum_cG_{cb}C_c)\bar E'$ with
$G_{cb} = \rho_c\mathrm E_c[w\,y_{cb}]$. The χ solve $(I - J)\chi = P$ with J and P of
:mod:`hntk.asymptotics.resolvent`, r² and e² of J and P being r times r' and e times e'. The coordinates Y of a new
sample add to its score what $C_b$'s do, with the same weight w.

A training sample leaves itself out: $\beta_{k,i} = r_i(z_k)(y_i - f_{k,-i})$ and $f_{k,-i}$ has the law of a new
sample's score of the same norm, jointly in k. So its residual $\sum_k\rho_k\beta_{k,i}$ is Gaussian too, by the same
formulas with weights $\rho_kr_i(z_k)$. Over norms, means and covariances are averaged and scores taken as Gaussian.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable
from hntk.asymptotics.filters import LabelFilter
from hntk.asymptotics.limiting_kernel import LimitingKernel
from hntk.asymptotics.resolvent import Numbers, Resolvent

GaussianScores = tuple[Float[np.ndarray, "K m"], Float[np.ndarray, "K m m"]]


@dataclass(frozen=True)
class FilteredLabels(Copyable):
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
        weights = np.broadcast_to(self.label_filter.dual, (*self._shares.shape, self.label_filter.dual.size))
        return self._over_norms(*self._scores(weights))

    def trained(self) -> GaussianScores:
        """Of the samples trained on."""
        weights = self.label_filter.residual * np.moveaxis(self._at.responses, 0, -1)
        weights = np.broadcast_to(weights, (*self._shares.shape, weights.shape[-1]))
        means, covariances = self._scores(weights)
        own = self.targets[:, None] * (1 - np.real(np.sum(weights, axis=-1, keepdims=True)))
        return self._over_norms(own + means, covariances)

    @property
    def energies(self) -> Numbers:
        """(q, m, m) yᵀ(K̃ − ζ_k)⁻¹y, by node."""
        seen = (self._overlap @ self._sources)[:, self.kernel.labels]
        return self.kernel.law.dimension * self.targets.T @ seen

    @property
    def _shares(self) -> Float[np.ndarray, "K s"]:
        return self.kernel.norms.diagonal.shares

    @cached_property
    def _at(self) -> Resolvent:
        at = self.kernel.bulk.at(self.label_filter.nodes - self.kernel.coefficients.shift)
        if np.isrealobj(self.label_filter.nodes) and np.iscomplexobj(at.self_energy):
            raise ValueError("the ridge does not make a kernel of this size positive definite: give a larger one.")
        return at

    @cached_property
    def _overlap(self) -> Numbers:
        return self.kernel.overlap(self._at)

    @cached_property
    def _sources(self) -> Numbers:
        """(q, 3K + 1, m) a_k."""
        size = len(self.kernel.core)
        first = np.zeros((size, self.targets.shape[1]))
        first[self.kernel.labels] = self.targets
        return np.linalg.solve(np.eye(size) + self.kernel.core @ self._overlap, first)

    def _over_norms(self, means: Numbers, covariances: Numbers) -> GaussianScores:
        """By class, of (K, s, m) and (K, s, m, m) by class and norm."""
        mean = np.einsum("bs,bsm->bm", self._shares, means)
        apart = means - mean[:, None]
        spread = covariances + apart[..., :, None] * apart[..., None, :]
        return mean, np.einsum("bs,bsmn->bmn", self._shares, spread)

    def _scores(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """(K, s, m) and (K, s, m, m), for weights (K, s, q) that may differ by class and norm of the sample."""
        k, norms = self.kernel.law.classes, self.kernel.norms
        inner = np.real(np.einsum("bsq,qij->bsij", weights, self._overlap @ self._sources))
        seen = self.kernel.core @ inner
        own = np.einsum("bsbm->bsm", seen[:, :, :k])
        means = norms.lifts[..., None] * own + norms.deviations[..., None] * seen[:, :, 2 * k]
        return means, norms.diagonal.weights[..., None, None] * self._spread(weights, inner[:, :, :k])

    def _spread(self, weights: Numbers, inner: Float[np.ndarray, "K s K m"]) -> Float[np.ndarray, "K s m m"]:
        """sᵀC_bs, and what the coordinates Y add."""
        algebra, k = self.kernel.bulk.law.algebra, self.kernel.law.classes
        plain = algebra.covariance_forms(algebra.one)
        seen = algebra.covariance_forms(self._at.element)
        along = np.einsum("qbij,qjm->qbim", plain - seen, self._sources[:, k : 2 * k])
        cross = np.einsum("bsim,bsq,qbin->bsmn", inner, weights, along, optimize=True)
        outer = np.einsum("bsim,bij,bsjn->bsmn", inner, plain, inner, optimize=True)
        pairs = np.einsum("bsk,bsl,klbmn->bsmn", weights, weights, self._pairs(plain, seen), optimize=True)
        return outer + np.real(cross + np.swapaxes(cross, -1, -2) + pairs)

    def _pairs(self, plain: Numbers, seen: Numbers) -> Numbers:
        """(q, q, K, m, m) a_kᵀ Φ_b(z_k, z_l) a_l."""
        k, variances = self.kernel.law.classes, self._variances
        diagonal = self.kernel.bulk.diagonal
        transfer = self.kernel.ratios * np.sum(variances * diagonal.weights * diagonal.shares, axis=-1)
        forms = self.kernel.bulk.law.algebra.all_pair_forms(self._at.element)
        forms = forms + np.einsum("klcij,klbc->klbij", forms, transfer, optimize=True)
        middle = plain - np.swapaxes(seen, -1, -2)[:, None] - seen + forms
        own = self._sources[:, self.kernel.apart]
        between = self._sources[:, k : 2 * k]
        return np.einsum("kim,klbij,ljn->klbmn", own, self.kernel.sums(variances), own, optimize=True) + np.einsum(
            "kim,klbij,ljn->klbmn", between, middle, between, optimize=True
        )

    @cached_property
    def _variances(self) -> Numbers:
        """(q, q, K, K, s) y_ab, b first."""
        bulk, at = self.kernel.bulk, self._at
        noise = at.noise_element[:, None] * at.noise_element
        coupling = bulk.coupling(bulk.law.algebra.all_pair_traces(at.element), noise)
        products = at.responses[:, None] * at.responses
        right = coupling.reshape(*coupling.shape[:2], -1, self.kernel.law.classes)
        system = np.eye(right.shape[2]) - bulk.transfer(coupling, products)
        solved = np.linalg.solve(system, right).reshape(coupling.shape)
        return np.einsum("cas,klcab,klas->klbas", bulk.features, solved, products, optimize=True)
