r"""Step functions as unknowns of an optimisation, with derivatives of their moments.

Optimal functions of N levels need not be monotone: their cells are intervals in the order of a quadratic (with S_2: of
a rational) score. A level may be taken on two intervals, and there are up to 2(N − 1) thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy
from jaxtyping import Float
from numpy.polynomial.hermite_e import hermevander

from hntk.activations.gaussian_cells import density, gaussian_cells
from hntk.activations.step_function import StepFunction
from hntk.matching.complex_step import STEP

# thresholds stay within 4 standard deviations: one neuron in 30 000 lies beyond, too few for a network to use
REACH = 4.0


@dataclass(frozen=True)
class CellPattern:
    """Which cells of a step function share a level; its unknowns are m thresholds, then N different levels.

    Attributes
    ----------
    labels : tuple of int
        ``labels[i]`` is the index of the level taken on cell i.
    """

    labels: tuple[int, ...]

    @property
    def thresholds(self) -> int:
        """Number of thresholds, m."""
        return len(self.labels) - 1

    @property
    def level_count(self) -> int:
        """Number of levels, N."""
        return max(self.labels) + 1

    @property
    def size(self) -> int:
        """Number of unknowns."""
        return self.thresholds + self.level_count

    @classmethod
    def of(cls, function: StepFunction) -> tuple[CellPattern, np.ndarray]:
        """Return the pattern of a function, and its unknowns."""
        values, labels = np.unique(np.asarray(function.levels), return_inverse=True)
        return cls(tuple(labels.tolist())), np.concatenate([np.asarray(function.thresholds), values])

    def function(self, z: np.ndarray) -> StepFunction:
        """Return the function with these unknowns."""
        return StepFunction(z[: self.thresholds], z[self.thresholds :][self._labels])

    def moments(self, z: np.ndarray) -> tuple[Float[np.ndarray, "... 4"], Float[np.ndarray, "... 4 size"]]:
        """Return (E_1, E_2, S_2, v) and their derivatives by the unknowns, of shape (..., size)."""
        u, g = z[..., : self.thresholds], z[..., self.thresholds :][..., self._labels]
        cells = gaussian_cells(u)
        g = g - np.sum(cells.probability * g, axis=-1, keepdims=True)
        squares = g**2
        parts = [g * cells.first, g * cells.second, squares * cells.second, squares * cells.probability]
        values = np.stack([part.sum(axis=-1) for part in parts], axis=-1)
        # the mean moves with thresholds and levels, which only S_2 feels: by −2 E_2 times the change of the mean
        twice_e2 = 2 * values[..., 1:2]
        at_threshold = density(u)
        drop, drop_of_squares = (-at_threshold * np.diff(level) for level in (g, squares))
        bend = u**2 - 1
        by_threshold = [drop * u, drop * bend, drop_of_squares * bend - twice_e2 * drop, drop_of_squares]
        by_cell = [
            cells.first, cells.second, 2 * g * cells.second - twice_e2 * cells.probability, 2 * g * cells.probability
        ]  # fmt: skip
        by_level = np.stack(by_cell, axis=-2) @ self._selection
        return values, np.concatenate([np.stack(by_threshold, axis=-2), by_level], axis=-1)

    def curvature(self, z: np.ndarray, weights: np.ndarray) -> Float[np.ndarray, "size size"]:
        """Return the second derivatives of weights · (E_1, E_2, S_2, v), exact by the complex step."""
        _, derivatives = self.moments(z + 1j * STEP * np.eye(self.size))
        return weights @ (np.imag(derivatives) / STEP)

    def hermite(self, z: np.ndarray, order: int) -> tuple[Float[np.ndarray, " order"], Float[np.ndarray, "order size"]]:
        """Return the Hermite coefficients c_1 … c_order and their derivatives.

        By Stein's identity c_k = Σ_j J_j φ(u_j) h_{k−1}(u_j)/√k, with J_j the jump at threshold j.
        """
        u, g = z[: self.thresholds], z[self.thresholds :][self._labels]
        jumps = np.diff(g)
        functions = weighted_hermite(u, order)
        basis = functions[:order] / np.sqrt(np.arange(1, order + 1))[:, None]
        by_level = basis @ np.diff(self._selection, axis=0)
        return basis @ jumps, np.concatenate([-functions[1:] * jumps, by_level], axis=1)

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.array(self.labels)

    @cached_property
    def _selection(self) -> np.ndarray:
        """Matrix of shape (cells, N), 1 where the cell takes the level."""
        return np.eye(self.level_count)[self._labels]


class StepNetwork(NamedTuple):
    """One step function a layer, as patterns and one vector of all unknowns."""

    patterns: tuple[CellPattern, ...]
    unknowns: Float[np.ndarray, " unknowns"]

    @classmethod
    def of(cls, functions: Sequence[StepFunction]) -> StepNetwork:
        """Return the network of given functions."""
        pairs = [CellPattern.of(function) for function in functions]
        return cls(tuple(pattern for pattern, _ in pairs), np.concatenate([z for _, z in pairs]))

    @classmethod
    def of_normalised(cls, functions: Sequence[StepFunction]) -> StepNetwork:
        """Return the network of given functions, each brought to mean 0 and variance 1."""
        return cls.of([function.normalised() for function in functions])

    def parts(self, z: np.ndarray) -> list[np.ndarray]:
        """Split a vector of all unknowns into the layers'."""
        return np.split(z, np.cumsum([pattern.size for pattern in self.patterns])[:-1])

    def moments(self, z: np.ndarray) -> tuple[Float[np.ndarray, "L 4"], list[np.ndarray]]:
        """Return each layer's (E_1, E_2, S_2, v), and their derivatives by its unknowns."""
        pairs = [pattern.moments(part) for pattern, part in zip(self.patterns, self.parts(z), strict=True)]
        return np.array([values for values, _ in pairs]), [derivatives for _, derivatives in pairs]

    def functions(self) -> list[StepFunction]:
        """Return the layers' functions, of mean 0 and variance 1."""
        parts = self.parts(self.unknowns)
        return [pattern.function(part).normalised() for pattern, part in zip(self.patterns, parts, strict=True)]


def weighted_hermite(u: np.ndarray, order: int) -> Float[np.ndarray, "order+1 u"]:
    """Return φ(u) h_k(u), k = 0 … order, with h_k the orthonormal Hermite polynomials."""
    norms = np.exp(scipy.special.gammaln(np.arange(order + 1) + 1) / 2)
    return density(u) * hermevander(u, order).T / norms[:, None]
