r"""A library of optimal N-level functions: from it joint problems take their starts.

The functions are the global optima of one-layer problems over a net of multipliers: directions between the first and
the second Hermite order, and weights on S_2, with thresholds within several reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hntk.activations.staircase import gaussian_cells
from hntk.matching.quantiser import gaussian_grid, quantise, to_function
from hntk.matching.step_functions import REACH, UnitStaircase

DIRECTIONS = np.concatenate([[0.0], np.linspace(0.06, np.pi / 2 - 0.06, 20), [np.pi / 2]])
CELLS = 200


class Library(NamedTuple):
    """Functions of N levels and their shares (p, q, r), one row each."""

    functions: tuple[UnitStaircase, ...]
    shares: Float[np.ndarray, "entries 3"]


@lru_cache(maxsize=32)
def library(levels: int) -> Library:
    """The library of N-level functions; built once for every N."""
    found = [f for direction in DIRECTIONS for f in optimal_functions(levels, float(direction))]
    if levels == 2:
        found += _two_level_functions()
    return _without_repeats(found)


@lru_cache(maxsize=1024)
def optimal_functions(levels: int, direction: float) -> tuple[UnitStaircase, ...]:
    """Optima of cos(direction) E_1 + sin(direction) E_2/√2 for several weights on S_2."""
    e1, e2 = np.cos(direction), np.sin(direction) / np.sqrt(2)
    found = [_optimum(levels, REACH, e1, e2, mu) for mu in (0.0, -0.3, -0.6, -0.9)]
    if levels > 2:
        for reach in (2.0, 2.5, 3.0, 3.5, REACH):
            tail = gaussian_cells(np.array([reach]))
            most = tail.probability[1] / tail.second[1]
            found += [_optimum(levels, reach, e1, e2, share * most) for share in (0.5, 0.95)]
    return tuple(f for f in found if f is not None)


def _optimum(levels: int, reach: float, e1: float, e2: float, mu: float) -> UnitStaircase | None:
    grid = gaussian_grid(CELLS, reach)
    found = quantise(grid, levels, e1, e2, mu)
    return None if found is None else to_function(grid, found, e1, e2, mu)


def _two_level_functions() -> list[UnitStaircase]:
    """Two levels have two thresholds and nothing else: all of them, E_1 and E_2 of one sign."""
    points = np.linspace(-3.4, 3.4, 35)
    found = [
        UnitStaircase(np.array([low, high]), np.array([1.0, 0.0, 1.0]))
        for i, low in enumerate(points)
        for high in points[i + 1 :]
    ]
    return [f for f in found if f.moments[0] * f.moments[1] >= 0]


def _without_repeats(found: Sequence[UnitStaircase]) -> Library:
    shares = np.array([f.shares for f in found])
    _, first = np.unique(np.round(shares, 4), axis=0, return_index=True)
    return Library(tuple(found[i].normalised() for i in first), shares[first])
