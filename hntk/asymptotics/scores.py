r"""The Gaussian law of the scores of a trained kernel machine.

Let $\beta_k = (\tilde K - \zeta_k)^{-1}JY$ and $z_k = \zeta_k - \gamma$, with U, B, D of
:mod:`hntk.asymptotics.spiked_kernel`. Then $\beta_k = \sqrt p\,\tilde Q(z_k)Ua_k$ with
$a_k = (I + BD(z_k))^{-1}E_JY$, where $E_J$ selects the columns of J, and $U^\top\beta_k/\sqrt p = D(z_k)a_k$. Given the
training set, take a new sample of class b whose norm deviates by ε. Its score under $\beta = \sum_k\omega_k\beta_k$,
with $d = \sum_k\omega_kD(z_k)a_k$, is Gaussian with mean $\sqrt\ell(Bd)_b + \sqrt p\,\varepsilon\,(Bd)_\varepsilon$ and
covariance $w\,s^\top C_bs$. Here $s = Md_J + ZW^{1/2}\beta/p$ and

$$s^\top C_bs = d_J^\top M^\top C_bMd_J
    + 2\,\mathrm{sym}\Big(d_J^\top\sum_k\omega_kM^\top C_b(I - \bar E(z_k))M\,a_{k,M}\Big)
    + \sum_{kl}\omega_k\omega_l\,a_k^\top\Phi_b(z_k, z_l)a_l.$$

$\Phi_b$ is the limit of $U^\top\tilde Q(z_k)W^{1/2}Z^\top C_bZW^{1/2}\tilde Q(z_l)U/p$. It follows from two others,
with primes for the second argument. On the diagonal, $\tilde QW^{1/2}Z^\top C_bZW^{1/2}\tilde Q'/p$ tends to
$y_{ab} = rr'\sum_cf_c\chi^c_{ab}$ for samples of class a. And $EC_bE'$ tends to
$\bar E(C_b + \sum_cG_{cb}C_c)\bar E'$, where $E = I - ZW^{1/2}\tilde QW^{1/2}Z^\top/p$ and
$G_{cb} = \rho_c\mathrm E_c[w\,y_{cb}]$. The χ solve $(I - J)\chi = P$, with J and P of :mod:`hntk.asymptotics.bulk` in
which r r' replaces r² and e e' replaces e². The coordinates Y of a new sample add to its score what the term of $C_b$
does, with the same weight w.

A centred kernel has the limit of $K + s11^\top$ for $s \to \infty$: the intercept $b_k$ that makes $\beta_k$ sum to 0.
With w of :mod:`hntk.asymptotics.spiked_kernel`, $a_k$ is that of the targets $Y - 1b_k$, where
$b_k = w^\top Da_k / w^\top D(I + BD)^{-1}w$ for the $a_k$ of Y, and $\sum_k\omega_kb_k$ is added to scores.

Targets may have a linear part and noise: $y_i = Y_a + z_i^\top Me + \eta_i$, with η of variance $\sigma^2$. The linear
part is in the span of U too: $a_k = (I + BD)^{-1}(E_JY + E_Me)$, where $E_M$ selects the columns of means. Noise adds
$\sigma^2\sum_{kl}\omega_k\omega_l\sum_a\rho_a\mathrm E_a[y_{ab}]$ to the variance of a score. A score is
correlated with the linear part of its own target by $e^\top M^\top C_bs$, and not with its noise.

A training sample leaves itself out: $\beta_{k,i} = r_i(z_k)(y_i - f_{k,-i})$, where $f_{k,-i}$ has the law of a new
sample's score of the same norm, jointly in k. Its residual $\sum_k\rho_k\beta_{k,i}$ is therefore Gaussian too, by the
same formulas with weights $\rho_kr_i(z_k)$. Over norms, means and covariances are averaged, and scores are taken as
Gaussian.

Derivations are in docs/theory.md, "Labels through a linear filter", after Louart, Liao and Couillet (2018) for ridge
regression and Mai and Liao (2019) for Gaussian scores of mixtures.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.covariances import Numbers
from hntk.asymptotics.filters import LabelFilter
from hntk.asymptotics.resolvent import Resolvent
from hntk.asymptotics.spiked_kernel import SpikedKernel


class GaussianScores(NamedTuple):
    """The law of the scores of some samples, by class.

    Attributes
    ----------
    means : array, shape (K, m)
        Mean scores.
    covariances : array, shape (K, m, m)
        Their covariances.
    errors : array, shape (K,)
        Means of ‖y − f‖², with the noise of y.
    """

    means: Float[np.ndarray, "K m"]
    covariances: Float[np.ndarray, "K m m"]
    errors: Float[np.ndarray, " K"]

    @staticmethod
    def of(
        means: Float[np.ndarray, "K m"], covariances: Float[np.ndarray, "K m m"], targets: Float[np.ndarray, "K m"]
    ) -> GaussianScores:
        """Return the law of scores whose targets are the same for all samples of a class."""
        errors = np.sum((targets - means) ** 2, axis=1) + np.trace(covariances, axis1=1, axis2=2)
        return GaussianScores(means, covariances, errors)


@array_dataclass()
class FilteredLabels(Copyable):
    """A filter of q nodes applied to the labels of a training set.

    Attributes
    ----------
    kernel : SpikedKernel
        The kernel of the training set.
    label_filter : LabelFilter
        The filter.
    targets : array, shape (K, m)
        Y, what a sample of each class is trained to score.
    linear : array, shape (K, m), or None
        The coefficients e of zᵀM that are added to the targets of a sample μ_a + z; None for no such part.
    noise : array, shape (m,), or None
        The variance σ² of independent noise of the targets; None for no noise.
    """

    kernel: SpikedKernel
    label_filter: LabelFilter
    targets: Float[np.ndarray, "K m"]
    linear: Float[np.ndarray, "K m"] | None = None
    noise: Float[np.ndarray, " m"] | None = None

    def new_scores(self) -> GaussianScores:
        """Return the law of the scores of new samples, by class."""
        dual = self.label_filter.dual
        return self._law(np.broadcast_to(dual, (*self._shares.shape, dual.size)), np.zeros((*self._shares.shape, 1)))

    def training_scores(self) -> GaussianScores:
        """Return the law of the scores of the samples trained on, by class."""
        weights = self.label_filter.residual * np.moveaxis(self._at.responses, 0, -1)
        weights = np.broadcast_to(weights, (*self._shares.shape, weights.shape[-1]))
        return self._law(weights, 1 - np.real(np.sum(weights, axis=-1, keepdims=True)))

    @cached_property
    def intercepts(self) -> Numbers | None:
        """The intercepts that make β_k sum to 0 if the kernel is centred, of shape (q, m); else None."""
        constant = self.kernel.constant_direction
        if constant is None:
            return None
        image = self._overlap @ constant
        sums = [np.einsum("qi,qim->qm", image, sources) for sources in (self._free_sources, self._constant_sources)]
        return sums[0] / sums[1]

    @property
    def energies(self) -> Numbers:
        """The forms yᵀ(K̃ − ζ_k)⁻¹y of the targets y = JY, of shape (q, m, m)."""
        products = (self._overlap @ self._sources)[:, self.kernel.labels]
        return self.kernel.law.dimension * self.targets.T @ products

    @property
    def energy_slopes(self) -> Numbers:
        """The derivatives yᵀ(K̃ − ζ_k)⁻²y of the energies by ζ_k, of shape (q, m, m)."""
        slopes = self.kernel.overlap_slope(self._at)
        return self.kernel.law.dimension * np.swapaxes(self._sources, -1, -2) @ slopes @ self._sources

    @property
    def projections(self) -> Numbers:
        """The vectors Uᵀ(K̃ − ζ_k)⁻¹y/√p, of shape (q, 3K + 1, m)."""
        return self._overlap @ self._sources

    @property
    def _shares(self) -> Float[np.ndarray, "K s"]:
        """Probabilities of the norms, by class."""
        return self.kernel.norms.diagonal.shares

    @cached_property
    def _at(self) -> Resolvent:
        """The bulk's resolvent at the nodes."""
        at = self.kernel.resolvent(self.label_filter.nodes - self.kernel.coefficients.shift)
        if np.isrealobj(self.label_filter.nodes) and np.iscomplexobj(at.self_energy):
            raise ValueError("the ridge does not make a kernel of this size positive definite: give a larger one.")
        return at

    @cached_property
    def _overlap(self) -> Numbers:
        """D at the nodes."""
        return self.kernel.overlap(self._at)

    @cached_property
    def _sources(self) -> Numbers:
        """The vectors a_k, of shape (q, 3K + 1, m)."""
        if self.intercepts is None:
            return self._free_sources
        return self._free_sources - self._constant_sources * self.intercepts[:, None, :]

    @cached_property
    def _free_sources(self) -> Numbers:
        """The vectors a_k without an intercept."""
        right = np.zeros((len(self.kernel.core), self.targets.shape[1]))
        right[self.kernel.labels] = self.targets
        if self.linear is not None:
            right[self.kernel.means] = self.linear
        return self._solved(right)

    @cached_property
    def _constant_sources(self) -> Numbers:
        """The vectors a_k of targets 1, of shape (q, 3K + 1, 1)."""
        return self._solved(np.asarray(self.kernel.constant_direction)[:, None])

    def _solved(self, right: Float[np.ndarray, "r m"]) -> Numbers:
        """Return (I + BD)⁻¹ times this matrix, at every node."""
        return np.linalg.solve(np.eye(len(right)) + self.kernel.core @ self._overlap, right)

    def _law(self, weights: Numbers, own: Numbers) -> GaussianScores:
        """Return the law of scores f = own · y + F, where F is what other samples give (K, s, q) by these weights."""
        means, covariances = self._scores(weights)
        mean, spread = self._averaged_over_norms(self.targets[:, None] * own + means, covariances)
        if self.linear is None and self.noise is None:
            return GaussianScores.of(mean, spread, self.targets)
        target, cross = self._target_moments(weights)
        own = own[..., None]
        spread = spread + np.einsum("bs,bsmn->bmn", self._shares, own**2 * target + own * cross)
        # y − f = (1 − own) y − F, whose means over the norms deviate as those of f do
        _, left = self._averaged_over_norms(self.targets[:, None] * own[..., 0] + means, covariances)
        left = left + np.einsum("bs,bsmn->bmn", self._shares, (1 - own) ** 2 * target - (1 - own) * cross)
        return GaussianScores(mean, spread, GaussianScores.of(mean, left, self.targets).errors)

    def _target_moments(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Return the covariance of y (K, 1, m, m), and twice its symmetrised covariance with F (K, s, m, m)."""
        target = np.zeros((self.kernel.law.classes, 1, *[self.targets.shape[1]] * 2))
        if self.noise is not None:
            target = target + np.diag(self.noise)
        if self.linear is None:
            return target, np.zeros(())
        algebra, k = self.kernel.bulk.law.algebra, self.kernel.law.classes
        plain, filtered = algebra.covariance_forms(algebra.identity), algebra.covariance_forms(self._at.element)
        target = target + np.einsum("im,bij,jn->bmn", self.linear, plain, self.linear)[:, None]
        d = np.real(np.einsum("bsq,qij->bsij", weights, self._overlap @ self._sources))[:, :, :k]
        along = np.einsum("qbij,qjm->qbim", plain - filtered, self._sources[:, self.kernel.means])
        cross = np.einsum("im,bij,bsjn->bsmn", self.linear, plain, d)
        cross = cross + np.real(np.einsum("im,bsq,qbin->bsmn", self.linear, weights, along))
        return target, cross + np.swapaxes(cross, -1, -2)

    def _averaged_over_norms(self, means: Numbers, covariances: Numbers) -> tuple[Numbers, Numbers]:
        """Return moments by class from means (K, s, m) and covariances (K, s, m, m) by class and norm."""
        mean = np.einsum("bs,bsm->bm", self._shares, means)
        deviations = means - mean[:, None]
        spread = covariances + deviations[..., :, None] * deviations[..., None, :]
        return mean, np.einsum("bs,bsmn->bmn", self._shares, spread)

    def _scores(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Return means (K, s, m) and covariances (K, s, m, m), for weights (K, s, q) by class, norm and node."""
        k, norms = self.kernel.law.classes, self.kernel.norms
        d = np.real(np.einsum("bsq,qij->bsij", weights, self._overlap @ self._sources))
        bd = self.kernel.core @ d
        class_rows = np.einsum("bsbm->bsm", bd[:, :, :k])
        means = norms.mean_factors[..., None] * class_rows + norms.deviations[..., None] * bd[:, :, 2 * k]
        if norms.common is not None:
            means = means + np.einsum("bsbm->bsm", bd[:, :, self.kernel.labels])
            means = means + norms.common[..., None] * bd[:, :, -1]
        if self.intercepts is not None:
            means = means + np.real(np.einsum("bsq,qm->bsm", weights, self.intercepts))
        shifts = np.zeros_like(means)
        if norms.tilts is not None:
            along_mean = norms.tilts / np.sqrt(norms.diagonal.weights)
            shifts = np.einsum("tbs,bstm->bsm", along_mean, bd[:, :, self.kernel.norm_columns])
        given_norm = self._variances_given_norm(weights, d[:, :, :k], shifts)
        return means, norms.diagonal.weights[..., None, None] * given_norm

    def _variances_given_norm(
        self, weights: Numbers, d: Float[np.ndarray, "K s K m"], shifts: Float[np.ndarray, "K s m"]
    ) -> Float[np.ndarray, "K s m m"]:
        """Return the form of C_b with s and a multiple of μ_b, with what the coordinates Y add."""
        algebra = self.kernel.bulk.law.algebra
        plain, filtered = algebra.covariance_forms(algebra.identity), algebra.covariance_forms(self._at.element)
        along = np.einsum("qbij,qjm->qbim", plain - filtered, self._sources[:, self.kernel.means])
        cross = np.einsum("bsim,bsq,qbin->bsmn", d, weights, along, optimize=True)
        outer = np.einsum("bsim,bij,bsjn->bsmn", d, plain, d, optimize=True)
        pairs = np.einsum("bsk,bsl,klbmn->bsmn", weights, weights, self._pair_forms(plain, filtered), optimize=True)
        own = np.einsum("bbj,bsjm->bsm", plain, d) + np.real(np.einsum("bsq,qbbm->bsm", weights, along))
        tilted = np.einsum("bsm,bsn->bsmn", shifts, own)
        if self.noise is not None:
            shares = self.kernel.ratios[:, None] * self._shares
            variances = np.einsum("bsk,bsl,klbat,at->bs", weights, weights, self._diagonal_variances, shares)
            outer = outer + np.real(variances)[..., None, None] * np.diag(self.noise)
        return outer + tilted + np.swapaxes(tilted, -1, -2) + np.real(cross + np.swapaxes(cross, -1, -2) + pairs)

    def _pair_forms(self, plain: Numbers, filtered: Numbers) -> Numbers:
        """Return a_kᵀ Φ_b(z_k, z_l) a_l, of shape (q, q, K, m, m)."""
        variances, diagonal = self._diagonal_variances, self.kernel.bulk.diagonal
        g = self.kernel.ratios * np.sum(variances * diagonal.weights * diagonal.shares, axis=-1)
        forms = self.kernel.bulk.law.algebra.all_pair_forms(self._at.element)
        forms = forms + np.einsum("klcij,klbc->klbij", forms, g, optimize=True)
        means_block = plain - np.swapaxes(filtered, -1, -2)[:, None] - filtered + forms
        others_block = self.kernel.weighted_products(variances)
        others, means = self._sources[:, self.kernel.without_means], self._sources[:, self.kernel.means]
        return np.einsum("kim,klbij,ljn->klbmn", others, others_block, others, optimize=True) + np.einsum(
            "kim,klbij,ljn->klbmn", means, means_block, means, optimize=True
        )

    @cached_property
    def _diagonal_variances(self) -> Numbers:
        """The numbers y_ab for all pairs of nodes, of shape (q, q, K, K, s) with b first."""
        bulk, at = self.kernel.bulk, self._at
        noise_products = at.noise_elements[:, None] * at.noise_elements
        couplings = bulk.couplings(bulk.law.algebra.all_pair_traces(at.element), noise_products)
        response_products = at.responses[:, None] * at.responses
        right = couplings.reshape(*couplings.shape[:2], -1, self.kernel.law.classes)
        system = np.eye(bulk.unknowns) - bulk.jacobian(couplings, response_products)
        chi = np.linalg.solve(system, right).reshape(couplings.shape)
        return np.einsum("cas,klcab,klas->klbas", bulk.stacked_weights, chi, response_products, optimize=True)
