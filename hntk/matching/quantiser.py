r"""Globally optimal N-level quantisers of a quadratic score, by dynamic programming.

For multipliers $(\lambda_1, \lambda_2, \mu)$ the N-level function of largest $2E[gs] - E[wg^2]$, with $s =
\lambda_1\xi + \lambda_2(\xi^2 - 1)$ and $w = 1 - \mu(\xi^2 - 1) > 0$, takes its levels on cells that are intervals in
the order of $s/w$. On a fine grid of Gaussian cells the best partition is found exactly. The gain of an interval,
$(\int s)^2/\int w$, satisfies the quadrangle inequality, so the best cuts are monotone, and divide and conquer finds
them in $O(NM\log M)$.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hntk.activations.gaussian_cells import Cells, gaussian_cells
from hntk.activations.step_function import StepFunction


class Grid(NamedTuple):
    """Fine cells of the Gaussian line: M − 1 edges, and the integrals over the M cells."""

    edges: Float[np.ndarray, " M_minus_1"]
    cells: Cells


class Quantised(NamedTuple):
    """The best partition of a grid: its gain Σ (∫s)²/∫w, and the level of every cell, in grid order."""

    gain: float
    labels: Int[np.ndarray, " M"]


@lru_cache(maxsize=16)
def gaussian_grid(size: int, reach: float) -> Grid:
    """Return M cells: equal ones within ±reach, and the two tails."""
    edges = np.linspace(-reach, reach, size - 1)
    return Grid(edges, gaussian_cells(edges))


def quantise(grid: Grid, levels: int, e1: float, e2: float, mu: float = 0.0) -> Quantised | None:
    """Return the best N-level quantiser of s/w on the grid; None where a weight is not positive.

    Parameters
    ----------
    grid : Grid
        Gaussian cells.
    levels : int
        N.
    e1, e2, mu : float
        Multipliers λ_1, λ_2, μ of E_1, E_2, S_2.
    """
    score, weight = _score_and_weight(grid, e1, e2, mu)
    if np.any(weight <= 0):
        return None
    order = np.argsort(score / weight, kind="stable")
    gain, cuts = _best_intervals(score[order], weight[order], levels)
    labels = np.empty(order.size, dtype=int)
    labels[order] = np.searchsorted(cuts, np.arange(order.size), side="right")
    return Quantised(gain, labels)


def optimal_function(grid: Grid, levels: int, e1: float, e2: float, mu: float) -> StepFunction | None:
    """Return the function of the best quantiser, with the best levels for its cells; None where there is none."""
    best = quantise(grid, levels, e1, e2, mu)
    if best is None:
        return None
    score, weight = (np.bincount(best.labels, part) for part in _score_and_weight(grid, e1, e2, mu))
    changes = np.flatnonzero(np.diff(best.labels))
    cells = best.labels[np.concatenate([changes, [best.labels.size - 1]])]
    return StepFunction(grid.edges[changes], (score / weight)[cells])


def _score_and_weight(grid: Grid, e1: float, e2: float, mu: float) -> tuple[np.ndarray, np.ndarray]:
    """Return ∫s and ∫w over every cell."""
    cells = grid.cells
    return e1 * cells.first + e2 * cells.second, cells.probability - mu * cells.second


def _best_intervals(score: np.ndarray, weight: np.ndarray, levels: int) -> tuple[float, np.ndarray]:
    """Cut ordered cells into N intervals of largest total (∫s)²/∫w; return that total and the cuts."""
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
    """Return max_i best[i] + gain(i, j) and its maximiser for every j.

    Maximisers rise with j, so that of a segment's middle bounds those on both sides. All segments of one depth of this
    divide and conquer are treated at once.
    """
    size = best.size
    value, choice = np.full(size, -np.inf), np.zeros(size, dtype=int)
    # columns: first and last j of the segment, first and last maximiser that can occur there
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
        # in reversed order, so that the first of equal maximisers is written last
        maximal = np.flatnonzero(candidates == top[owner])[::-1]
        chosen = np.empty(middle.size, dtype=int)
        chosen[owner[maximal]] = i[maximal]
        value[middle], choice[middle] = top, chosen
        left = np.column_stack([segments[:, 0], middle - 1, segments[:, 2], chosen])
        right = np.column_stack([middle + 1, segments[:, 1], chosen, segments[:, 3]])
        segments = np.concatenate([left, right])
        segments = segments[segments[:, 0] <= segments[:, 1]]
    return value, choice
