r"""The matrices that class covariances generate, as numbers on a grid where they commute and as matrices where not.

Everything the limits need of a mixture is a normalised trace tr(E)/p or a form MᵀEM, with E a product of covariances
and of resolvents $(\sum_a s_a C_a - z)^{-1}$. Where all $C_a$ commute, E is its values on the common eigenvalues, and
an eigenvalue counts by its weight: $\mathrm{tr} E/p = \sum_k w_k E_k$, $M^\top EM = \sum_k m_k E_k$. Eigenvalues that
coincide are one point of the grid, so classes with $C_a = c_a I$ cost nothing and diagonal ones O(p).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk._utils.copies import Copyable

# of commutators and off-diagonals, relative to the matrices' norms
COMMUTE = 1e-10
Element = np.ndarray
# real or complex, of any shape
Numbers = np.ndarray


@dataclass(frozen=True)
class Spectral:
    """Commuting covariances: elements are (..., G) arrays of values on the grid.

    Attributes
    ----------
    covariances : (K, G) eigenvalues of C_a.
    weights : (G,) shares of the p eigenvalues, summing to 1.
    measures : (K, K, G) shares of μ_aᵀμ_b that lie in each eigenspace.
    """

    covariances: Float[np.ndarray, "K G"]
    weights: Float[np.ndarray, " G"]
    measures: Float[np.ndarray, "K K G"]

    @property
    def one(self) -> Element:
        """The identity."""
        return np.ones_like(self.weights)

    @property
    def norm(self) -> float:
        """The largest ‖C_a‖."""
        return float(np.max(self.covariances))

    @property
    def support(self) -> float:
        """The share of directions in which some class varies."""
        return float(self.weights @ np.any(self.covariances > 0, axis=0))

    @property
    def spectra(self) -> tuple[Float[np.ndarray, "K G"], Float[np.ndarray, " G"]]:
        """Eigenvalues by class, and shares of the p."""
        return self.covariances, self.weights

    def scaled(self, factor: float) -> Spectral:
        """Covariances and squared means times ``factor``."""
        return Spectral(self.covariances * factor, self.weights, self.measures * factor)

    def combination(self, scales: Numbers) -> Element:
        """Σ_a s_a C_a, of s (..., K)."""
        return scales @ self.covariances

    def inverse(self, scales: Numbers, z: Numbers) -> Element:
        """(Σ_a s_a C_a − z)⁻¹, of s (..., K) and z (...)."""
        return 1 / (self.combination(scales) - np.asarray(z)[..., None])

    def sandwich(self, left: Element, middle: Element, right: Element) -> Element:
        """The product of three elements."""
        return left * middle * right

    def forms(self, element: Element) -> Numbers:
        """(..., K, K) MᵀEM."""
        classes = len(self.covariances)
        flat = element @ self.measures.reshape(classes**2, -1).T
        return flat.reshape(*element.shape[:-1], classes, classes)

    def traces(self, element: Element) -> Numbers:
        """(..., K) tr(C_a E)/p."""
        return element @ (self.covariances * self.weights).T

    def pair_traces(self, left: Element, right: Element) -> Numbers:
        """(..., K, K) tr(C_a E C_b E')/p."""
        classes = len(self.covariances)
        products = (self.covariances * self.weights)[:, None] * self.covariances
        element = left * right
        return (element @ products.reshape(classes**2, -1).T).reshape(*element.shape[:-1], classes, classes)

    def all_pair_traces(self, elements: Element) -> Numbers:
        """(q, q, K, K) tr(C_a E_k C_b E_l)/p, of q elements."""
        return self.pair_traces(elements[:, None], elements)

    def covariance_forms(self, element: Element) -> Numbers:
        """(..., K, K, K) MᵀC_b E M, b first."""
        return np.einsum("acg,bg,...g->...bac", self.measures, self.covariances, element, optimize=True)

    def all_pair_forms(self, elements: Element) -> Numbers:
        """(q, q, K, K, K) MᵀE_k C_b E_l M, b third."""
        return self.covariance_forms(elements[:, None] * elements)


@dataclass(frozen=True)
class Matrices(Copyable):
    """Covariances that do not commute: elements are (..., p, p) matrices.

    Attributes
    ----------
    covariances : (K, p, p).
    means : (K, p).
    """

    covariances: Float[np.ndarray, "K p p"]
    means: Float[np.ndarray, "K p"]

    @property
    def one(self) -> Element:
        """The identity."""
        return np.eye(self.means.shape[1])

    @cached_property
    def norm(self) -> float:
        """The largest ‖C_a‖."""
        return float(max(np.linalg.norm(c, 2) for c in self.covariances))

    @cached_property
    def support(self) -> float:
        """The share of directions in which some class varies."""
        values = np.linalg.eigvalsh(np.sum(self.covariances, axis=0))
        return float(np.mean(values > 1e-12 * values[-1]))

    @cached_property
    def spectra(self) -> tuple[Float[np.ndarray, "K p"], Float[np.ndarray, " p"]]:
        """Variances by class along the eigenvectors of their sum, and shares of the p."""
        _, basis = np.linalg.eigh(np.sum(self.covariances, axis=0))
        values = np.einsum("pi,kpq,qi->ki", basis, self.covariances, basis, optimize=True)
        return values, np.full(len(basis), 1 / len(basis))

    def scaled(self, factor: float) -> Matrices:
        """Covariances and squared means times ``factor``."""
        return Matrices(self.covariances * factor, self.means * np.sqrt(factor))

    def combination(self, scales: Numbers) -> Element:
        """Σ_a s_a C_a, of s (..., K)."""
        return np.tensordot(scales, self.covariances, 1)

    def inverse(self, scales: Numbers, z: Numbers) -> Element:
        """(Σ_a s_a C_a − z)⁻¹, of s (..., K) and z (...)."""
        return np.linalg.inv(self.combination(scales) - np.asarray(z)[..., None, None] * self.one)

    def sandwich(self, left: Element, middle: Element, right: Element) -> Element:
        """The product of three elements."""
        return left @ middle @ right

    def forms(self, element: Element) -> Numbers:
        """(..., K, K) MᵀEM."""
        return self.means @ element @ self.means.T

    def traces(self, element: Element) -> Numbers:
        """(..., K) tr(C_a E)/p."""
        flat = np.swapaxes(self.covariances, -1, -2).reshape(len(self.covariances), -1)
        return element.reshape(*element.shape[:-2], -1) @ flat.T / len(self.one)

    def pair_traces(self, left: Element, right: Element) -> Numbers:
        """(..., K, K) tr(C_a E C_b E')/p."""
        first = _product(self.covariances, left[..., None, :, :])
        second = first if right is left else _product(self.covariances, right[..., None, :, :])
        rows = first.reshape(*first.shape[:-2], -1)
        columns = np.swapaxes(second, -1, -2).reshape(*second.shape[:-2], -1)
        return rows @ np.swapaxes(columns, -1, -2) / len(self.one)

    def all_pair_traces(self, elements: Element) -> Numbers:
        """(q, q, K, K) tr(C_a E_k C_b E_l)/p, of q elements."""
        products = _product(self.covariances, elements[:, None])
        rows = products.reshape(-1, self.one.size)
        columns = np.swapaxes(products, -1, -2).reshape(-1, self.one.size)
        gram = (rows @ columns.T).reshape(products.shape[:2] * 2)
        return np.moveaxis(gram, 1, 2) / len(self.one)

    def covariance_forms(self, element: Element) -> Numbers:
        """(..., K, K, K) MᵀC_b E M, b first."""
        return (self.means @ self.covariances) @ (element @ self.means.T)[..., None, :, :]

    def all_pair_forms(self, elements: Element) -> Numbers:
        """(q, q, K, K, K) MᵀE_k C_b E_l M, b third."""
        seen = elements @ self.means.T
        return np.einsum("kia,bij,ljc->klbac", seen, self.covariances, seen, optimize=True)


def _product(real: Element, element: Element) -> Element:
    """Of a real matrix with one that may be complex, at half the price of a complex product."""
    if np.isrealobj(element):
        return real @ element
    return real @ np.real(element) + 1j * (real @ np.imag(element))


def algebra_of(means: Float[np.ndarray, "K p"], covariances: list[np.ndarray]) -> Spectral | Matrices:
    """The cheapest one: covariances are numbers, (p,) diagonals or (p, p) matrices."""
    p = means.shape[1]
    if all(c.ndim < 2 for c in covariances):
        return _spectral(np.stack([np.broadcast_to(c, p) for c in covariances]), means)
    full = np.stack([c if c.ndim == 2 else np.diag(np.broadcast_to(c, p)) for c in covariances])
    generic = np.random.default_rng(0).uniform(1, 2, len(full))
    _, basis = np.linalg.eigh(np.tensordot(generic, full, 1))
    rotated = basis.T @ full @ basis
    values = np.diagonal(rotated, axis1=1, axis2=2)
    rest = np.linalg.norm(rotated, axis=(1, 2)) ** 2 - np.sum(values**2, axis=1)
    if np.all(rest <= COMMUTE * np.sum(values**2, axis=1)):
        return _spectral(np.maximum(values, 0.0), means @ basis)
    return Matrices(full, means)


def _spectral(values: Float[np.ndarray, "K p"], means: Float[np.ndarray, "K p"]) -> Spectral:
    """Coordinates with the same eigenvalues in all classes are one point of the grid."""
    grid, index, counts = np.unique(values.T, axis=0, return_inverse=True, return_counts=True)
    measures = np.zeros((len(grid), len(means), len(means)))
    np.add.at(measures, index.reshape(-1), means.T[:, :, None] * means.T[:, None, :])
    return Spectral(grid.T.copy(), counts / values.shape[1], np.moveaxis(measures, 0, -1).copy())
