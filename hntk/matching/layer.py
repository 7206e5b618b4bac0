r"""One layer's problem: the N-level function of least variance with given $E_1, E_2$ and, if asked, $S_2$."""

from __future__ import annotations

from functools import lru_cache
from math import atan2, sqrt

import numpy as np

from hntk.activations.step_function import StepFunction
from hntk.matching.cell_pattern import StepNetwork
from hntk.matching.library import Library, library, optimal_functions
from hntk.matching.newton import Program, solve
from hntk.matching.targets import TOLERANCE, Target

# functions of the library that a solve is started from
STARTS = 8


@lru_cache(maxsize=1024)
def optimal_layer(target: Target, levels: int) -> StepFunction | None:
    """Return the best function found for a canonical target, of mean 0; None if none reaches it to 1e-9.

    Parameters
    ----------
    target : Target
        In canonical form.
    levels : int
        N ≥ 2.
    """
    program = _program(target)
    solutions = [solve(program, StepNetwork.of_normalised([start])) for start in _starts(target, levels)]
    functions = [_with_amplitude(target, solution.functions()[0]) for solution in solutions if solution is not None]
    return min((f for f in functions if _miss(target, f) <= TOLERANCE), key=lambda f: f.variance, default=None)


def _with_amplitude(target: Target, normalised: StepFunction) -> StepFunction:
    """Scale a function of variance 1 to the target's size and sign."""
    moments = normalised.moments()
    amplitude = 1 / sqrt(moments.e1**2 + moments.e2**2 / 2)
    sign = 1.0 if moments.e1 * target.e1 + moments.e2 * target.e2 > 0 else -1.0
    return StepFunction(normalised.thresholds, sign * amplitude * normalised.levels)


def _miss(target: Target, function: StepFunction) -> float:
    moments = function.moments()
    misses = [moments.e1 - target.e1, moments.e2 - target.e2]
    if target.s2 is not None:
        misses.append(moments.s2 - target.s2)
    return max(map(abs, misses))


def _program(target: Target) -> Program:
    """Return log v/(E_1² + E_2²/2), and the misses of the direction of (E_1, E_2) and of S_2 at size 1."""

    def values(moments: np.ndarray) -> np.ndarray:
        e1, e2, s2, v = np.moveaxis(moments[..., 0, :], -1, 0)
        size = e1**2 + e2**2 / 2
        columns = [np.log(v / size), (e1 * target.e2 - e2 * target.e1) / np.sqrt(size)]
        if target.s2 is not None:
            columns.append(s2 / size - target.s2)
        return np.stack(columns, axis=-1)

    return values


def _starts(target: Target, levels: int) -> list[StepFunction]:
    direction = atan2(target.e2 / sqrt(2), target.e1)
    fitting = optimal_functions(levels, float(direction))
    if target.s2 is None:
        return list(fitting[:1])
    return list(fitting[:3]) + _nearest(library(levels), direction, target.s2)


def _nearest(entries: Library, direction: float, s2: float) -> list[StepFunction]:
    """Return the library's functions that miss direction and S_2 least; large shares are preferred."""
    p, q, r = entries.shares.T
    size = np.maximum(p + q, 1e-6)
    tilt = np.arctan2(np.sqrt(q), np.sqrt(p)) - direction
    bend = r / size - s2
    cost = tilt**2 * 4 + np.minimum(bend**2, 9.0) - np.log(size)
    return [entries.functions[i] for i in np.argsort(cost)[:STARTS]]
