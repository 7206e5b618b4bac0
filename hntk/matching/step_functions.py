r"""Functions of N levels on a partition of the Gaussian line, in units of τ, with derivatives.

Optimal N-level functions need not be monotone: their cells are intervals in the order of a quadratic (with S_2: of a
rational) score, so that a level may be taken on two intervals and there are up to 2(N − 1) thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hntk.activations.staircase import Staircase, gaussian_cells, staircase

# a cell beyond 4 standard deviations is seen by one neuron in 30 000: what it holds up no network can feel
REACH = 4.0


@dataclass(frozen=True)
class UnitStaircase:
    """A function at τ = 1: thresholds (m,), ascending, and the value on every cell (m + 1,)."""

    thresholds: Float[np.ndarray, " m"]
    levels: Float[np.ndarray, " m_plus_1"]

    @property
    def moments(self) -> Float[np.ndarray, " 4"]:
        """(E_1, E_2, S_2, v)."""
        cells = gaussian_cells(self.thresholds)
        g = self.levels - cells.probability @ self.levels
        return np.array([g @ cells.first, g @ cells.second, g**2 @ cells.second, g**2 @ cells.probability])

    @property
    def variance(self) -> float:
        """Output variance at τ = 1."""
        return float(self.moments[3])

    @property
    def shares(self) -> Float[np.ndarray, " 3"]:
        """(p, q, r) of :mod:`hntk.matching.variance_shares`."""
        e1, e2, s2, v = self.moments
        return np.array([e1**2, e2**2 / 2, s2]) / v

    def at(self, tau: float, amplitude: float, name: str) -> Staircase:
        """The staircase for an input of scale ``tau``, its values times ``amplitude``, the lowest at 0."""
        return staircase(tau * self.thresholds, amplitude * (self.levels - self.levels.min()), name)

    def normalised(self) -> UnitStaircase:
        """Mean 0, variance 1, cells merged where the value does not change or nothing falls."""
        open_cells = np.concatenate([[True], np.diff(self.thresholds) > 0, [True]])
        # a threshold survives with the last of those it coincides with
        u, g = self.thresholds[open_cells[:-1]], self.levels[open_cells]
        probability = gaussian_cells(u).probability
        g = g - probability @ g
        keep = np.diff(g) != 0
        return UnitStaircase(u[keep], np.concatenate([g[:1], g[1:][keep]]) / np.sqrt(probability @ g**2))


@dataclass(frozen=True)
class Partition:
    """A pattern of cells: ``labels[i]`` is the level taken on cell i; unknowns are m thresholds, then N levels."""

    labels: tuple[int, ...]

    @property
    def thresholds(self) -> int:
        """Their number m."""
        return len(self.labels) - 1

    @property
    def level_count(self) -> int:
        """N."""
        return max(self.labels) + 1

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.thresholds + self.level_count

    @classmethod
    def of(cls, function: UnitStaircase) -> tuple[Partition, np.ndarray]:
        """The pattern of a function, and its unknowns."""
        values, labels = np.unique(function.levels, return_inverse=True)
        return cls(tuple(int(i) for i in labels)), np.concatenate([function.thresholds, values])

    def function(self, z: np.ndarray) -> UnitStaircase:
        """The function of given unknowns."""
        return UnitStaircase(z[: self.thresholds], z[self.thresholds :][list(self.labels)])

    def moments(self, z: np.ndarray) -> tuple[Float[np.ndarray, " 4"], Float[np.ndarray, "4 size"]]:
        """(E_1, E_2, S_2, v) and their derivatives by the unknowns."""
        u, labels = z[: self.thresholds], list(self.labels)
        cells = gaussian_cells(u)
        g = z[self.thresholds :][labels]
        g = g - cells.probability @ g
        squares = g**2
        values = np.array([g @ cells.first, g @ cells.second, squares @ cells.second, squares @ cells.probability])
        density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
        drop, drop_sq, bend = density * (g[:-1] - g[1:]), density * (squares[:-1] - squares[1:]), u**2 - 1
        jacobian = np.zeros((4, self.size))
        # the mean moves with the thresholds and levels: only S_2 feels it
        jacobian[:, : self.thresholds] = drop * u, drop * bend, drop_sq * bend - 2 * values[1] * drop, drop_sq
        by_cell = np.array([
            cells.first, cells.second, 2 * g * cells.second - 2 * values[1] * cells.probability,
            2 * g * cells.probability,
        ])  # fmt: skip
        jacobian[:, self.thresholds :] = by_cell @ self._selection
        return values, jacobian

    def hermite(self, z: np.ndarray, order: int) -> tuple[Float[np.ndarray, " order"], Float[np.ndarray, "order size"]]:
        """Normalised Hermite coefficients c_1 … c_order, c_k = Σ_j J_j φ(u_j) h_{k−1}(u_j)/√k, and derivatives."""
        u = z[: self.thresholds]
        jumps = np.diff(z[self.thresholds :][list(self.labels)])
        functions = hermite_functions(u, order)
        basis = functions[:order] / np.sqrt(np.arange(1, order + 1))[:, None]
        by_level = basis @ np.diff(self._selection, axis=0)
        return basis @ jumps, np.concatenate([-functions[1:] * jumps, by_level], axis=1)

    @cached_property
    def _selection(self) -> np.ndarray:
        """(cells, N), 1 where the cell takes the level."""
        return np.eye(self.level_count)[list(self.labels)]


def hermite_functions(u: np.ndarray, order: int) -> np.ndarray:
    """φ(u) h_k(u), k = 0 … order, h_k the orthonormal Hermite polynomials."""
    rows = [np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)]
    rows.append(u * rows[0])
    for k in range(1, order):
        rows.append((u * rows[k] - np.sqrt(k) * rows[k - 1]) / np.sqrt(k + 1))
    return np.stack(rows[: order + 1])
