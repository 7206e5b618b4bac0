r"""One layer's problem: the N-level function of least variance with given $E_1, E_2$ and, if asked, $S_2$."""

from __future__ import annotations

from functools import lru_cache
from math import atan2, sqrt

import numpy as np

from hntk.matching.library import Library, library, optimal_functions
from hntk.matching.newton import Point, Program, solve
from hntk.matching.step_functions import UnitStaircase
from hntk.matching.targets import TOLERANCE, Target

STARTS = 8


@lru_cache(maxsize=1024)
def optimal_layer(target: Target, levels: int) -> UnitStaircase | None:
    """The best function found for a canonical target, mean 0, or None if none reaches it to 1e-9.

    Parameters
    ----------
    target : in canonical form.
    levels : N ≥ 2.
    """
    found = []
    program = _program(target)
    for start in _starts(target, levels):
        point = solve(program, Point.of([start]))
        if point is not None:
            solution = point.functions()[0]
            # normalised functions have variance 1; the target fixes the amplitude
            e1, e2, s2, _ = solution.moments
            amplitude = 1 / sqrt(e1**2 + e2**2 / 2)
            sign = 1.0 if e1 * target.e1 + e2 * target.e2 > 0 else -1.0
            found.append(UnitStaircase(solution.thresholds, sign * amplitude * solution.levels))
    good = [f for f in found if _miss(target, f) <= TOLERANCE]
    return min(good, key=lambda f: f.variance, default=None)


def _miss(target: Target, found: UnitStaircase) -> float:
    wanted = np.array([target.e1, target.e2, target.s2 or 0.0])
    miss = np.abs(found.moments[:3] - wanted)
    return float(np.max(miss[:2] if target.s2 is None else miss))


def _program(target: Target) -> Program:
    """Log v less the log of E_1² + E_2²/2, under the direction of (E_1, E_2) and S_2's size beside them."""

    def objective(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e1, e2, _, v = moments[0]
        size = e1**2 + e2**2 / 2
        return np.array([np.log(v / size)]), np.array([[[-2 * e1 / size, -e2 / size, 0.0, 1 / v]]])

    def constraints(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        e1, e2, s2, _ = moments[0]
        size = e1**2 + e2**2 / 2
        root = sqrt(size)
        by_root = np.array([e1, e2 / 2]) / root
        across = e1 * target.e2 - e2 * target.e1
        values = [across / root]
        rows = [[*(np.array([target.e2, -target.e1]) / root - across / size * by_root), 0.0, 0.0]]
        if target.s2 is not None:
            values.append(s2 / size - target.s2)
            rows.append([-s2 / size**2 * 2 * e1, -s2 / size**2 * e2, 1 / size, 0.0])
        return np.array(values), np.array(rows)[:, None, :]

    return Program(objective, constraints)


def _starts(target: Target, levels: int) -> list[UnitStaircase]:
    direction = atan2(target.e2 / sqrt(2), target.e1)
    fitting = optimal_functions(levels, float(direction))
    if target.s2 is None:
        return list(fitting[:1])
    return list(fitting[:3]) + _nearest(library(levels), target, direction)


def _nearest(entries: Library, target: Target, direction: float) -> list[UnitStaircase]:
    """The library's functions that miss direction and S_2 least, large shares preferred."""
    p, q, r = entries.shares.T
    assert target.s2 is not None
    tilt = np.arctan2(np.sqrt(q), np.sqrt(p)) - direction
    bend = r / np.maximum(p + q, 1e-6) - target.s2
    cost = tilt**2 * 4 + np.minimum(bend**2, 9.0) - np.log(np.maximum(p + q, 1e-6))
    return [entries.functions[i] for i in np.argsort(cost)[:STARTS]]
