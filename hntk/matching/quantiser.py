r"""Globally optimal N-level quantisers of a quadratic score, by dynamic programming.

For multipliers $(\lambda_1, \lambda_2, \mu)$ the N-level function of largest $2E[gs] - E[wg^2]$, with $s =
\lambda_1\xi + \lambda_2(\xi^2 - 1)$ and $w = 1 - \mu(\xi^2 - 1) > 0$, takes its levels on cells that are intervals in
the order of $s/w$. On a fine grid of Gaussian cells the best partition is found exactly: the gain of an interval,
$(\int s)^2/\int w$, satisfies the quadrangle inequality, so the best cuts are monotone and divide and conquer finds
them in $O(NM\log M)$.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hntk.activations.staircase import Cells, gaussian_cells
from hntk.matching.step_functions import UnitStaircase


class Grid(NamedTuple):
    """Fine cells of the Gaussian line: M − 1 edges, and the integrals over the M cells."""

    edges: Float[np.ndarray, " M_minus_1"]
    cells: Cells


class Quantised(NamedTuple):
    """The best partition found: its gain Σ (∫s)²/∫w and the level label of every grid cell, in grid order."""

    gain: float
    labels: Int[np.ndarray, " M"]


@lru_cache(maxsize=16)
def gaussian_grid(size: int, reach: float) -> Grid:
    """M cells: equal ones within ±reach, and the two tails."""
    edges = np.linspace(-reach, reach, size - 1)
    return Grid(edges, gaussian_cells(edges))


def quantise(grid: Grid, levels: int, e1: float, e2: float, mu: float = 0.0, offset: float = 0.0) -> Quantised | None:
    """The best N-level quantiser of s/w on the grid; None where a weight is not positive.

    Parameters
    ----------
    grid : of Gaussian cells.
    levels : N.
    e1, e2, mu : multipliers λ_1, λ_2, μ of E_1, E_2, S_2.
    offset : multiplier of the mean.
    """
    score = offset * grid.cells.probability + e1 * grid.cells.first + e2 * grid.cells.second
    weight = grid.cells.probability - mu * grid.cells.second
    if np.any(weight <= 0):
        return None
    order = np.argsort(score / weight, kind="stable")
    gain, cuts = _best_intervals(score[order], weight[order], levels)
    labels = np.empty(order.size, dtype=int)
    labels[order] = np.searchsorted(cuts, np.arange(order.size), side="right")
    return Quantised(gain, labels)


def to_function(grid: Grid, found: Quantised, e1: float, e2: float, mu: float = 0.0) -> UnitStaircase:
    """The function itself: levels are the best for its cells."""
    count = int(found.labels.max()) + 1
    score = np.bincount(found.labels, e1 * grid.cells.first + e2 * grid.cells.second, count)
    weight = np.bincount(found.labels, grid.cells.probability - mu * grid.cells.second, count)
    changes = np.flatnonzero(np.diff(found.labels))
    levels = (score / weight)[found.labels[np.concatenate([changes, [found.labels.size - 1]])]]
    return UnitStaircase(grid.edges[changes], levels)


def _best_intervals(score: np.ndarray, weight: np.ndarray, levels: int) -> tuple[float, np.ndarray]:
    """Cut ordered cells into N intervals of largest total (∫s)²/∫w."""
    s, w = np.concatenate([[0.0], np.cumsum(score)]), np.concatenate([[0.0], np.cumsum(weight)])
    size = score.size
    best = np.full(size + 1, -np.inf)
    best[1:] = s[1:] ** 2 / w[1:]
    choices = []
    for _ in range(levels - 1):
        best, choice = _one_more_interval(best, s, w)
        choices.append(choice)
    cuts = [size]
    for choice in choices[::-1]:
        cuts.append(int(choice[cuts[-1]]))
    return float(best[size]), np.array(cuts[:0:-1])


def _one_more_interval(best: np.ndarray, s: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """max_i best[i] + gain(i, j) for every j, whose maximisers rise with j: a level of midpoints at a time."""
    size = best.size
    value, choice = np.full(size, -np.inf), np.zeros(size, dtype=int)
    # columns: first and last position, first and last maximiser that can occur there
    segments = np.array([[1, size - 1, 0, size - 1]])
    while segments.size:
        middle = (segments[:, 0] + segments[:, 1]) // 2
        first, last = segments[:, 2], np.minimum(segments[:, 3], middle - 1)
        count = last - first + 1
        starts = np.cumsum(count) - count
        owner = np.repeat(np.arange(middle.size), count)
        i = np.arange(owner.size) - starts[owner] + first[owner]
        j = middle[owner]
        candidates = best[i] + (s[j] - s[i]) ** 2 / (w[j] - w[i])
        top = np.maximum.reduceat(candidates, starts)
        # of equal maximisers the first
        where = np.flatnonzero(candidates == top[owner])[::-1]
        chosen = np.empty(middle.size, dtype=int)
        chosen[owner[where]] = i[where]
        value[middle], choice[middle] = top, chosen
        left = np.column_stack([segments[:, 0], middle - 1, segments[:, 2], chosen])
        right = np.column_stack([middle + 1, segments[:, 1], chosen, segments[:, 3]])
        segments = np.concatenate([left, right])
        segments = segments[segments[:, 0] <= segments[:, 1]]
    return value, choice
