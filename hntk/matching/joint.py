r"""The joint match: one problem over all layers.

Only the network's final coefficients count, up to the amplitude of its last layer. In shares of variance
(:mod:`hntk.matching.variance_shares`) the problem is free of scale: reach the original's ratios $A_i/A_1$ with the
largest $\hat A_1$; then $\hat\tau_L^2/\tau_L^2 = A_1/\hat A_1$ at equal $\alpha$. Where that ratio can fall below 1 the
match is lossless: the ratio is held at 1, and the freedom that remains is used to match the orders above the second.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from hntk.activations.step_function import StepFunction
from hntk.matching.cell_pattern import StepNetwork
from hntk.matching.joint_target import JointTarget, ZeroMoments
from hntk.matching.kernel_mismatch import mismatch_from
from hntk.matching.library import library
from hntk.matching.newton import Program, solve
from hntk.matching.progress import ProgressCallback, no_progress
from hntk.matching.starts import assembled_starts, nearest_layers
from hntk.matching.variance_shares import NAMES, final_by_name, final_shares, layer_shares, unit_shares

# starts from assembled networks; weights of r's difference in starts that are like the original layer by layer
STARTS = 5
PENALTIES = (0.0, 0.3, 1.0)
# every start gets FIRST_STEPS; at most FINALISTS, within CLOSE of the best one's log ratio, get LAST_STEPS more
FIRST_STEPS, LAST_STEPS = 2, 30
FINALISTS = 2
CLOSE = 0.02
MISMATCH_STEPS = 8


def solve_joint(
    target: JointTarget,
    levels: Sequence[int],
    fallback: Callable[[], list[StepFunction] | None] = lambda: None,
    progress: ProgressCallback = no_progress,
) -> list[StepFunction] | None:
    """Return layers of least τ̂_L²/τ_L², of mean 0 and variance 1; None if no start leads to any.

    Parameters
    ----------
    target : JointTarget
        The original's shares and the coefficients asked for.
    levels : sequence of int
        N of every layer.
    fallback : callable
        Gives one more start when all others fail: a layer-by-layer match, if there is one.
    progress : callable
        Called with a line on each start that is tried.
    """
    zeros = ZeroMoments.of(target)
    program = _program(target, zeros)
    starts = _starts(target, zeros, levels)
    near = [StepNetwork.of_normalised(nearest_layers(target, zeros, levels, penalty)) for penalty in PENALTIES]
    lossless = -np.log(target.reference)
    if {"alpha3", "beta3"} <= set(target.asked):
        # assembled starts aim at α alone, so others may be nearer
        starts = [*starts, *near]
    best = _solve_from(program, starts, lossless, progress) or _solve_from(program, near, lossless, progress)
    if best is None and (functions := fallback()) is not None:
        best = _solve_from(program, [StepNetwork.of_normalised(functions)], lossless, progress)
    if best is None:
        return None
    if target.hold and target.reference / _reached(target, best) < 1 - 1e-12:
        aim = None if target.correlation_map is None else target.correlation_map()
        progress("a lossless match exists: choosing the one most like the original")
        # the optimum itself is no start, because the ratio's gradient vanishes there
        best = _most_alike(_held_at_one(target, program), near[1:] + starts + near[:1], aim) or best
    return best.functions()


def estimated_ratio(target: JointTarget, levels: Sequence[int]) -> float:
    """Return the τ̂_L²/τ_L² to expect from these levels, from the library alone."""
    zeros = ZeroMoments.of(target)
    if np.any(zeros.e1):
        return float(np.prod([1 / library(n).shares[:, :2].sum(axis=1).max() for n in levels]))
    best = assembled_starts(target, zeros, levels, 1)
    return float(np.exp(np.log(target.reference) - best[0][0])) if best else float("inf")


def _solve_from(
    program: Program, starts: Sequence[StepNetwork], enough: float, progress: ProgressCallback
) -> StepNetwork | None:
    """Return the best local optimum: every start gets a few steps, the most promising are taken to the end.

    A cost below ``enough`` ends the search at once.
    """

    def cost(network: StepNetwork) -> float:
        return float(program(network.moments(network.unknowns)[0])[0])

    promising = []
    for number, start in enumerate(starts, 1):
        progress(f"matching coefficients: start {number} of {len(starts)}")
        network = solve(program, start, iterations=FIRST_STEPS)
        if network is not None and cost(network) < enough - 1e-3:
            return network
        promising += [] if network is None else [network]
    promising.sort(key=cost)
    near_best = [network for network in promising[:FINALISTS] if cost(network) < cost(promising[0]) + CLOSE]
    progress(f"matching coefficients: refining the best {len(near_best)}")
    finished = [solve(program, network, iterations=LAST_STEPS) for network in near_best]
    return min((network for network in finished if network is not None), key=cost, default=None)


def _starts(target: JointTarget, zeros: ZeroMoments, levels: Sequence[int]) -> list[StepNetwork]:
    if np.any(zeros.e1) or np.any(zeros.s2):
        return []
    return [StepNetwork.of_normalised(functions) for _, functions in assembled_starts(target, zeros, levels, STARTS)]


def _reached(target: JointTarget, network: StepNetwork) -> float:
    """Return the reference coefficient of a network."""
    return final_by_name(layer_shares(f.moments() for f in network.functions()))[target.nonzero[0]]


def _program(target: JointTarget, zeros: ZeroMoments) -> Program:
    """Return −log of the reference coefficient, and as constraints the log-ratios to it and the zeros."""
    rows = [NAMES.index(name) for name in target.nonzero]
    wanted = np.log([target.final[name] for name in target.nonzero])

    def values(moments: np.ndarray) -> np.ndarray:
        logs = np.log(final_shares(unit_shares(moments))[..., rows])
        ratios = (logs[..., 1:] - logs[..., :1]) - (wanted[1:] - wanted[0])
        e1, e2, s2, v = np.moveaxis(moments, -1, 0)
        vanishing = [(e1 / np.sqrt(v))[..., zeros.e1], (e2 / np.sqrt(v))[..., zeros.e2], (s2 / v)[..., zeros.s2]]
        return np.concatenate([-logs[..., :1], ratios, *vanishing], axis=-1)

    return values


def _held_at_one(target: JointTarget, program: Program) -> Program:
    """Return the program with τ̂_L = τ_L as a further constraint."""

    def values(moments: np.ndarray) -> np.ndarray:
        unheld = program(moments)
        return np.concatenate([unheld, -unheld[..., :1] - np.log(target.reference)], axis=-1)

    return values


def _most_alike(
    program: Program, starts: Sequence[StepNetwork], aim: Float[np.ndarray, " rho"] | None
) -> StepNetwork | None:
    """Return the network that meets all constraints with the kernel most like the original's, among the first few."""
    candidates: list[tuple[float, StepNetwork]] = []
    for start in starts:
        residuals = None if aim is None else mismatch_from(aim, start)
        network = solve(program, start, residuals=residuals, iterations=0 if aim is None else MISMATCH_STEPS)
        if network is not None:
            mismatch = 0.0 if residuals is None else float(np.sum(residuals(network.unknowns)[0] ** 2))
            candidates.append((mismatch, network))
        if len(candidates) == FINALISTS:
            break
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else None
