r"""Bounds that no function of N levels can beat, from global optima of one-layer problems.

For a score $s_\theta = \cos\theta\,\xi + \sin\theta\,(\xi^2 - 1)/\sqrt2$ the largest variance that N levels can explain
is $V_N(\theta)$, found by dynamic programming on a fine grid with a rigorous bound on what the grid loses. Any N-level
function then satisfies $(\cos\theta\sqrt p + \sin\theta\sqrt q)^2 \le V_N(\theta)$ for every θ: its shares lie under
these lines. $V_N(0)$ is Lloyd and Max's 2/π, .8098, .8825, … For a network the largest $\prod p_l$
under the lines and $\sum w_lx_lP_{l-1} \ge a$ follows from a dynamic programme over layers on the remaining a, every
rounding being to the safe side. What a match of α_2 costs beyond that is not bounded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative
from hntk.activations.staircase import gaussian_cells
from hntk.matching.joint import ZERO, JointTarget
from hntk.matching.quantiser import Grid, gaussian_grid, quantise
from hntk.matching.step_functions import UnitStaircase

GRID_CELLS = 8192
GRID_REACH = 6.0
DIRECTIONS = 64
MOST_LEVELS = 1024
CURVATURES = 1500


@dataclass(frozen=True)
class LayerBound:
    """One layer's variance, and the least that any N-level function with its moments can have.

    Attributes
    ----------
    levels : N.
    variance, bound : in units of the layer's output variance, so that the first is 1.
    """

    levels: int
    variance: float
    bound: float

    @property
    def gap(self) -> float:
        """Share of the variance above the bound: 0 for a global optimum, up to the net of directions, 1e-4."""
        return (self.variance - self.bound) / self.variance


@dataclass(frozen=True)
class Certificate:
    """How far a match is from the best that can be.

    Attributes
    ----------
    ratio : τ̂_L²/τ_L² reached.
    bound : no network with these levels that has the original's α_1 and α_3 (β_1, β_3) can be below; 0 where the
        theory gives none. A match is never made to go below 1.
    layers : each layer on its own, its (E_1, E_2) given.
    """

    ratio: float
    bound: float
    layers: tuple[LayerBound, ...]

    @property
    def gap(self) -> float:
        """Ratio over max(1, bound), less 1."""
        return self.ratio / max(1.0, self.bound) - 1


def share_bound(levels: int, direction: float = 0.0) -> float:
    """V_N(θ): an upper bound on (cosθ √p + sinθ √q)² over all N-level functions; θ = 0 bounds p, π/2 bounds q.

    Parameters
    ----------
    levels : N, from 2 to 1024.
    direction : θ in [0, π/2].

    Raises
    ------
    ValueError
        If one is out of range.

    Examples
    --------
    >>> [round(share_bound(n), 4) for n in (2, 3, 4)]
    [0.6366, 0.8098, 0.8825]
    """
    angle = as_nonnegative(direction, "direction")
    if angle > np.pi / 2:
        raise ValueError(f"direction must lie in [0, π/2], got {angle!r}.")
    return _share_bound(as_count(levels, "levels", 2, MOST_LEVELS), angle)


@lru_cache(maxsize=4096)
def _share_bound(levels: int, direction: float) -> float:
    grid = gaussian_grid(GRID_CELLS, GRID_REACH)
    e1, e2 = np.cos(direction), np.sin(direction) / np.sqrt(2)
    found = quantise(grid, levels, e1, e2)
    assert found is not None
    return min(1.0, found.gain + _grid_loss(grid, levels, e1, e2))


def _grid_loss(grid: Grid, levels: int, e1: float, e2: float) -> float:
    """What thresholds off the grid could gain: the 2(N − 1) cells they cut, each at its worst.

    Within a cut cell the score varies by w, and neighbouring levels differ by at most twice the mean excess of the
    score beyond the cell; the loss is below the product with the cell's probability.
    """
    edges = np.concatenate([[-GRID_REACH], grid.edges, [GRID_REACH]])
    score_at = e1 * edges + e2 * (edges**2 - 1)
    probability, first, second = grid.cells
    mean = (e1 * first + e2 * second) / np.maximum(probability, 1e-300)
    order = np.argsort(mean)
    mass, weighted = np.cumsum(probability[order]), np.cumsum((probability * mean)[order])
    below = weighted / np.maximum(mass, 1e-300)
    above = (weighted[-1] - weighted) / np.maximum(mass[-1] - mass, 1e-12)
    here = mean[order]
    excess = 2 * np.minimum(np.abs(above - here), np.abs(here - below))
    width = np.abs(np.diff(score_at))[order]
    losses = np.sort(probability[order] * width * excess)[::-1]
    return float(losses[: 2 * (levels - 1)].sum() + _outside(e1, e2))


def _outside(e1: float, e2: float) -> float:
    """E[s²; |ξ| > reach], more than thresholds beyond the grid can gain: 2(λ_1² E[ξ²] + λ_2² E[(ξ² − 1)²]) there."""
    t, tail = GRID_REACH, gaussian_cells(np.array([GRID_REACH]))
    density, mass = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi), tail.probability[1]
    fourth = t**3 * density + 3 * (t * density + mass)
    return float(4 * (e1**2 * (t * density + mass) + e2**2 * fourth))


@lru_cache(maxsize=32)
def _lines(levels: int) -> tuple[Float[np.ndarray, " directions"], Float[np.ndarray, " directions"]]:
    """Directions θ and V_N(θ)."""
    directions = np.linspace(0, np.pi / 2, DIRECTIONS)
    return directions, np.array([share_bound(levels, d) for d in directions.tolist()])


def linear_share_bound(levels: int, curvature: Float[np.ndarray, " x"]) -> Float[np.ndarray, " x"]:
    """The largest p of N-level functions with q/p = x: R² cos²φ under the lines, tan²φ = x."""
    directions, values = _lines(levels)
    phi = np.arctan(np.sqrt(curvature))
    cosine = np.cos(directions[None, :] - phi[:, None])
    radius = np.min(np.where(cosine > 1e-3, values / np.maximum(cosine, 1e-3) ** 2, np.inf), axis=1)
    return np.minimum(radius, 1.0) * np.cos(phi) ** 2


def ratio_bound(target: JointTarget, levels: Sequence[int]) -> float:
    """A lower bound on τ̂_L²/τ_L² of every N-level network with the target's asked coefficients."""
    final, p = target.final, target.shares[:, 0]
    even = np.flatnonzero(p <= ZERO)
    if even.size > 1:
        return 0.0
    if even.size == 1:
        return _even_bound(target, int(even[0]), levels)
    bounds = [float(target.reference / np.prod([share_bound(n) for n in levels]))]
    depth = len(levels)
    for name, weights in (("alpha3", np.ones(depth)), ("beta3", depth + 1 + np.arange(1, depth + 1.0))):
        if name in target.asked and final[name] > ZERO:
            most = _largest_product(levels, weights, final[name] / final["alpha1"])
            bounds.append(final["alpha1"] / most)
    scale = target.reference / final[target.nonzero[0]]
    return float(max(bounds) * scale)


def _even_bound(target: JointTarget, layer: int, levels: Sequence[int]) -> float:
    """With one even layer m, A_3 = q_m Π_{k<m} p_k² Π_{k>m} p_k."""
    if target.nonzero[0] not in ("alpha3", "beta3"):
        return 0.0
    most = share_bound(levels[layer], np.pi / 2)
    for k, count in enumerate(levels):
        if k != layer:
            most *= share_bound(count) ** (2 if k < layer else 1)
    return float(target.final["alpha3"] / most)


def _largest_product(levels: Sequence[int], weights: np.ndarray, wanted: float) -> float:
    """Max Π p_l subject to Σ w_l x_l P_{l−1} ≥ wanted, an upper bound by safe rounding."""
    needs = np.linspace(0.0, 1.0, CURVATURES) * wanted
    # U(a) after the last layer: 1 if nothing is left to reach
    value = np.where(needs <= 0, 1.0, 0.0)
    for count, weight in zip(levels[::-1], weights[::-1], strict=True):
        curvature = needs / weight
        p = linear_share_bound(count, curvature)
        # the largest p with at least this curvature, and curvature below the next node
        p = np.maximum.accumulate(p[::-1])[::-1]
        upper = np.concatenate([curvature[1:], curvature[-1:]])
        rest = np.maximum(needs[:, None] - weight * upper[None, :], 0.0) / np.maximum(p, 1e-300)
        index = np.searchsorted(needs, rest, side="right") - 1
        value = np.max(p * value[index], axis=1)
    return float(value[-1])


def layer_bounds(functions: Sequence[UnitStaircase]) -> tuple[LayerBound, ...]:
    """Each layer's variance against the least of any N-level function with its E_1 and E_2."""
    found = []
    for function in functions:
        e1, e2, _, variance = function.moments
        levels = len(set(function.levels.tolist()))
        p, q, _ = function.shares
        directions, values = _lines(levels)
        reached = (np.cos(directions) * np.sqrt(p) + np.sin(directions) * np.sqrt(q)) ** 2
        found.append(LayerBound(levels, float(variance), float(variance * np.max(reached / values))))
    return tuple(found)
