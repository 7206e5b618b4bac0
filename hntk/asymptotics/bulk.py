r"""The part of a kernel that has full rank, and the equation that its self-energies solve.

Let Z (p × n) have $n_a$ columns $N(0, C_a)$. For a few k, let $Y_k$ ($D_k$ × n) have independent columns of covariance
$\gamma_{ka}I$, and let W, $W_k$, H be diagonal, with entries $w_i, w_{ki}, h_i$ whose law depends on i's class. The
resolvent of the bulk is

$$\tilde Q(z) = \Big(\tfrac1pW^{1/2}Z^\top ZW^{1/2} + \tfrac1p\sum_kW_k^{1/2}Y_k^\top Y_kW_k^{1/2} + H - z\Big)^{-1},$$

and its limits, for diagonal entries, bilinear forms and traces, are

$$\tilde Q_{ii} \to r_i = \frac1{h_i - z + w_i\Delta_a + \sum_kw_{ki}\Delta^k_a},$$
$$\bar E(z) = \Big(I + \sum_a\frac{n_a}p\mathrm E_a[wr]\,C_a\Big)^{-1},\qquad
e_k = \Big(1 + \sum_a\frac{n_a}p\mathrm E_a[w_kr]\,\gamma_{ka}\Big)^{-1},$$
$$\Delta_a = \frac1p\mathrm{tr}\,C_a\bar E,\qquad \Delta^k_a = \frac{D_k}p\gamma_{ka}e_k.$$

The last line is a fixed-point equation for the self-energies $u = (\Delta, \Delta^1, \dots)$. Its map has the Jacobian

$$J_{ca,db} = P^c_{ab}\frac{n_b}p\mathrm E_b[f_cf_dr^2],\quad f = (w, w_1, \dots),\quad
P^0_{ab} = \tfrac1p\mathrm{tr}(C_a\bar EC_b\bar E),\quad P^k_{ab} = \tfrac{D_k}p\gamma_{ka}\gamma_{kb}e_k^2.$$

An equivalent kernel has w = 1, h = 0 and no Y. Then $\bar E = -z\lim(ZZ^\top/p - z)^{-1}$, and $\Delta = -z\delta$ in
the notation of Couillet and Debbah (2011) and Benaych-Georges and Couillet (2016). The general case is derived in
docs/theory.md, "The fixed point". For exact kernels, :mod:`hntk.asymptotics.sample_norms` defines W and H, and
:mod:`hntk.asymptotics.inner_products` defines Y.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.covariances import Element, Numbers
from hntk.asymptotics.mixture_law import MixtureLaw


@array_dataclass()
class DiagonalLaw:
    """The joint law of the diagonal matrices W and H in every class, on q points.

    Attributes
    ----------
    shares : array, shape (K, q)
        Probabilities of the points.
    weights : array, shape (K, q)
        Values of w.
    shifts : array, shape (K, q)
        Values of h.
    """

    shares: Float[np.ndarray, "K q"]
    weights: Float[np.ndarray, "K q"]
    shifts: Float[np.ndarray, "K q"]

    @staticmethod
    def trivial(classes: int) -> DiagonalLaw:
        """Return the law of W = I and H = 0."""
        return DiagonalLaw(np.ones((classes, 1)), np.ones((classes, 1)), np.zeros((classes, 1)))


@array_dataclass()
class Noise:
    """The matrices Y_k and W_k: B weighted Gram matrices of many coordinates without means, which act like noise.

    Attributes
    ----------
    counts : array, shape (B,)
        Numbers of coordinates D_k, divided by p.
    variances : array, shape (B, K)
        Variances γ_ka of the coordinates.
    weights : array, shape (B, K, q)
        Values of w_k, on the points of the diagonal's law.
    """

    counts: Float[np.ndarray, " B"]
    variances: Float[np.ndarray, "B K"]
    weights: Float[np.ndarray, "B K q"]

    @property
    def diagonal(self) -> Float[np.ndarray, "K q"]:
        """The diagonal that the matrices add to the kernel: Σ_k w_k γ_ka D_k/p."""
        return np.einsum("b,bk,bkq->kq", self.counts, self.variances, self.weights)

    @property
    def bound(self) -> float:
        """A bound of the eigenvalues at n = p; it grows like n/p."""
        return float(
            np.sum(self.variances.max(axis=1) * self.weights.max(axis=(1, 2)) * (1 + np.sqrt(self.counts)) ** 2)
        )


@array_dataclass()
class Bulk(Copyable):
    """The part of a kernel that has full rank, without its multiple γ of the identity.

    Self-energies u are arrays (..., c, K): first Δ, then one Δ^k for each of the B = c − 1 matrices of noise.

    Attributes
    ----------
    law : MixtureLaw
        The law of the columns of Z.
    ratios : array, shape (K,)
        The ratios n_a/p.
    diagonal : DiagonalLaw
        The law of W and H; by default W = I and H = 0.
    noise : Noise or None
        The matrices Y_k and W_k, if there are any.
    """

    law: MixtureLaw
    ratios: Float[np.ndarray, " K"]
    diagonal: DiagonalLaw = None  # type: ignore[assignment]
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if self.diagonal is None:
            object.__setattr__(self, "diagonal", DiagonalLaw.trivial(self.law.classes))

    @property
    def gram_bound(self) -> float:
        """The bound max‖C_a‖ (1 + √(n/p))² of the limiting spectrum of ZᵀZ/p."""
        return self.law.algebra.norm * (1 + np.sqrt(self.ratios.sum())) ** 2

    @property
    def scale(self) -> float:
        """The order of magnitude of the largest eigenvalue."""
        noise = 0.0 if self.noise is None else self.noise.bound * (1 + float(self.ratios.sum()))
        largest_weight, largest_shift = np.max(self.diagonal.weights), np.max(np.abs(self.diagonal.shifts))
        return self.gram_bound * float(largest_weight) + float(largest_shift) + noise

    @cached_property
    def stacked_weights(self) -> Float[np.ndarray, "c K q"]:
        """The weights f = (w, w_1, ...) that multiply the self-energies."""
        weights = self.diagonal.weights[None]
        return weights if self.noise is None else np.concatenate([weights, self.noise.weights])

    @cached_property
    def _weight_products(self) -> Float[np.ndarray, "c c K q"]:
        """The products f_c f_d, times probabilities and ratios n_b/p."""
        products = self.stacked_weights[:, None] * self.stacked_weights
        return products * self.diagonal.shares * self.ratios[:, None]

    @property
    def shape(self) -> tuple[int, int]:
        """The shape (c, K) of the self-energies at one z."""
        return len(self.stacked_weights), self.law.classes

    @property
    def unknowns(self) -> int:
        """The number cK of self-energies at one z."""
        return len(self.stacked_weights) * self.law.classes

    @property
    def numbers_per_point(self) -> int:
        """The size of the largest array that one z needs."""
        return max(self.law.algebra.identity.size * self.law.classes, self._weight_products.size)

    @property
    def starting_self_energies(self) -> Float[np.ndarray, "c K"]:
        """The self-energies at infinite z, where Ē and e_k are 1."""
        blocks = 0 if self.noise is None else len(self.noise.counts)
        return self.self_energies(self.law.algebra.identity, np.ones(blocks))

    def responses(self, self_energy: Numbers, z: Numbers) -> Numbers:
        """Return r, of shape (..., K, q), for self-energies (..., c, K) at z (...)."""
        energies = np.einsum("ckq,...ck->...kq", self.stacked_weights, self_energy)
        return 1 / (self.diagonal.shifts - np.asarray(z)[..., None, None] + energies)

    def element(self, responses: Numbers) -> Element:
        """Return Ē for responses r of shape (..., K, q)."""
        scales = self.ratios * np.sum(self.diagonal.weights * self.diagonal.shares * responses, axis=-1)
        return self.law.algebra.inverse(scales, np.full(scales.shape[:-1], -1.0))

    def noise_elements(self, responses: Numbers) -> Numbers:
        """Return the numbers e_k, of shape (..., B), for responses r of shape (..., K, q)."""
        if self.noise is None:
            return np.zeros((*responses.shape[:-2], 0))
        weights = self.noise.weights * self.diagonal.shares * (self.ratios * self.noise.variances)[..., None]
        return 1 / (1 + np.einsum("bkq,...kq->...b", weights, responses))

    def self_energies(self, element: Element, noise_elements: Numbers) -> Numbers:
        """Return the self-energies that Ē and e_k give, of shape (..., c, K)."""
        gram = self.law.algebra.traces(element)[..., None, :]
        if self.noise is None:
            return gram
        return np.concatenate([gram, (self.noise.counts * noise_elements)[..., None] * self.noise.variances], axis=-2)

    def self_energy_map(self, self_energy: Numbers, z: Numbers) -> Numbers:
        """Return the fixed point's map of self-energies (..., c, K) at z (...)."""
        responses = self.responses(self_energy, z)
        return self.self_energies(self.element(responses), self.noise_elements(responses))

    # The Jacobian is a formula rather than jax.jacfwd's: both agree to 1e-15, but a compiled one is 2 to 3 times slower
    # at the batches of Newton's method, and compiles for .15 to .35 s at each size of a batch, of which there are many.
    # Besides, J with two different arguments is needed for the law of the scores.
    def map_and_jacobian(self, self_energy: Numbers, z: Numbers) -> tuple[Numbers, Numbers]:
        """Return the fixed point's map of self-energies (..., c, K), and its Jacobian (..., cK, cK)."""
        responses = self.responses(self_energy, z)
        element, noise_elements = self.element(responses), self.noise_elements(responses)
        couplings = self.couplings(self.law.algebra.pair_traces(element, element), noise_elements**2)
        return self.self_energies(element, noise_elements), self.jacobian(couplings, responses**2)

    def couplings(self, pair_traces: Numbers, noise_products: Numbers) -> Numbers:
        """Return P, of shape (..., c, K, K), from tr(C_a Ē C_b Ē')/p (..., K, K) and e_k e_k' (..., B).

        The second Ē and e may be taken at another z.
        """
        gram = pair_traces[..., None, :, :]
        if self.noise is None:
            return gram
        variances = self.noise.variances[:, :, None] * self.noise.variances[:, None]
        return np.concatenate([gram, (self.noise.counts * noise_products)[..., None, None] * variances], axis=-3)

    def jacobian(self, couplings: Numbers, response_products: Numbers) -> Numbers:
        """Return J, of shape (..., cK, cK), from P (..., c, K, K) and products r r' (..., K, q)."""
        inner = np.einsum("cdkq,...kq->...cdk", self._weight_products, response_products)
        blocks = np.einsum("...cab,...cdb->...cadb", couplings, inner)
        return blocks.reshape(*blocks.shape[:-4], self.unknowns, self.unknowns)
