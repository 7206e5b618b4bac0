r"""Bounds that no function of N levels can beat, from global optima of one-layer problems.

For a score $s_\theta = \cos\theta\,\xi + \sin\theta\,(\xi^2 - 1)/\sqrt2$ the largest variance that N levels can explain
is $V_N(\theta)$, found by dynamic programming on a fine grid with a rigorous bound on what the grid loses. Any N-level
function then satisfies $(\cos\theta\sqrt p + \sin\theta\sqrt q)^2 \le V_N(\theta)$ for every θ: its shares lie under
these lines. $V_N(0)$ is the value of Lloyd and Max's quantiser, 2/π, .8098, .8825, …

For a network, the largest $\prod p_l$ under the lines and $\sum w_lx_lP_{l-1} \ge a$ follows from a dynamic programme
over layers on the part of a that is left to reach, where every rounding is to the safe side. The further cost of
matching α_2 is not bounded here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from hntk._utils.arguments import as_count, as_nonnegative
from hntk.activations.gaussian_cells import gaussian_cells
from hntk.activations.step_function import StepFunction
from hntk.matching.joint_target import ZERO, JointTarget
from hntk.matching.quantiser import Grid, gaussian_grid, quantise
from hntk.matching.variance_shares import layer_shares

GRID_CELLS = 8192
GRID_REACH = 6.0
# directions θ whose lines are used, and values of a that the dynamic programme keeps
DIRECTIONS = 64
CURVATURES = 1500
MOST_LEVELS = 1024


@dataclass(frozen=True)
class LayerBound:
    """One layer's variance, and the least that any N-level function with its moments can have.

    Attributes
    ----------
    levels : int
        N.
    variance, bound : float
        Both in units of the layer's output variance, so that the first is 1.
    """

    levels: int
    variance: float
    bound: float

    @property
    def gap(self) -> float:
        """Share of the variance above the bound: for a global optimum 0, or 1e-4 between the directions used."""
        return (self.variance - self.bound) / self.variance


@dataclass(frozen=True)
class Certificate:
    """How far a match is from the best possible one.

    Attributes
    ----------
    ratio : float
        τ̂_L²/τ_L² of the match.
    bound : float
        No network with these levels and the original's α_1 and α_3 (β_1, β_3) can have a smaller ratio; 0 where the
        theory gives no bound. A match is never made to go below 1.
    layers : tuple of LayerBound
        Each layer on its own, its (E_1, E_2) given.
    """

    ratio: float
    bound: float
    layers: tuple[LayerBound, ...]

    @property
    def gap(self) -> float:
        """Ratio over max(1, bound), less 1."""
        return self.ratio / max(1.0, self.bound) - 1


def share_bound(levels: int, direction: float = 0.0) -> float:
    """Return V_N(θ), an upper bound on (cosθ √p + sinθ √q)² over all N-level functions.

    Here p and q are the shares of a function's variance at the first and second Hermite order. θ = 0 bounds p, and
    θ = π/2 bounds q.

    Parameters
    ----------
    levels : int
        N, from 2 to 1024.
    direction : float
        The angle θ in [0, π/2], in radians.

    Returns
    -------
    float
        The bound, at most 1.

    Raises
    ------
    ValueError
        If an argument is out of range.

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
    best = quantise(grid, levels, e1, e2)
    assert best is not None  # without S_2 all weights are positive
    return min(1.0, best.gain + _grid_loss(grid, levels, e1, e2))


def _grid_loss(grid: Grid, levels: int, e1: float, e2: float) -> float:
    """Bound what thresholds off the grid could gain: the sum over the 2(N − 1) cells they cut, each at its worst.

    Within a cut cell the score varies by w, and neighbouring levels differ by at most twice the mean excess of the
    score beyond the cell. The loss is below their product times the cell's probability.
    """
    edges = np.concatenate([[-GRID_REACH], grid.edges, [GRID_REACH]])
    score_at = e1 * edges + e2 * (edges**2 - 1)
    probability, first, second = grid.cells
    mean = (e1 * first + e2 * second) / np.maximum(probability, 1e-300)
    order = np.argsort(mean)
    mass, weighted = np.cumsum(probability[order]), np.cumsum((probability * mean)[order])
    below = weighted / np.maximum(mass, 1e-300)
    above = (weighted[-1] - weighted) / np.maximum(mass[-1] - mass, 1e-12)
    sorted_mean = mean[order]
    excess = 2 * np.minimum(np.abs(above - sorted_mean), np.abs(sorted_mean - below))
    width = np.abs(np.diff(score_at))[order]
    losses = np.sort(probability[order] * width * excess)[::-1]
    return float(losses[: 2 * (levels - 1)].sum() + _loss_beyond_grid(e1, e2))


def _loss_beyond_grid(e1: float, e2: float) -> float:
    """Bound what thresholds beyond the grid can gain by 2(λ_1² E[ξ²] + λ_2² E[(ξ² − 1)²]) there, at least E[s²]."""
    t, tail = GRID_REACH, gaussian_cells(np.array([GRID_REACH]))
    density, mass = np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi), tail.probability[1]
    fourth = t**3 * density + 3 * (t * density + mass)
    return float(4 * (e1**2 * (t * density + mass) + e2**2 * fourth))


@lru_cache(maxsize=32)
def _lines(levels: int) -> tuple[Float[np.ndarray, " directions"], Float[np.ndarray, " directions"]]:
    """Return directions θ and V_N(θ)."""
    directions = np.linspace(0, np.pi / 2, DIRECTIONS)
    return directions, np.array([share_bound(levels, d) for d in directions.tolist()])


def linear_share_bound(levels: int, curvature: Float[np.ndarray, " x"]) -> Float[np.ndarray, " x"]:
    """Return the largest p of N-level functions with q/p = x: R² cos²φ under the lines, where tan²φ = x."""
    directions, values = _lines(levels)
    phi = np.arctan(np.sqrt(curvature))
    cosine = np.cos(directions[None, :] - phi[:, None])
    radius = np.min(np.where(cosine > 1e-3, values / np.maximum(cosine, 1e-3) ** 2, np.inf), axis=1)
    return np.minimum(radius, 1.0) * np.cos(phi) ** 2


def ratio_bound(target: JointTarget, levels: Sequence[int]) -> float:
    """Return a lower bound on τ̂_L²/τ_L² of every N-level network with the target's asked coefficients."""
    final, p = target.final, target.shares[:, 0]
    even = np.flatnonzero(p <= ZERO)
    if even.size > 1:
        return 0.0
    if even.size == 1:
        return _even_bound(target, int(even[0]), levels)
    bounds = [float(final["alpha1"] / np.prod([share_bound(n) for n in levels]))]
    depth = len(levels)
    for name, weights in (("alpha3", np.ones(depth)), ("beta3", depth + 1 + np.arange(1, depth + 1.0))):
        if name in target.asked and final[name] > ZERO:
            largest = _largest_product(levels, weights, final[name] / final["alpha1"])
            bounds.append(final["alpha1"] / largest)
    return float(max(bounds))


def _even_bound(target: JointTarget, layer: int, levels: Sequence[int]) -> float:
    """Bound the ratio with one even layer m, where A_3 = q_m Π_{k<m} p_k² Π_{k>m} p_k."""
    if target.nonzero[0] not in ("alpha3", "beta3"):
        return 0.0
    largest = share_bound(levels[layer], np.pi / 2)
    for k, count in enumerate(levels):
        if k != layer:
            largest *= share_bound(count) ** (2 if k < layer else 1)
    return float(target.final["alpha3"] / largest)


def _largest_product(levels: Sequence[int], weights: np.ndarray, wanted: float) -> float:
    """Return an upper bound on Π p_l subject to Σ w_l x_l P_{l−1} ≥ wanted, rounding to the safe side."""
    # what is left to reach grows where a later layer's curvature counts for more; beyond the grid it is rounded down
    growing = np.any(np.diff(weights) > 0)
    reach = float(1 / np.prod([share_bound(n) for n in levels[:-1]])) if growing else 1.0
    needs = np.linspace(0.0, reach, CURVATURES) * wanted
    # the largest product of the layers that follow, by what they still need to reach: after the last, nothing may be
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
    return float(value[np.searchsorted(needs, wanted, side="right") - 1])


def layer_bounds(functions: Sequence[StepFunction]) -> tuple[LayerBound, ...]:
    """Return each layer's variance, and the least of any N-level function with its E_1 and E_2."""
    bounds = []
    moments = [function.moments() for function in functions]
    for function, m, (p, q, _) in zip(functions, moments, layer_shares(moments), strict=True):
        directions, values = _lines(function.level_count)
        explained = (np.cos(directions) * np.sqrt(p) + np.sin(directions) * np.sqrt(q)) ** 2
        bounds.append(LayerBound(function.level_count, m.variance, float(m.variance * np.max(explained / values))))
    return tuple(bounds)
