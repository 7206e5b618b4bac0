r"""Variance-optimal N-level staircases with given moments.

Among staircases with N levels that reach $E_1, E_2$ (and $S_2$) exactly, find the one of least variance: it adds the
smallest multiple of the identity to the kernel. Without $S_2$ the levels follow from the thresholds, $g = \lambda_1 c
+ \lambda_2 q$ with c, q the cell means of ξ and ξ² − 1, and the variance $E^\top G(u)^{-1}E$ is minimised over the
thresholds. With $S_2$ both are unknowns of a constrained problem. Local solvers run from seeded starts; the best is
polished to rounding level.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import ndtri

from hntk.activations.staircase import gaussian_cells
from hntk.matching.targets import NEGLIGIBLE, TOLERANCE, Target, UnitStaircase

STARTS = 24
REACH = 6.0


@lru_cache(maxsize=1024)
def optimal_staircase(target: Target, levels: int) -> UnitStaircase | None:
    """The best staircase found for a canonical target, or None if none reaches it to 1e-9.

    Parameters
    ----------
    target : in canonical form.
    levels : N ≥ 2.
    """
    if levels == 2:
        return _one_threshold(target)
    free = Target(target.e1, target.e2, None)
    seeds = [_reduced_optimum(free, u) for u in _starts(levels)]
    seeds = [s for s in seeds if s is not None]
    if target.s2 is None:
        return min(seeds, key=lambda s: s.variance, default=None)
    rough = [_constrained_optimum(target, s) for s in _distinct(seeds)]
    rough += [_constrained_optimum(target, _with_levels(free, u)) for u in _starts(levels)]
    found = [s for s in rough if s is not None]
    return min(found, key=lambda s: s.variance, default=None)


def _one_threshold(target: Target) -> UnitStaircase | None:
    """A single jump a at u: E_1 = aφ(u), E_2 = aφ(u)u, so u = E_2/E_1 and nothing is left for S_2."""
    if target.e1 == 0:
        return None
    u = target.e2 / target.e1
    jump = target.e1 * np.sqrt(2 * np.pi) * np.exp(u**2 / 2)
    if not np.isfinite(jump):
        return None
    found = UnitStaircase(np.array([u]), np.array([0.0, jump]))
    return found if _miss(target, found) <= TOLERANCE else None


def _starts(levels: int) -> list[Float[np.ndarray, " thresholds"]]:
    """Thresholds at shifted and stretched Gaussian quantiles, then random ones; the seed is fixed."""
    quantiles = ndtri(np.arange(1, levels) / levels)
    shaped = [shift + stretch * quantiles for shift in (0.0, 0.5, 1.0) for stretch in (1.0, 1.5)]
    rng = np.random.default_rng(levels)
    random = [np.sort(rng.uniform(-2.5, 3.0, levels - 1)) for _ in range(STARTS - len(shaped))]
    return shaped + random


def _reduced_optimum(target: Target, u: np.ndarray) -> UnitStaircase | None:
    """Minimise Eᵀ G(u)⁻¹ E from one start."""
    solved = minimize(
        lambda z: _reduced_variance(target, _ordered(z)),
        _unordered(u),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-11},
    )
    found = _with_levels(target, _ordered(solved.x))
    spread_out = np.all(np.abs(found.thresholds) < REACH) and np.all(np.diff(found.thresholds) > 1e-6)
    return found if spread_out and _miss(target, found) <= TOLERANCE else None


def _ordered(z: np.ndarray) -> np.ndarray:
    """Thresholds from a first one and logarithms of gaps: always ascending."""
    return np.cumsum(np.concatenate([z[:1], np.exp(np.clip(z[1:], -30.0, 5.0))]))


def _unordered(u: np.ndarray) -> np.ndarray:
    return np.concatenate([u[:1], np.log(np.maximum(np.diff(u), 1e-3))])


def _gap_chain(z: np.ndarray, by_threshold: np.ndarray) -> np.ndarray:
    """Gradient by z from the gradient by thresholds."""
    tails = np.cumsum(by_threshold[::-1])[::-1]
    return np.concatenate([tails[:1], tails[1:] * np.exp(np.clip(z[1:], -30.0, 5.0))])


def _with_levels(target: Target, u: np.ndarray) -> UnitStaircase:
    """The levels of least variance for given thresholds, S_2 aside."""
    return UnitStaircase(u, _best_levels(target, u)[0])


def _best_levels(target: Target, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Levels g (mean zero) and multipliers λ."""
    cells = gaussian_cells(u)
    moments = np.stack([cells.first, cells.second])
    means = moments / np.maximum(cells.probability, 1e-300)
    multipliers = np.linalg.lstsq(moments @ means.T, np.array([target.e1, target.e2]), rcond=1e-14)[0]
    return multipliers @ means, multipliers


def _reduced_variance(target: Target, u: np.ndarray) -> tuple[float, np.ndarray]:
    g, multipliers = _best_levels(target, u)
    score = multipliers[0] * u + multipliers[1] * (u**2 - 1)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    gradient = density * (g[:-1] - g[1:]) * (g[:-1] + g[1:] - 2 * score)
    z = _unordered(u)
    return float(multipliers @ [target.e1, target.e2]), _gap_chain(z, gradient)


def _constrained_optimum(target: Target, start: UnitStaircase) -> UnitStaircase | None:
    """Minimise the variance subject to E_1, E_2, S_2 from one start, then polish the constraints."""
    count = start.thresholds.size
    z0 = np.concatenate([_unordered(start.thresholds), start.levels])

    def split(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _ordered(z[:count]), z[count:]

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, by_u, by_g = _variance_gradient(*split(z))
        return value, np.concatenate([_gap_chain(z[:count], by_u), by_g])

    def constraints(z: np.ndarray) -> np.ndarray:
        return _constraint_values(target, *split(z))

    def jacobian(z: np.ndarray) -> np.ndarray:
        by_u, by_g = _constraint_jacobian(*split(z))
        return np.concatenate([np.stack([_gap_chain(z[:count], row) for row in by_u]), by_g], axis=1)

    equality = {"type": "eq", "fun": constraints, "jac": jacobian}
    with np.errstate(over="ignore", invalid="ignore"):
        solved = minimize(
            objective, z0, jac=True, method="SLSQP", constraints=[equality], options={"maxiter": 400, "ftol": 1e-13}
        )
        if not np.all(np.isfinite(solved.x)) or np.max(np.abs(constraints(solved.x))) > 1e-4:
            return None
        found = UnitStaircase(*split(_polish(solved.x, constraints, jacobian)))
    good = np.all(np.isfinite(found.levels)) and np.all(np.abs(found.thresholds) < REACH)
    return found if good and _miss(target, found) <= TOLERANCE else None


def _polish(z: np.ndarray, constraints, jacobian) -> np.ndarray:
    """Least-norm Newton steps onto the constraints: they end at rounding level."""
    for _ in range(20):
        miss = constraints(z)
        if np.max(np.abs(miss)) < NEGLIGIBLE / 100:
            break
        z = z - np.linalg.lstsq(jacobian(z), miss, rcond=None)[0]
    return z


def _constraint_values(target: Target, u: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Misses in E_1, E_2, S_2 and in the mean, which is held at 0."""
    cells = gaussian_cells(u)
    s2 = 0.0 if target.s2 is None else g**2 @ cells.second - target.s2
    return np.array([g @ cells.first - target.e1, g @ cells.second - target.e2, s2, g @ cells.probability])


def _constraint_jacobian(u: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of the four constraints by thresholds (4, N − 1) and by levels (4, N)."""
    cells = gaussian_cells(u)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    drop, drop_sq = g[:-1] - g[1:], g[:-1] ** 2 - g[1:] ** 2
    by_u = density * np.stack([drop * u, drop * (u**2 - 1), drop_sq * (u**2 - 1), drop])
    return by_u, np.stack([cells.first, cells.second, 2 * g * cells.second, cells.probability])


def _variance_gradient(u: np.ndarray, g: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """E[g²] (the mean is a constraint) and its gradient."""
    cells = gaussian_cells(u)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    return float(g**2 @ cells.probability), density * (g[:-1] ** 2 - g[1:] ** 2), 2 * g * cells.probability


def _miss(target: Target, found: UnitStaircase) -> float:
    """Largest miss of a solution, its own mean subtracted."""
    cells = gaussian_cells(found.thresholds)
    g = found.levels - cells.probability @ found.levels
    return float(np.max(np.abs(_constraint_values(target, found.thresholds, g)[:3])))


def _distinct(found: list[UnitStaircase]) -> list[UnitStaircase]:
    """Solutions of different variance, best first."""
    ranked = sorted(found, key=lambda s: s.variance)
    return ranked[:1] + [b for a, b in pairwise(ranked) if b.variance - a.variance > 1e-8]
