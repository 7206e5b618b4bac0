r"""Traces and quadratic forms of the matrices that the class covariances generate.

Limits depend on a mixture only through normalised traces tr(E)/p and forms $M^\top EM$. Here M has the class means
as columns, and E is a product of class covariances $C_a$ and resolvents $(\sum_a s_a C_a - z)^{-1}$. Two classes
compute both:

* :class:`CommutingCovariances` if all $C_a$ commute. E is then represented by its values $E_k$ on the common
  eigenspaces: $\mathrm{tr} E/p = \sum_k w_k E_k$ and $M^\top EM = \sum_k m_k E_k$. Coinciding eigenvalues share one
  point of this grid. Classes with $C_a = c_a I$ therefore cost O(1), and diagonal covariances cost O(p).
* :class:`GeneralCovariances` otherwise. E is then a (p, p) matrix.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass

# Commutators count as zero up to this part of the covariances' squared norms.
COMMUTATOR_TOLERANCE = 1e-10
# A matrix of the algebra: its values on the grid, or the matrix itself.
Element = np.ndarray
# Real or complex numbers of any shape.
Numbers = np.ndarray


@array_dataclass()
class CommutingCovariances:
    """Covariances that commute; elements are arrays (..., G) of values on a grid of G common eigenspaces.

    Attributes
    ----------
    covariances : array, shape (K, G)
        Eigenvalues of C_a.
    weights : array, shape (G,)
        Shares of the p dimensions that the eigenspaces take; they sum to 1.
    measures : array, shape (K, K, G)
        Parts of the inner products μ_aᵀμ_b that lie in each eigenspace.
    """

    covariances: Float[np.ndarray, "K G"]
    weights: Float[np.ndarray, " G"]
    measures: Float[np.ndarray, "K K G"]

    @property
    def identity(self) -> Element:
        """The identity matrix."""
        return np.ones_like(self.weights)

    @property
    def norm(self) -> float:
        """The largest operator norm of a class covariance."""
        return float(np.max(self.covariances))

    @property
    def rank_share(self) -> float:
        """The share of dimensions in which some class varies."""
        return float(self.weights @ np.any(self.covariances > 0, axis=0))

    @property
    def spectra(self) -> tuple[Float[np.ndarray, "K G"], Float[np.ndarray, " G"]]:
        """Eigenvalues of every class, and the shares of the dimensions that have them."""
        return self.covariances, self.weights

    def scaled(self, factor: float) -> CommutingCovariances:
        """Return the algebra with covariances and products of means times ``factor``."""
        return CommutingCovariances(self.covariances * factor, self.weights, self.measures * factor)

    def combination(self, scales: Numbers) -> Element:
        """Return Σ_a s_a C_a for s (..., K)."""
        return scales @ self.covariances

    def inverse(self, scales: Numbers, z: Numbers) -> Element:
        """Return (Σ_a s_a C_a − z)⁻¹ for s (..., K) and z (...)."""
        return 1 / (self.combination(scales) - np.asarray(z)[..., None])

    def sandwich(self, left: Element, middle: Element, right: Element) -> Element:
        """Return the product of three elements."""
        return left * middle * right

    def forms(self, element: Element) -> Numbers:
        """Return MᵀEM, of shape (..., K, K)."""
        classes = len(self.covariances)
        flat = element @ self.measures.reshape(classes**2, -1).T
        return flat.reshape(*element.shape[:-1], classes, classes)

    def traces(self, element: Element) -> Numbers:
        """Return tr(C_a E)/p, of shape (..., K)."""
        return element @ (self.covariances * self.weights).T

    def pair_traces(self, left: Element, right: Element) -> Numbers:
        """Return tr(C_a E C_b E')/p, of shape (..., K, K)."""
        classes = len(self.covariances)
        products = (self.covariances * self.weights)[:, None] * self.covariances
        element = left * right
        return (element @ products.reshape(classes**2, -1).T).reshape(*element.shape[:-1], classes, classes)

    def all_pair_traces(self, elements: Element) -> Numbers:
        """Return tr(C_a E_k C_b E_l)/p for all pairs of q elements, of shape (q, q, K, K)."""
        return self.pair_traces(elements[:, None], elements)

    def covariance_forms(self, element: Element) -> Numbers:
        """Return MᵀC_b E M, of shape (..., K, K, K) with b first."""
        return np.einsum("acg,bg,...g->...bac", self.measures, self.covariances, element, optimize=True)

    def all_pair_forms(self, elements: Element) -> Numbers:
        """Return MᵀE_k C_b E_l M for all pairs of q elements, of shape (q, q, K, K, K) with b third."""
        return self.covariance_forms(elements[:, None] * elements)


@array_dataclass()
class GeneralCovariances(Copyable):
    """Covariances that do not commute; elements are (..., p, p) matrices.

    Attributes
    ----------
    covariances : array, shape (K, p, p)
        The matrices C_a.
    means : array, shape (K, p)
        The class means μ_a.
    """

    covariances: Float[np.ndarray, "K p p"]
    means: Float[np.ndarray, "K p"]

    @property
    def identity(self) -> Element:
        """The identity matrix."""
        return np.eye(self.means.shape[1])

    @cached_property
    def norm(self) -> float:
        """The largest operator norm of a class covariance."""
        return float(max(np.linalg.norm(c, 2) for c in self.covariances))

    @cached_property
    def rank_share(self) -> float:
        """The share of dimensions in which some class varies."""
        values = np.linalg.eigvalsh(np.sum(self.covariances, axis=0))
        return float(np.mean(values > 1e-12 * values[-1]))

    @cached_property
    def spectra(self) -> tuple[Float[np.ndarray, "K p"], Float[np.ndarray, " p"]]:
        """Variances of every class along the eigenvectors of Σ_a C_a, and each eigenvector's share 1/p."""
        _, basis = np.linalg.eigh(np.sum(self.covariances, axis=0))
        values = np.einsum("pi,kpq,qi->ki", basis, self.covariances, basis, optimize=True)
        return values, np.full(len(basis), 1 / len(basis))

    def scaled(self, factor: float) -> GeneralCovariances:
        """Return the algebra with covariances and products of means times ``factor``."""
        return GeneralCovariances(self.covariances * factor, self.means * np.sqrt(factor))

    def combination(self, scales: Numbers) -> Element:
        """Return Σ_a s_a C_a for s (..., K)."""
        return np.tensordot(scales, self.covariances, 1)

    def inverse(self, scales: Numbers, z: Numbers) -> Element:
        """Return (Σ_a s_a C_a − z)⁻¹ for s (..., K) and z (...)."""
        return np.linalg.inv(self.combination(scales) - np.asarray(z)[..., None, None] * self.identity)

    def sandwich(self, left: Element, middle: Element, right: Element) -> Element:
        """Return the product of three elements."""
        return left @ middle @ right

    def forms(self, element: Element) -> Numbers:
        """Return MᵀEM, of shape (..., K, K)."""
        return self.means @ element @ self.means.T

    def traces(self, element: Element) -> Numbers:
        """Return tr(C_a E)/p, of shape (..., K)."""
        flat = np.swapaxes(self.covariances, -1, -2).reshape(len(self.covariances), -1)
        return element.reshape(*element.shape[:-2], -1) @ flat.T / len(self.identity)

    def pair_traces(self, left: Element, right: Element) -> Numbers:
        """Return tr(C_a E C_b E')/p, of shape (..., K, K)."""
        first = _real_times(self.covariances, left[..., None, :, :])
        second = first if right is left else _real_times(self.covariances, right[..., None, :, :])
        rows = first.reshape(*first.shape[:-2], -1)
        columns = np.swapaxes(second, -1, -2).reshape(*second.shape[:-2], -1)
        return rows @ np.swapaxes(columns, -1, -2) / len(self.identity)

    def all_pair_traces(self, elements: Element) -> Numbers:
        """Return tr(C_a E_k C_b E_l)/p for all pairs of q elements, of shape (q, q, K, K)."""
        products = _real_times(self.covariances, elements[:, None])
        rows = products.reshape(-1, self.identity.size)
        columns = np.swapaxes(products, -1, -2).reshape(-1, self.identity.size)
        gram = (rows @ columns.T).reshape(products.shape[:2] * 2)
        return np.moveaxis(gram, 1, 2) / len(self.identity)

    def covariance_forms(self, element: Element) -> Numbers:
        """Return MᵀC_b E M, of shape (..., K, K, K) with b first."""
        return (self.means @ self.covariances) @ (element @ self.means.T)[..., None, :, :]

    def all_pair_forms(self, elements: Element) -> Numbers:
        """Return MᵀE_k C_b E_l M for all pairs of q elements, of shape (q, q, K, K, K) with b third."""
        images = elements @ self.means.T
        return np.einsum("kia,bij,ljc->klbac", images, self.covariances, images, optimize=True)


def covariance_algebra(
    means: Float[np.ndarray, "K p"], covariances: list[np.ndarray]
) -> CommutingCovariances | GeneralCovariances:
    """Return the cheapest representation of covariances that are numbers, (p,) diagonals or (p, p) matrices."""
    p = means.shape[1]
    if all(c.ndim < 2 for c in covariances):
        return _on_common_grid(np.stack([np.broadcast_to(c, p) for c in covariances]), means)
    matrices = np.stack([c if c.ndim == 2 else np.diag(np.broadcast_to(c, p)) for c in covariances])
    # The eigenvectors of a generic combination diagonalise every covariance if and only if all of them commute.
    generic = np.random.default_rng(0).uniform(1, 2, len(matrices))
    _, basis = np.linalg.eigh(np.tensordot(generic, matrices, 1))
    rotated = basis.T @ matrices @ basis
    values = np.diagonal(rotated, axis1=1, axis2=2)
    off_diagonal = np.linalg.norm(rotated, axis=(1, 2)) ** 2 - np.sum(values**2, axis=1)
    if np.all(off_diagonal <= COMMUTATOR_TOLERANCE * np.sum(values**2, axis=1)):
        return _on_common_grid(np.maximum(values, 0.0), means @ basis)
    return GeneralCovariances(matrices, means)


def _on_common_grid(eigenvalues: Float[np.ndarray, "K p"], means: Float[np.ndarray, "K p"]) -> CommutingCovariances:
    """Return the algebra in which coordinates with the same eigenvalues in all classes are one point of the grid."""
    grid, index, counts = np.unique(eigenvalues.T, axis=0, return_inverse=True, return_counts=True)
    measures = np.zeros((len(grid), len(means), len(means)))
    np.add.at(measures, index.reshape(-1), means.T[:, :, None] * means.T[:, None, :])
    return CommutingCovariances(grid.T.copy(), counts / eigenvalues.shape[1], np.moveaxis(measures, 0, -1).copy())


def _real_times(real: Element, element: Element) -> Element:
    """Return a real matrix times one that may be complex, as two real products: half the price of a complex one."""
    if np.isrealobj(element):
        return real @ element
    return real @ np.real(element) + 1j * (real @ np.imag(element))
