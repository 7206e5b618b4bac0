"""Local solver of the constrained problem over the thresholds and levels of all layers at once.

SciPy's solvers stop at 1e-8 or so on these constraints, which are to hold to 1e-13.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import scipy

from hntk.matching.cell_pattern import REACH, StepNetwork
from hntk.matching.complex_step import jacobian

# constraints are reduced until they miss by less than PRECISION; ACCEPTED is still taken where rounding stops that
PRECISION, ACCEPTED = 1e-13, 1e-10
# directions whose curvature is below this share of the largest are left alone
FLAT = 1e-9
# a Newton step that promises a relative decrease below this is the last one
ENOUGH = 1e-9
FINITE_DIFFERENCE = 1e-6
# Newton steps onto the constraints from a start, and from a point moved along them
FIRST_RESTORATION, RESTORATION = 60, 8

# maps moments (E_1, E_2, S_2, v), shape (..., L, 4), to (..., 1 + c): what to minimise, then c values that are to be 0
Program = Callable[[np.ndarray], np.ndarray]


class Residuals(Protocol):
    """A least-squares objective ½|r(z)|²: residuals and their derivatives by the unknowns."""

    def __call__(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (r, ∂r/∂z)."""
        ...


def solve(
    program: Program, start: StepNetwork, *, residuals: Residuals | None = None, iterations: int = 30
) -> StepNetwork | None:
    """Return a local optimum, by Newton's method along the constraints; None if they cannot be met from this start.

    Parameters
    ----------
    program : callable
        The objective and the constraints.
    start : StepNetwork
        Where to begin.
    residuals : callable, optional
        Least squares to minimise in place of the program's objective, by Gauss-Newton steps.
    iterations : int
        Most Newton steps.
    """
    search = _Search(program, start, residuals)
    with np.errstate(all="ignore"):
        z = search.restored(start.unknowns, FIRST_RESTORATION)
        state = None if z is None else search.state(z)
        if state is None:
            return None
        for _ in range(iterations):
            step, promise = search.newton_step(state)
            moved = search.line_search(state, step)
            if moved is None:
                break
            state = moved
            if promise < ENOUGH * max(1.0, abs(state.objective)):
                break
    return start._replace(unknowns=state.z)


class _State(NamedTuple):
    """A point on the constraints, with the first derivatives there."""

    z: np.ndarray
    objective: float
    gradient: np.ndarray
    constraint_jacobian: np.ndarray
    residual_jacobian: np.ndarray | None


@dataclass(frozen=True)
class _Search:
    """One problem, and the patterns of the network that is to solve it."""

    program: Program
    network: StepNetwork
    residuals: Residuals | None

    def values(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the objective and the constraints, and their derivatives by the unknowns."""
        moments, moment_jacobians = self.network.moments(z)
        values, by_moment = jacobian(self.program, moments, 2)
        # the logarithms in a program need positive variances, and complex ones would not tell
        if not np.all(moments[:, 3] > 0):
            values = np.full_like(values, np.nan)
        return values, np.concatenate([by_moment[:, i] @ by for i, by in enumerate(moment_jacobians)], axis=1)

    def state(self, z: np.ndarray) -> _State | None:
        """Return the state at a point; None where something is not finite."""
        values, rows = self.values(z)
        objective, gradient, residual_jacobian = float(values[0]), rows[0], None
        if self.residuals is not None:
            residuals, residual_jacobian = self.residuals(z)
            objective, gradient = float(residuals @ residuals) / 2, residuals @ residual_jacobian
        if not (np.isfinite(objective) and np.all(np.isfinite(rows)) and np.all(np.isfinite(gradient))):
            return None
        return _State(z, objective, gradient, rows[1:], residual_jacobian)

    def newton_step(self, state: _State) -> tuple[np.ndarray, float]:
        """Return the step along the constraints, and the decrease of the objective that it promises."""
        free = self._free(state.z)
        constraint_jacobian, gradient = state.constraint_jacobian[:, free], state.gradient[free]
        left, sizes, right = np.linalg.svd(constraint_jacobian, full_matrices=True)
        rank = int(np.sum(sizes > 1e-12 * max(1.0, sizes.max(initial=0.0))))
        normal, tangent = right[:rank].T, right[rank:].T
        multipliers = -(left[:, :rank] / sizes[:rank]) @ (normal.T @ gradient)
        hessian = self._hessian(state, multipliers)[np.ix_(free, free)]
        values, vectors = np.linalg.eigh(tangent.T @ hessian @ tangent)
        pull = vectors.T @ (tangent.T @ gradient)
        # the sign of negative curvature is changed, so that the step descends
        scale = np.abs(values)
        useful = scale > FLAT * max(float(scale.max(initial=0.0)), 1e-300)
        along = np.where(useful, -pull / np.where(useful, scale, 1.0), 0.0)
        step = np.zeros_like(state.z)
        step[free] = tangent @ (vectors @ along)
        return step, float(-(along @ pull))

    def line_search(self, state: _State, step: np.ndarray) -> _State | None:
        """Return the first of shrinking steps that, restored to the constraints, lowers the objective."""
        for shrink in self._longest_share(state.z, step) * 0.4 ** np.arange(8):
            z = self.restored(self._within_reach(state.z + shrink * step), RESTORATION)
            moved = None if z is None else self.state(z)
            if moved is not None and moved.objective < state.objective:
                return moved
        return None

    def restored(self, z: np.ndarray, most: int) -> np.ndarray | None:
        """Move onto the constraints by least-norm Newton steps, to rounding; return None if that fails."""
        best, least_miss = z, np.inf
        for _ in range(most):
            values, rows = self.values(z)
            if not (np.all(np.isfinite(values[1:])) and np.all(np.isfinite(rows[1:]))):
                return None
            miss = float(np.max(np.abs(values[1:]), initial=0.0))
            if miss >= least_miss and least_miss < 1e-11:
                break
            if miss < least_miss:
                best, least_miss = z, miss
            if miss < PRECISION:
                break
            step = -np.linalg.lstsq(rows[1:], values[1:], rcond=1e-12)[0]
            step *= min(1.0, 0.5 / max(float(np.max(np.abs(step))), 1e-300))
            z = z + self._longest_share(z, step) * step
        return best if least_miss < ACCEPTED else None

    def _hessian(self, state: _State, multipliers: np.ndarray) -> np.ndarray:
        """Return the second derivatives of the Lagrangian, or Gauss-Newton's for least squares."""
        if state.residual_jacobian is not None:
            gauss = state.residual_jacobian.T @ state.residual_jacobian
            return gauss + 1e-7 * np.trace(gauss) / len(gauss) * np.eye(len(gauss))
        weights = np.concatenate([[1.0], multipliers])
        moments, moment_jacobians = self.network.moments(state.z)
        first, second = self._by_moments(moments, weights)
        by_unknowns = scipy.linalg.block_diag(*moment_jacobians)
        layers = zip(self.network.patterns, self.network.parts(state.z), first, strict=True)
        curvatures = scipy.linalg.block_diag(*(pattern.curvature(part, gradient) for pattern, part, gradient in layers))
        return by_unknowns.T @ second @ by_unknowns + curvatures

    def _by_moments(self, moments: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the Lagrangian's first derivatives by the moments, (L, 4), and its second ones, (4L, 4L).

        The second ones are differences of the exact first ones: the complex step cannot be taken twice.
        """
        shifts = np.diag(FINITE_DIFFERENCE * np.maximum(1e-3, np.abs(moments.ravel())))
        points = np.concatenate([moments[None], moments + shifts.reshape(-1, *moments.shape)])
        first, *shifted = np.tensordot(jacobian(self.program, points, 2)[1], weights, axes=(1, 0))
        second = (np.array(shifted) - first).reshape(shifts.shape) / np.diag(shifts)[:, None]
        return first, (second + second.T) / 2

    def _free(self, z: np.ndarray) -> np.ndarray:
        """Return the indices of the unknowns that may move: all but thresholds at the reach."""
        fixed = []
        for pattern, part in zip(self.network.patterns, self.network.parts(z), strict=True):
            fixed += [np.abs(part[: pattern.thresholds]) >= REACH, np.zeros(pattern.level_count, bool)]
        return np.flatnonzero(~np.concatenate(fixed))

    def _longest_share(self, z: np.ndarray, step: np.ndarray) -> float:
        """Return the share of a step after which every gap between thresholds keeps a fifth of its width."""
        share = 1.0
        for pattern, part, move in zip(
            self.network.patterns, self.network.parts(z), self.network.parts(step), strict=True
        ):
            gaps, change = np.diff(part[: pattern.thresholds]), np.diff(move[: pattern.thresholds])
            closing = change < 0
            share = min(share, float(np.min(-0.8 * gaps[closing] / change[closing], initial=1.0)))
        return share

    def _within_reach(self, z: np.ndarray) -> np.ndarray:
        """Move thresholds beyond the reach back to it."""
        parts = []
        for pattern, part in zip(self.network.patterns, self.network.parts(z), strict=True):
            parts += [np.clip(part[: pattern.thresholds], -REACH, REACH), part[pattern.thresholds :]]
        return np.concatenate(parts)
