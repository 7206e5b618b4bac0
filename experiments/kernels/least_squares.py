"""Restarted least squares, which the authors' code matches with: SLSQP from random starts, layer by layer.

Each layer's thresholds and levels minimise the sum of squared misses of e1², e2² and s2², and the best of all starts is
kept. The gradient is exact here, which makes the method faster than the authors'.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.optimize import minimize

import hntk
from experiments.kernels.matching_problems import Attempt, MatchingProblem, timed
from hntk.matching.cell_pattern import CellPattern


def restarts_in_words(count: int) -> str:
    """Return the number of restarts as tables show it."""
    return f"{count} restart{'' if count == 1 else 's'}"


def restarted(problem: MatchingProblem, restarts: int, seed: int, *, scaled: bool) -> Attempt:
    """Return the attempt with a number of restarts, of which a smaller number uses the first.

    With ``scaled`` the unknowns are in units of the layer's input and output scales, which the authors' are not.
    """
    return timed(problem, partial(_best_descents, restarts=restarts, seed=seed, scaled=scaled))


def _best_descents(problem: MatchingProblem, *, restarts: int, seed: int, scaled: bool) -> list[hntk.Activation] | None:
    """Return the best staircase of every layer, or None if every start fails in some layer."""
    layers: list[hntk.Activation] = []
    tau = problem.tau0
    for layer, moments in enumerate(hntk.coefficients(problem.layers, problem.tau0).moments):
        rng = np.random.default_rng([seed, layer])
        units = (tau, float(np.sqrt(moments.variance))) if scaled else (1.0, 1.0)
        descents = (_one_descent(moments, problem, tau, units, rng) for _ in range(restarts))
        best = min(descents, key=lambda pair: pair[0])[1]
        if best is None:
            return None
        layers.append(best)
        tau = float(np.sqrt(best.moments(tau).variance))
    return layers


def _one_descent(
    moments: hntk.Moments, problem: MatchingProblem, tau: float, units: tuple[float, float], rng: np.random.Generator
) -> tuple[float, hntk.Staircase | None]:
    """Run SLSQP once; the unknowns are thresholds and levels in the given units of input and output."""
    count = problem.levels - 1
    form = CellPattern(tuple(range(problem.levels)))
    size_in, size_out = units
    matched = np.array([1.0, 1.0, float(problem.alpha2)])
    conversion = matched * np.array([size_in / size_out, size_in**2 / size_out, size_in**2 / size_out**2])
    wanted = (np.array([moments.e1, moments.e2, moments.s2]) * conversion) ** 2
    # Converts moments whose thresholds are in units of τ to the given unit of the input.
    relative = matched * np.array([size_in / tau, (size_in / tau) ** 2, (size_in / tau) ** 2])

    def misses(z: np.ndarray) -> tuple[float, np.ndarray]:
        order = np.argsort(z[:count])
        reached, by = form.moments(np.concatenate([z[:count][order] * (size_in / tau), z[count:]]))
        reached = reached[:3] * relative
        gap = reached**2 - wanted
        slope = (4 * gap * reached * relative) @ by[:3]
        gradient = np.empty_like(z)
        gradient[:count][order], gradient[count:] = slope[:count] * (size_in / tau), slope[count:]
        return float(gap @ gap), gradient

    start = np.concatenate([np.sort(rng.uniform(-2, 2, count)), rng.uniform(-2, 2, count + 1)])
    with np.errstate(all="ignore"):
        solved = minimize(misses, start, jac=True, method="SLSQP", options={"ftol": 1e-20, "maxiter": 500})
        thresholds = np.sort(solved.x[:count]) * size_in
    if not (np.isfinite(solved.fun) and np.all(np.isfinite(solved.x)) and np.all(np.diff(thresholds) > 0)):
        return float("inf"), None
    staircase = hntk.staircase(thresholds, solved.x[count:] * size_out)
    return (float(solved.fun), staircase) if staircase.moments(tau).variance > 0 else (float("inf"), None)
