"""The constrained problem over the thresholds and levels of all layers at once, and its local solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from hntk.matching.step_functions import REACH, Partition, UnitStaircase

PRECISION = 1e-13
FLAT = 1e-9
ENOUGH = 1e-9
FINITE_DIFFERENCE = 1e-6
Values = tuple[np.ndarray, np.ndarray]


class Point(NamedTuple):
    """Layers and their unknowns."""

    forms: tuple[Partition, ...]
    z: Float[np.ndarray, " unknowns"]

    @classmethod
    def of(cls, functions: Sequence[UnitStaircase]) -> Point:
        """The patterns of given functions, with their values as unknowns."""
        pairs = [Partition.of(f.normalised()) for f in functions]
        return cls(tuple(form for form, _ in pairs), np.concatenate([z for _, z in pairs]))

    def parts(self, z: np.ndarray) -> list[np.ndarray]:
        """Each layer's unknowns."""
        return np.split(z, np.cumsum([form.size for form in self.forms])[:-1])

    def moments(self, z: np.ndarray) -> tuple[Float[np.ndarray, "L 4"], list[np.ndarray]]:
        """Each layer's (E_1, E_2, S_2, v) and their derivatives by its unknowns."""
        found = [form.moments(part) for form, part in zip(self.forms, self.parts(z), strict=True)]
        return np.array([values for values, _ in found]), [jac for _, jac in found]

    def functions(self) -> list[UnitStaircase]:
        """The layers' functions, of mean 0 and variance 1."""
        return [form.function(part).normalised() for form, part in zip(self.forms, self.parts(self.z), strict=True)]


@dataclass(frozen=True)
class Program:
    """Minimise ``objective`` subject to ``constraints`` = 0; both see the layers' moments (L, 4).

    Attributes
    ----------
    objective : moments → value (1,) and derivatives (1, L, 4).
    constraints : moments → values (c,) and derivatives (c, L, 4).
    """

    objective: Callable[[np.ndarray], Values]
    constraints: Callable[[np.ndarray], Values]

    def both(self, moments: np.ndarray) -> Values:
        """Objective first, then constraints."""
        (f, f_by), (c, c_by) = self.objective(moments), self.constraints(moments)
        return np.concatenate([f, c]), np.concatenate([f_by, c_by])


class Residuals(Protocol):
    """Another objective, ½|r(z)|²: residuals and their derivatives by the unknowns."""

    def __call__(self, z: np.ndarray) -> Values:
        """(r, ∂r/∂z)."""
        ...


def solve(program: Program, start: Point, *, instead: Residuals | None = None, iterations: int = 30) -> Point | None:
    """A local optimum from one start by Newton's method along the constraints; None if they cannot be met.

    Parameters
    ----------
    instead : least squares to minimise in place of the program's objective (Gauss-Newton then).
    """
    with np.errstate(all="ignore"):
        z = _restore(program, start, start.z, most=60)
        state = None if z is None else _state(program, start, z, instead)
        if state is None:
            return None
        for _ in range(iterations):
            step, promise = _newton_step(program, start, state, instead)
            moved = _line_search(program, start, state, step, instead)
            if moved is None:
                break
            state = moved
            if promise < ENOUGH * max(1.0, abs(state.f)):
                break
    return Point(start.forms, state.z)


class _State(NamedTuple):
    z: np.ndarray
    f: float
    gradient: np.ndarray
    jacobian: np.ndarray
    residual_jacobian: np.ndarray | None


def _state(program: Program, point: Point, z: np.ndarray, instead: Residuals | None) -> _State | None:
    moments, jacobians = point.moments(z)
    values, by_moment = program.both(moments)
    rows = _rows(by_moment, jacobians)
    f, gradient, residual_jacobian = float(values[0]), rows[0], None
    if instead is not None:
        residuals, residual_jacobian = instead(z)
        f, gradient = float(residuals @ residuals) / 2, residuals @ residual_jacobian
    if not (np.isfinite(f) and np.all(np.isfinite(rows)) and np.all(np.isfinite(gradient))):
        return None
    return _State(z, f, gradient, rows[1:], residual_jacobian)


def _rows(by_moment: np.ndarray, jacobians: list[np.ndarray]) -> np.ndarray:
    """Derivatives by the unknowns from derivatives by the moments."""
    return np.concatenate([by_moment[:, i] @ jac for i, jac in enumerate(jacobians)], axis=1)


def _constraints(program: Program, point: Point, z: np.ndarray) -> Values:
    moments, jacobians = point.moments(z)
    values, by_moment = program.constraints(moments)
    return values, _rows(by_moment, jacobians)


def _newton_step(program: Program, point: Point, state: _State, instead: Residuals | None) -> tuple[np.ndarray, float]:
    """The step along the constraints, and the decrease of the objective it promises."""
    free = _free(point, state)
    jacobian, gradient = state.jacobian[:, free], state.gradient[free]
    left, sizes, right = np.linalg.svd(jacobian, full_matrices=True)
    rank = int(np.sum(sizes > 1e-12 * max(1.0, sizes.max(initial=0.0))))
    normal, tangent = right[:rank].T, right[rank:].T
    multipliers = -(left[:, :rank] / sizes[:rank]) @ (normal.T @ gradient)
    hessian = _hessian(program, point, state, multipliers, instead)[np.ix_(free, free)]
    values, vectors = np.linalg.eigh(tangent.T @ hessian @ tangent)
    pull = vectors.T @ (tangent.T @ gradient)
    # curvature of the wrong sign is turned round; directions without any are left alone
    scale = np.abs(values)
    useful = scale > FLAT * max(float(scale.max(initial=0.0)), 1e-300)
    along = np.where(useful, -pull / np.where(useful, scale, 1.0), 0.0)
    step = np.zeros_like(state.z)
    step[free] = tangent @ (vectors @ along)
    return step, float(-(along @ pull))


def _free(point: Point, state: _State) -> np.ndarray:
    """Unknowns that may move: all but thresholds at the reach."""
    fixed = []
    for form, part in zip(point.forms, point.parts(state.z), strict=True):
        fixed.append(np.abs(part[: form.thresholds]) >= REACH)
        fixed.append(np.zeros(form.level_count, bool))
    return np.flatnonzero(~np.concatenate(fixed))


def _hessian(
    program: Program, point: Point, state: _State, multipliers: np.ndarray, instead: Residuals | None
) -> np.ndarray:
    """Second derivatives of the Lagrangian, from differences of first ones; Gauss-Newton for least squares."""
    if state.residual_jacobian is not None:
        gauss = state.residual_jacobian.T @ state.residual_jacobian
        return gauss + 1e-7 * np.trace(gauss) / len(gauss) * np.eye(len(gauss))
    weights = np.concatenate([[1.0], multipliers])
    moments, jacobians = point.moments(state.z)

    def by_moment(m: np.ndarray) -> np.ndarray:
        return np.tensordot(weights, program.both(m)[1], axes=1)

    first = by_moment(moments)
    second = np.empty((moments.size, moments.size))
    for i in range(moments.size):
        shift = np.zeros(moments.size)
        shift[i] = FINITE_DIFFERENCE * max(1e-3, abs(moments.flat[i]))
        second[i] = (by_moment(moments + shift.reshape(moments.shape)) - first).ravel() / shift[i]
    whole = _block(jacobians)
    hessian = whole.T @ ((second + second.T) / 2) @ whole
    start = 0
    for form, part, gradient in zip(point.forms, point.parts(state.z), first, strict=True):
        inside = slice(start, start + form.size)
        hessian[inside, inside] += _curvature(form, part, gradient)
        start += form.size
    return hessian


def _block(jacobians: list[np.ndarray]) -> np.ndarray:
    """Block-diagonal (4L, unknowns)."""
    whole = np.zeros((4 * len(jacobians), sum(jac.shape[1] for jac in jacobians)))
    column = 0
    for i, jac in enumerate(jacobians):
        whole[4 * i : 4 * i + 4, column : column + jac.shape[1]] = jac
        column += jac.shape[1]
    return whole


def _curvature(form: Partition, part: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Second derivatives of weights · (E_1, E_2, S_2, v) by one layer's unknowns."""
    here = form.moments(part)[1]
    ahead = np.array([form.moments(part + shift)[1] for shift in FINITE_DIFFERENCE * np.eye(form.size)])
    table = weights @ (ahead - here) / FINITE_DIFFERENCE
    return (table + table.T) / 2


def _line_search(
    program: Program, point: Point, state: _State, step: np.ndarray, instead: Residuals | None
) -> _State | None:
    """The first of shrinking steps that, brought back onto the constraints, lowers the objective."""
    longest = _room(point, state.z, step)
    for shrink in longest * 0.4 ** np.arange(8):
        z = _restore(program, point, _within(point, state.z + shrink * step), most=8)
        moved = None if z is None else _state(program, point, z, instead)
        if moved is not None and moved.f < state.f:
            return moved
    return None


def _room(point: Point, z: np.ndarray, step: np.ndarray) -> float:
    """The share of a step that keeps thresholds apart: each gap shrinks by four fifths at most."""
    share = 1.0
    for form, part, move in zip(point.forms, point.parts(z), point.parts(step), strict=True):
        gaps, change = np.diff(part[: form.thresholds]), np.diff(move[: form.thresholds])
        closing = change < 0
        share = min(share, float(np.min(-0.8 * gaps[closing] / change[closing], initial=1.0)))
    return share


def _within(point: Point, z: np.ndarray) -> np.ndarray:
    """Thresholds beyond the reach are stopped there."""
    parts = []
    for form, part in zip(point.forms, point.parts(z), strict=True):
        parts += [np.clip(part[: form.thresholds], -REACH, REACH), part[form.thresholds :]]
    return np.concatenate(parts)


def _restore(program: Program, point: Point, z: np.ndarray, most: int) -> np.ndarray | None:
    """Least-norm Newton steps onto the constraints: to rounding level, or None."""
    best, size = z, np.inf
    for _ in range(most):
        values, jacobian = _constraints(program, point, z)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(jacobian))):
            return None
        miss = float(np.max(np.abs(values), initial=0.0))
        if miss >= size and size < 1e-11:
            break
        if miss < size:
            best, size = z, miss
        if miss < PRECISION:
            break
        step = -np.linalg.lstsq(jacobian, values, rcond=1e-12)[0]
        step *= min(1.0, 0.5 / max(float(np.max(np.abs(step))), 1e-300))
        z = z + _room(point, z, step) * step
    return best if size < 1e-10 else None
