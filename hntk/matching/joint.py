r"""The joint match: one problem over all layers.

Only the network's final coefficients count, up to the amplitude of its last layer. In shares of variance
(:mod:`hntk.matching.variance_shares`) the problem is free of scale: reach the original's ratios $A_i/A_1$ with the
largest $\hat A_1$; then $\hat\tau_L^2/\tau_L^2 = A_1/\hat A_1$ at equal $\alpha$. Where that ratio can fall below 1 the
match is lossless: the ratio is held at 1, and what freedom remains goes to the orders above the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from hntk.matching.assembly import assemble
from hntk.matching.kernel_mismatch import mismatch_from
from hntk.matching.library import Library, library
from hntk.matching.newton import Point, Program, solve
from hntk.matching.step_functions import UnitStaircase
from hntk.matching.variance_shares import NAMES, final_shares

ZERO = 1e-13
STARTS = 5
FINALISTS = 2
FIRST_STEPS, LAST_STEPS = 2, 30
CLOSE = 0.02
MISMATCH_STEPS = 8
# takes a line that says how far a match has come
Tell = Callable[[str], None]


def quiet(_line: str) -> None:
    """Take a line and say nothing."""


@dataclass(frozen=True)
class JointTarget:
    """What a compressed network must reach.

    Attributes
    ----------
    shares : (L, 3) the original's (p, q, r).
    asked : names among ``NAMES`` whose final coefficients are to be matched.
    correlation_map : gives the original's F_L(ρ), for the freedom a lossless match leaves; None to leave it unused.
    hold : whether τ̂_L is held at τ_L where it could be less.
    """

    shares: Float[np.ndarray, "L 3"]
    asked: tuple[str, ...]
    correlation_map: Callable[[], Float[np.ndarray, " rho"]] | None = None
    hold: bool = True

    @property
    def final(self) -> dict[str, float]:
        """The original's A_i and B_i."""
        return dict(zip(NAMES, final_shares(self.shares)[0].tolist(), strict=True))

    @property
    def nonzero(self) -> tuple[str, ...]:
        """Asked coefficients that the network has; the first is the reference of all ratios."""
        final = self.final
        # B_1 = (L + 1) A_1 always: asking for both would ask twice
        repeated = "beta1" if "alpha1" in self.asked else None
        return tuple(name for name in self.asked if final[name] > ZERO and name != repeated)

    @property
    def reference(self) -> float:
        """A of the reference coefficient."""
        return self.final[self.nonzero[0]]


@dataclass(frozen=True)
class Zeros:
    """Layers whose E_1, E_2 or S_2 must vanish because a final coefficient does; (L,) each."""

    e1: Bool[np.ndarray, " L"]
    e2: Bool[np.ndarray, " L"]
    s2: Bool[np.ndarray, " L"]

    @classmethod
    def of(cls, target: JointTarget) -> Zeros:
        """Even layers stay even; without A_3 every layer, without A_2 those up to the first with r = 0, stay odd."""
        p, q, r = target.shares.T
        depth, final = len(p), target.final
        e1, e2, s2 = p <= ZERO, np.zeros(depth, bool), np.zeros(depth, bool)
        if not np.any(e1):
            if final["alpha3"] <= ZERO:
                e2 |= True
            elif any(name.endswith("2") for name in target.asked) and final["alpha2"] <= ZERO:
                first = int(np.argmax(np.abs(r) <= np.sqrt(ZERO)))
                e2[: first + 1] = True
                s2[first] = True
        return cls(e1, e2, s2)


def solve_joint(
    target: JointTarget,
    levels: Sequence[int],
    fallback: Callable[[], list[UnitStaircase] | None] = lambda: None,
    tell: Tell = quiet,
) -> list[UnitStaircase] | None:
    """The layers of least τ̂_L²/τ_L², normalised to mean 0 and variance 1; None if none was found.

    Parameters
    ----------
    target : the original's shares and what is asked.
    levels : N of every layer.
    fallback : one more start, made when all others fail: a layer-by-layer match, if there is one.
    tell : called with a line on each start that is tried.
    """
    zeros = Zeros.of(target)
    program = _program(target, zeros)
    starts = _starts(target, zeros, levels)
    near = [Point.of(_nearest(target, zeros, levels, penalty)) for penalty in (0.0, 0.3, 1.0)]
    lossless = -np.log(target.reference)
    if {"alpha3", "beta3"} <= set(target.asked):
        # starts aim at α alone: here others may lie nearer
        starts = [*starts, *near]
    best = _solve_from(program, starts, lossless, tell) or _solve_from(program, near, lossless, tell)
    if best is None and (functions := fallback()) is not None:
        best = _solve_from(program, [Point.of(functions)], lossless, tell)
    if best is None:
        return None
    if target.hold and target.reference / _reached(target, best) < 1 - 1e-12:
        aim = None if target.correlation_map is None else target.correlation_map()
        # not from the optimum itself, where the ratio's gradient vanishes
        tell("a lossless match exists: choosing the one most like the original")
        best = _lossless(_held_at_one(target, program), near[1:] + starts + near[:1], aim) or best
    return best.functions()


def _solve_from(program: Program, starts: Sequence[Point], enough: float, tell: Tell) -> Point | None:
    """The best local optimum: every start gets a few steps, the most promising are taken to the end.

    A cost below ``enough`` ends the search at once.
    """

    def cost(point: Point) -> float:
        return float(program.objective(point.moments(point.z)[0])[0][0])

    promising = []
    for number, start in enumerate(starts, 1):
        tell(f"matching coefficients: start {number} of {len(starts)}")
        point = solve(program, start, iterations=FIRST_STEPS)
        if point is not None and cost(point) < enough - 1e-3:
            return point
        promising += [] if point is None else [point]
    promising.sort(key=cost)
    near_best = [point for point in promising[:FINALISTS] if cost(point) < cost(promising[0]) + CLOSE]
    tell(f"matching coefficients: refining the best {len(near_best)}")
    finished = [solve(program, point, iterations=LAST_STEPS) for point in near_best]
    return min((point for point in finished if point is not None), key=cost, default=None)


def estimated_ratio(target: JointTarget, levels: Sequence[int]) -> float:
    """τ̂_L²/τ_L² to expect from these levels, from the library alone."""
    zeros = Zeros.of(target)
    if np.any(zeros.e1):
        return float(np.prod([1 / library(n).shares[:, :2].sum(axis=1).max() for n in levels]))
    tail = _assembled(target, zeros, levels, 1)
    return float(np.exp(np.log(target.reference) - tail[0][0])) if tail else float("inf")


def _reached(target: JointTarget, point: Point) -> float:
    shares = np.array([f.shares for f in point.functions()])
    return float(final_shares(shares)[0][NAMES.index(target.nonzero[0])])


def _program(target: JointTarget, zeros: Zeros) -> Program:
    """−log of the reference coefficient, under log-ratios to it and the zeros."""
    rows = [NAMES.index(name) for name in target.nonzero]
    wanted = np.log([target.final[name] for name in target.nonzero])
    empty = np.flatnonzero(zeros.e1), np.flatnonzero(zeros.e2), np.flatnonzero(zeros.s2)

    def logs(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shares, by_moments = _shares(moments)
        values, by_shares = final_shares(shares)
        by = np.einsum("clk,lkm->clm", by_shares[rows] / values[rows, None, None], by_moments)
        return np.log(values[rows]), by

    def objective(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, by = logs(moments)
        return -values[:1], -by[:1]

    def constraints(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, by = logs(moments)
        ratios = (values[1:] - values[0]) - (wanted[1:] - wanted[0])
        zero_values, zero_by = _zero_rows(moments, empty)
        return np.concatenate([ratios, zero_values]), np.concatenate([by[1:] - by[0], zero_by])

    return Program(objective, constraints)


def _shares(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, q, r) of every layer and their derivatives (L, 3, 4) by (E_1, E_2, S_2, v)."""
    e1, e2, s2, v = moments.T
    shares = np.column_stack([e1**2, e2**2 / 2, s2]) / v[:, None]
    by = np.zeros((len(v), 3, 4))
    by[:, 0, 0], by[:, 1, 1], by[:, 2, 2] = 2 * e1 / v, e2 / v, 1 / v
    by[:, :, 3] = -shares / v[:, None]
    return shares, by


def _zero_rows(moments: np.ndarray, empty: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """E_1/√v, E_2/√v and S_2/v where they must vanish, and derivatives (rows, L, 4)."""
    values, rows = [], []
    for column, layers in enumerate(empty):
        power = 1.0 if column == 2 else 0.5
        for layer in layers:
            v = moments[layer, 3] ** power
            value = moments[layer, column] / v
            row = np.zeros_like(moments)
            row[layer, column], row[layer, 3] = 1 / v, -power * value / moments[layer, 3]
            values.append(value)
            rows.append(row)
    return np.array(values), np.array(rows).reshape(-1, *moments.shape)


def _lossless(program: Program, starts: Sequence[Point], aim: np.ndarray | None) -> Point | None:
    """Of the networks that meet all constraints, one whose kernel is most like the original's."""
    found: list[tuple[float, Point]] = []
    for start in starts:
        instead = None if aim is None else mismatch_from(aim, start)
        point = solve(program, start, instead=instead, iterations=MISMATCH_STEPS if aim is not None else 0)
        if point is not None:
            found.append((0.0 if instead is None else float(np.sum(instead(point.z)[0] ** 2)), point))
        if len(found) == FINALISTS:
            break
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _held_at_one(target: JointTarget, program: Program) -> Program:
    """The same with τ̂_L = τ_L as a further constraint."""

    def constraints(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, by = program.constraints(moments)
        log_reference, gradient = program.objective(moments)
        level = -log_reference - np.log(target.reference)
        return np.concatenate([values, level]), np.concatenate([by, -gradient])

    return replace(program, constraints=constraints)


def _starts(target: JointTarget, zeros: Zeros, levels: Sequence[int]) -> list[Point]:
    if np.any(zeros.e1) or np.any(zeros.s2):
        return []
    return [Point.of(functions) for _, functions in _assembled(target, zeros, levels, STARTS)]


def _assembled(target: JointTarget, zeros: Zeros, levels: Sequence[int], count: int):
    libraries = [_odd(library(n)) if odd else library(n) for n, odd in zip(levels, zeros.e2, strict=True)]
    final = target.final
    first = final["alpha1"] or 1.0
    if np.all(zeros.e2):
        return assemble(libraries, None, None, 1)
    with_b = any(name in target.asked for name in ("alpha2", "beta2")) and final["alpha2"] > ZERO
    return assemble(libraries, final["alpha3"] / first, 2 * final["alpha2"] / first if with_b else None, count)


def _odd(entries: Library) -> Library:
    kept = np.flatnonzero(entries.shares[:, 1] < 1e-9)
    return Library(tuple(entries.functions[i] for i in kept), entries.shares[kept])


def _nearest(target: JointTarget, zeros: Zeros, levels: Sequence[int], penalty: float) -> list[UnitStaircase]:
    """Layer by layer the library's function whose shares are most like the original's, large ones preferred."""
    chosen = []
    for layer, count in enumerate(levels):
        entries = library(count)
        shares = entries.shares
        wanted = target.shares[layer]
        size = np.maximum(shares[:, 0] + shares[:, 1], 1e-3)
        tilt = np.abs(shares[:, 0] / size - wanted[0] / max(wanted[0] + wanted[1], 1e-300))
        bend = np.abs(shares[:, 2] / size - wanted[2] / max(wanted[0] + wanted[1], 1e-300))
        allowed = np.ones(len(size), bool)
        if zeros.e1[layer]:
            allowed &= shares[:, 0] < 1e-6
        if zeros.e2[layer]:
            allowed &= shares[:, 1] < 1e-6
        cost = tilt + penalty * np.minimum(bend, 3.0) - np.log(size)
        chosen.append(entries.functions[int(np.argmin(np.where(allowed, cost, np.inf)))])
    return chosen
