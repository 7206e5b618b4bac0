"""The limit of a bulk's resolvent at given points, with what follows from it.

The limits of diagonal entries, bilinear forms and traces are stated in :mod:`hntk.asymptotics.bulk`; the self-energies
come from :mod:`hntk.asymptotics.fixed_point`. Derivatives by z solve linear systems with the Jacobian J of the fixed
point, as differentiating the equation shows.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from hntk._utils.copies import Copyable
from hntk._utils.pytree import array_dataclass
from hntk.asymptotics.bulk import Bulk
from hntk.asymptotics.covariances import Element, Numbers
from hntk.asymptotics.fixed_point import solve_self_energies


@array_dataclass()
class Resolvent(Copyable):
    """Limits of the resolvent at points z; the shape of z leads the shape of every array.

    Attributes
    ----------
    bulk : Bulk
        The bulk whose resolvent it is.
    z : array, shape (...)
        The points.
    self_energy : array, shape (..., c, K)
        The self-energies Δ_a(z), then Δ^k_a(z) where there is noise.
    element : array
        Ē(z), an element of the law's algebra.
    """

    bulk: Bulk
    z: Numbers
    self_energy: Numbers
    element: Element

    @staticmethod
    def at(bulk: Bulk, z: object) -> Resolvent:
        """Return the resolvent at points z, real or complex, other than 0.

        Parameters
        ----------
        bulk : Bulk
            The bulk.
        z : array of any shape
            The points. On the real axis inside the spectrum, the limit from above is taken.

        Returns
        -------
        Resolvent
            The limits; real if all points are real and outside the spectrum.

        Raises
        ------
        ArithmeticError
            At 0, and where the fixed point is not found, as at an edge of the spectrum.
        """
        points = np.asarray(z)
        points = points.astype(np.result_type(points, float))
        flat = points.reshape(-1)
        if np.any(flat == 0):
            raise ArithmeticError("z = 0 may be an eigenvalue, where there is no resolvent: move z off it.")
        lower = np.imag(flat) < 0
        solution = solve_self_energies(bulk, np.where(lower, np.conj(flat), flat))
        solution = np.where(lower[:, None], np.conj(solution), solution)
        if not np.any(np.imag(points)) and not np.any(np.imag(solution)):
            solution = np.real(solution)
        return Resolvent.from_self_energy(bulk, points, solution.reshape(*points.shape, *bulk.shape))

    @staticmethod
    def from_self_energy(bulk: Bulk, z: Numbers, self_energy: Numbers) -> Resolvent:
        """Return the resolvent at points where the self-energies are known already."""
        return Resolvent(bulk, z, self_energy, bulk.element(bulk.responses(self_energy, z)))

    @cached_property
    def responses(self) -> Numbers:
        """The limits r of the diagonal entries, of shape (..., K, q): by class and point of the diagonal's law."""
        return self.bulk.responses(self.self_energy, self.z)

    @cached_property
    def noise_elements(self) -> Numbers:
        """The numbers e_k, of shape (..., B)."""
        return self.bulk.noise_elements(self.responses)

    @property
    def class_means(self) -> Numbers:
        """The mean g_a of the diagonal entries in every class, of shape (..., K)."""
        return np.sum(self.responses * self.bulk.diagonal.shares, axis=-1)

    @property
    def stieltjes(self) -> Numbers:
        """The Stieltjes transform m(z), the limit of the normalised trace of the resolvent."""
        return self.class_means @ (self.bulk.ratios / self.bulk.ratios.sum())

    @property
    def self_energy_slope(self) -> Numbers:
        """The derivative of the self-energies by z, of shape (..., c, K)."""
        bulk = self.bulk
        pair_traces = bulk.law.algebra.pair_traces(self.element, self.element)
        couplings = bulk.couplings(pair_traces, self.noise_elements**2)
        sources = np.einsum("kq,ckq,...kq->...ck", bulk.diagonal.shares, bulk.stacked_weights, self.responses**2)
        right = np.einsum("...cab,...cb->...ca", couplings, -bulk.ratios * sources)
        jacobian = bulk.jacobian(couplings, self.responses**2)
        slope = np.linalg.solve(np.eye(bulk.unknowns) - jacobian, right.reshape(*right.shape[:-2], -1, 1))
        return slope.reshape(right.shape)

    @cached_property
    def response_slope(self) -> Numbers:
        """The derivative of r by z, of shape (..., K, q)."""
        change = np.einsum("ckq,...ck->...kq", self.bulk.stacked_weights, self.self_energy_slope)
        return -(self.responses**2) * (change - 1)
