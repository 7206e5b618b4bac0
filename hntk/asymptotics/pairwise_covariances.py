r"""Covariances of samples whose Gram matrix has a slope of its own for every pair of classes.

Let the Gram part of a kernel be $S_{ab}\,x_i^\top x_j$ for i in class a and j in class b, with a positive semidefinite
matrix $S_{ab} = q_a^\top q_b$ of rank r. It is the plain Gram matrix of the samples $q_a \otimes x_i$ in pr dimensions,
whose classes have the means $q_a \otimes \mu_a$ and covariances $q_aq_a^\top \otimes C_a$. So all limits of
:mod:`hntk.asymptotics.covariances` hold with these. Where the $C_a$ commute, an element is a matrix (r, r) on each of
their G common eigenspaces.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.covariances import CommutingCovariances, Element, Numbers


@array_dataclass()
class PairwiseCovariances:
    """Covariances q_a q_aᵀ ⊗ C_a with commuting C_a; elements are arrays (..., G, r, r).

    Traces are divided by p, as those of the C_a are.

    Attributes
    ----------
    base : CommutingCovariances
        The covariances C_a, with the class means.
    factors : array, shape (K, r)
        The vectors q_a.
    """

    base: CommutingCovariances
    factors: Float[np.ndarray, "K r"]

    @property
    def identity(self) -> Element:
        """The identity matrix."""
        rank = self.factors.shape[1]
        return np.broadcast_to(np.eye(rank), (self.base.weights.size, rank, rank))

    @property
    def covariances(self) -> Float[np.ndarray, "K G"]:
        """The eigenvalues |q_a|² C_a that are not 0 for all of r."""
        return self.base.covariances * np.sum(self.factors**2, axis=1)[:, None]

    @property
    def norm(self) -> float:
        """The largest operator norm of a class covariance."""
        return float(np.max(self.covariances))

    @property
    def rank_share(self) -> float:
        """The share of the p dimensions in which some class varies."""
        return self.base.rank_share

    @property
    def spectra(self) -> tuple[Float[np.ndarray, "K G"], Float[np.ndarray, " G"]]:
        """Eigenvalues of every class, and the shares of the dimensions that have them."""
        return self.covariances, self.base.weights

    def scaled(self, factor: float) -> PairwiseCovariances:
        """Return the algebra with covariances and products of means times ``factor``."""
        return PairwiseCovariances(self.base.scaled(factor), self.factors)

    def combination(self, scales: Numbers) -> Element:
        """Return Σ_a s_a q_a q_aᵀ ⊗ C_a for s (..., K)."""
        products = self.factors[:, :, None] * self.factors[:, None, :]
        by_space = np.einsum("...a,ag->...ga", scales, self.base.covariances)
        flat = by_space @ products.reshape(len(products), -1)
        return flat.reshape(*by_space.shape[:-1], *products.shape[1:])

    def inverse(self, scales: Numbers, z: Numbers) -> Element:
        """Return (Σ_a s_a q_a q_aᵀ ⊗ C_a − z)⁻¹ for s (..., K) and z (...)."""
        return np.linalg.inv(self.combination(scales) - np.asarray(z)[..., None, None, None] * self.identity)

    def sandwich(self, left: Element, middle: Element, right: Element) -> Element:
        """Return the product of three elements."""
        return left @ middle @ right

    def forms(self, element: Element) -> Numbers:
        """Return MᵀEM for the means q_a ⊗ μ_a, of shape (..., K, K)."""
        return np.einsum("abg,...gab->...ab", self.base.measures, self._between_classes(element))

    def traces(self, element: Element) -> Numbers:
        """Return tr(C_a E)/p, of shape (..., K)."""
        own = np.einsum("...gaa->...ga", self._between_classes(element))
        return np.einsum("ag,...ga->...a", self.base.covariances * self.base.weights, own)

    def pair_traces(self, left: Element, right: Element) -> Numbers:
        """Return tr(C_a E C_b E')/p, of shape (..., K, K)."""
        products = np.einsum("ag,bg->gab", self.base.covariances * self.base.weights, self.base.covariances)
        first, second = self._between_classes(left), self._between_classes(right)
        return np.sum(products * first * np.swapaxes(second, -1, -2), axis=-3)

    def all_pair_traces(self, elements: Element) -> Numbers:
        """Return tr(C_a E_k C_b E_l)/p for all pairs of q elements, of shape (q, q, K, K)."""
        return self.pair_traces(elements[:, None], elements)

    def covariance_forms(self, element: Element) -> Numbers:
        """Return MᵀC_b E M, of shape (..., K, K, K) with b first."""
        return self._forms(self.factors @ self.factors.T, self._between_classes(element))

    def all_pair_forms(self, elements: Element) -> Numbers:
        """Return MᵀE_k C_b E_l M for all pairs of q elements, of shape (q, q, K, K, K) with b third."""
        between = self._between_classes(elements)
        return self._forms(between[:, None], between)

    def _between_classes(self, element: Element) -> Numbers:
        """Return q_aᵀ E q_b on each eigenspace, of shape (..., G, K, K)."""
        return self.factors @ element @ self.factors.T

    def _forms(self, left: Numbers, right: Numbers) -> Numbers:
        """Return Σ_g m_acg C_bg left_ab right_bc, of shape (..., K, K, K) with b first."""
        return np.einsum(
            "acg,bg,...gab,...gbc->...bac",
            self.base.measures,
            self.base.covariances,
            np.broadcast_to(left, np.broadcast_shapes(left.shape, right.shape[-3:])),
            right,
            optimize=True,
        )
