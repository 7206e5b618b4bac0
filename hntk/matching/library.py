r"""A library of optimal N-level functions, which the joint problems are started from.

The functions are the global optima of one-layer problems over a grid of multipliers: directions between the first and
the second Hermite order, and weights on S_2, with thresholds within several reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from hntk.activations.gaussian_cells import gaussian_cells
from hntk.activations.step_function import StepFunction
from hntk.matching.cell_pattern import REACH
from hntk.matching.quantiser import gaussian_grid, optimal_function
from hntk.matching.variance_shares import layer_shares

DIRECTIONS = np.concatenate([[0.0], np.linspace(0.06, np.pi / 2 - 0.06, 20), [np.pi / 2]])
# weights on S_2 without a bound on the reach, and reaches, with shares of the largest weight there
WEIGHTS = (0.0, -0.3, -0.6, -0.9)
REACHES = (2.0, 2.5, 3.0, 3.5, REACH)
SHARES_OF_LARGEST_WEIGHT = (0.5, 0.95)
CELLS = 200


class Library(NamedTuple):
    """Functions of N levels, and their shares (p, q, r), one row each."""

    functions: tuple[StepFunction, ...]
    shares: Float[np.ndarray, "entries 3"]


@lru_cache(maxsize=32)
def library(levels: int) -> Library:
    """Return the library of N-level functions, built once for every N."""
    functions = [f for direction in DIRECTIONS for f in optimal_functions(levels, float(direction))]
    if levels == 2:
        functions += _two_level_functions()
    return _without_repeats(functions)


@lru_cache(maxsize=1024)
def optimal_functions(levels: int, direction: float) -> tuple[StepFunction, ...]:
    """Return the optima of cos(direction) E_1 + sin(direction) E_2/√2 for several weights on S_2."""
    e1, e2 = np.cos(direction), np.sin(direction) / np.sqrt(2)
    problems = [(REACH, weight) for weight in WEIGHTS]
    if levels > 2:
        for reach in REACHES:
            tail = gaussian_cells(np.array([reach]))
            largest = tail.probability[1] / tail.second[1]
            problems += [(reach, share * largest) for share in SHARES_OF_LARGEST_WEIGHT]
    functions = [optimal_function(gaussian_grid(CELLS, reach), levels, e1, e2, mu) for reach, mu in problems]
    return tuple(f for f in functions if f is not None)


def _two_level_functions() -> list[StepFunction]:
    """Return two-level functions over a grid of their two thresholds, those with E_1 and E_2 of one sign."""
    points = np.linspace(-3.4, 3.4, 35)
    functions = [StepFunction(np.array(pair), np.array([1.0, 0.0, 1.0])) for pair in combinations(points, 2)]
    moments = [f.moments() for f in functions]
    return [f for f, m in zip(functions, moments, strict=True) if m.e1 * m.e2 >= 0]


def _without_repeats(functions: Sequence[StepFunction]) -> Library:
    shares = layer_shares(f.moments() for f in functions)
    _, first = np.unique(np.round(shares, 4), axis=0, return_index=True)
    return Library(tuple(functions[i].normalised() for i in first), shares[first])
