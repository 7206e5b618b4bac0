"""Networks of library functions that the joint problem is started from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hntk.activations.step_function import StepFunction
from hntk.matching.assembly import assemble
from hntk.matching.joint_target import ZERO, JointTarget, ZeroMoments
from hntk.matching.library import Library, library


def assembled_starts(
    target: JointTarget, zeros: ZeroMoments, levels: Sequence[int], count: int
) -> list[tuple[float, list[StepFunction]]]:
    """Return networks near the target's coefficients, the most promising first, with estimates of log Π p."""
    libraries = [_odd(library(n)) if odd else library(n) for n, odd in zip(levels, zeros.e2, strict=True)]
    final = target.final
    first = final["alpha1"] or 1.0
    if np.all(zeros.e2):
        return assemble(libraries, None, None, 1)
    with_b = any(name in target.asked for name in ("alpha2", "beta2")) and final["alpha2"] > ZERO
    table, weights = "alpha", None
    if target.allocated and "alpha3" not in target.asked:
        layer = np.arange(1, len(levels) + 1)
        table, weights = "beta", len(levels) + 1 + np.stack([layer, -layer], axis=1)
    b = 2 * final[f"{table}2"] / first if with_b else None
    return assemble(libraries, final[f"{table}3"] / first, b, count, weights)


def nearest_layers(
    target: JointTarget, zeros: ZeroMoments, levels: Sequence[int], penalty: float
) -> list[StepFunction]:
    """Return for every layer the library's function whose shares are most like the original's.

    Parameters
    ----------
    target, zeros : JointTarget, ZeroMoments
        The original, and the moments that must vanish.
    levels : sequence of int
        N of every layer.
    penalty : float
        Weight of the difference in r; functions of large p + q are preferred.
    """
    chosen = []
    for layer, count in enumerate(levels):
        entries = library(count)
        shares, wanted = entries.shares, target.shares[layer]
        size = np.maximum(shares[:, 0] + shares[:, 1], 1e-3)
        wanted_size = max(wanted[0] + wanted[1], 1e-300)
        tilt = np.abs(shares[:, 0] / size - wanted[0] / wanted_size)
        bend = np.abs(shares[:, 2] / size - wanted[2] / wanted_size)
        allowed = np.ones(len(size), bool)
        if zeros.e1[layer]:
            allowed &= shares[:, 0] < 1e-6
        if zeros.e2[layer]:
            allowed &= shares[:, 1] < 1e-6
        cost = tilt + penalty * np.minimum(bend, 3.0) - np.log(size)
        chosen.append(entries.functions[int(np.argmin(np.where(allowed, cost, np.inf)))])
    return chosen


def _odd(entries: Library) -> Library:
    """Return the functions of a library with E_2 = 0."""
    kept = np.flatnonzero(entries.shares[:, 1] < 1e-9)
    return Library(tuple(entries.functions[i] for i in kept), entries.shares[kept])
